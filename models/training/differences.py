"""Writes manifests for pairs of drawings: where the two differ is where the closure is."""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from data import SPLITS, SUFFIXES, Box, class_names, open_rgb

# grey levels; JPEG alone changes fewer
THRESHOLD = 24
MARGIN = 0.15


def difference(first: Image.Image, second: Image.Image) -> Box | None:
    """The box around the largest differences of two pictures, with a margin."""
    smooth = [
        np.asarray(each.filter(ImageFilter.BoxBlur(2)), np.int16) for each in (first, second)
    ]
    differs = np.abs(smooth[0] - smooth[1]).max(2) > THRESHOLD
    if not differs.any():
        return None
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    more = round(MARGIN * max(x1 - x0, y1 - y0)) + 2
    return (
        max(x0 - more, 0),
        max(y0 - more, 0),
        min(x1 + more, first.width),
        min(y1 + more, first.height),
    )


def compare(paths: list[Path]) -> list[str]:
    """Lines of a manifest for the pictures of one scene."""
    box = difference(*(open_rgb(path) for path in paths))
    note = {"pair": paths[0].stem, "neck": box, "caps": []}
    return [json.dumps({"file": f"{path.parent.name}/{path.name}"} | note) for path in paths]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "pictures")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for split in SPLITS:
        folder = options.data / split
        first, second = class_names(folder)
        pairs = [
            [path, folder / second / path.name]
            for path in sorted((folder / first).iterdir())
            if path.suffix in SUFFIXES and (folder / second / path.name).exists()
        ]
        with ProcessPoolExecutor(options.workers) as pool:
            jobs = pool.map(compare, pairs, chunksize=32)
            lines = [line for each in tqdm(jobs, split, len(pairs), disable=None) for line in each]
        (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
