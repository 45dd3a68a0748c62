"""Keeps freed memory in the process, for a training frees and takes the same again at every step."""

from __future__ import annotations

import ctypes

# <malloc.h>
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to give nothing back to the kernel; False where there is no glibc.

    Otherwise every large tensor comes from the kernel anew, which clears each of its pages
    first: a step of EfficientNet-Lite0 at 256 pixels takes 1.2 to 1.35 times as long that way.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(key, value) == 1 for key, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, MOST), (TOP_PAD, 2**28)))
