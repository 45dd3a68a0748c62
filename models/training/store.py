"""Pictures decoded once and kept as bytes, so that no epoch decodes them again."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data import Sample, box_in_square, centre_crop, open_rgb

# so much of the free disk a store may take
SHARE_OF_DISK = 0.5


class Store:
    """Centre squares of pictures with their neck boxes, in a file where the disk allows.

    `necks` holds a row per picture, in units of `box_in_square`; NaN where it is unknown.
    """

    def __init__(self, samples: list[Sample], side: int, folder: Path) -> None:
        self.samples, self.side = samples, side
        self.necks = np.full((len(samples), 4), np.nan, np.float32)
        self.squares = self._open(folder) if samples else None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, indices: list[int]) -> np.ndarray:
        """Pictures, necks aside: uint8 [count, side, side, 3]."""
        if self.squares is not None:
            return self.squares[indices]
        return np.stack([self._decode(index) for index in indices])

    def _decode(self, index: int) -> np.ndarray:
        sample = self.samples[index]
        picture = open_rgb(sample.path)
        if sample.neck is not None:
            self.necks[index] = box_in_square(sample.neck, *picture.size)
        return np.asarray(centre_crop(picture, self.side))

    def _key(self) -> str:
        digest = hashlib.sha256(f"{self.side}\n".encode())
        for sample in self.samples:
            state = sample.path.stat()
            line = (str(sample.path.resolve()), state.st_size, state.st_mtime_ns, sample.neck)
            digest.update(f"{line}\n".encode())
        return digest.hexdigest()[:16]

    def _open(self, folder: Path) -> np.ndarray | None:
        """The squares of an earlier run, or new ones; None where they would fill the disk."""
        folder.mkdir(parents=True, exist_ok=True)
        path, necks = folder / f"{self._key()}.npy", folder / f"{self._key()}.necks.npy"
        if path.exists() and necks.exists():
            self.necks = np.load(necks)
            return np.load(path, mmap_mode="r")
        shape = (len(self.samples), self.side, self.side, 3)
        if np.prod(shape, dtype=float) > SHARE_OF_DISK * shutil.disk_usage(folder).free:
            return None
        partial = path.with_suffix(f".{os.getpid()}")
        squares = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)

        def keep(index: int) -> None:
            squares[index] = self._decode(index)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = pool.map(keep, range(len(self.samples)))
            for _ in tqdm(jobs, "decoding", len(self.samples), leave=False, disable=None):
                pass
        squares.flush()
        np.save(necks, self.necks)
        partial.replace(path)
        return np.load(path, mmap_mode="r")
