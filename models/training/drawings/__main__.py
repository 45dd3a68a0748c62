"""Draws open and closed bottles for training: train|val|test/<class>/<n>.jpg."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from drawing import draw
from scene import Scene

CLASSES = {"aberta": False, "fechada": True}
SPLITS = ("train", "val", "test")
Job = tuple[Path, int, int, int, tuple[int, int] | None]


def render_pair(job: Job) -> None:
    """Writes one scene twice, once for each class."""
    folder, seed, split, number, size = job
    scene = Scene.sample(np.random.default_rng((seed, split, number)), size)
    for name, closed in CLASSES.items():
        (folder / name / f"{number:05d}.jpg").write_bytes(draw(scene, closed))


def parse_size(text: str) -> tuple[int, int]:
    """Reads WIDTHxHEIGHT."""
    width, height = text.lower().split("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "pictures")
    for split, count in zip(SPLITS, (5000, 600, 600)):
        parser.add_argument(f"--{split}", type=int, default=count, help="pictures, both classes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=parse_size, help="WIDTHxHEIGHT instead of a mixture")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    jobs: list[Job] = []
    for index, split in enumerate(SPLITS):
        pairs = (getattr(options, split) + 1) // 2
        for name in CLASSES if pairs else ():
            (options.out / split / name).mkdir(parents=True, exist_ok=True)
        folder = options.out / split
        jobs += [(folder, options.seed, index, number, options.size) for number in range(pairs)]
    with ProcessPoolExecutor(options.workers) as pool:
        for _ in tqdm(pool.map(render_pair, jobs, chunksize=8), total=len(jobs), unit="pair"):
            pass


if __name__ == "__main__":
    main()
