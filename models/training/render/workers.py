"""What a rendering process does; a module of its own, so that a new process finds it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from render import plan


def work(job: tuple[int, str, int, Path, int]) -> tuple[str, list[dict]]:
    """Renders one group of pictures; runs in a process of its own."""
    seed, split, group, folder, samples = job
    rows = []
    for picture in plan.pictures(split, group):
        path = folder / picture.label / f"{picture.name}.jpg"
        row, data = plan.make(seed, picture, samples)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_bytes(data)
        unfinished.replace(path)
        rows.append(row)
    return split, rows


def ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
