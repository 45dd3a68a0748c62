"""Renders open and closed bottles: <out>/<split>/<class>/<id>.jpg and manifest.jsonl.

A picture depends on its id, the seed and the samples alone. What is there already is not made
again, and the command may be stopped at any moment.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

# the package itself must not be on the path: Blender has modules of the same names
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tqdm import tqdm  # noqa: E402

from render import plan, workers  # noqa: E402

TRAINING = Path(__file__).resolve().parent.parent
STOPPED = False


def folders(out: Path, evaluation: Path) -> dict[str, Path]:
    return {name: evaluation if name == "evaluation" else out / name for name in plan.SPLITS}


def stop(*_) -> None:
    global STOPPED
    STOPPED = True
    raise KeyboardInterrupt


def known(folder: Path) -> set[str]:
    """Ids that the manifest has and whose pictures are there."""
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        return set()
    rows = []
    for line in manifest.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # cut off while it was written
            continue
    rows = {row["file"]: row for row in rows if (folder / row["file"]).exists()}
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    return {Path(name).stem for name in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for split, count in (("train", 6000), ("val", 400), ("test", 600), ("evaluation", 240)):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"pictures ({count})")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="train picture to begin with, a multiple of four (0)")
    parser.add_argument(
        "--samples", type=int, default=plan.SAMPLES, metavar="N",
        help=f"rays a pixel in train ({plan.SAMPLES}); 2 take little more than half of the time and are a little smoother",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=TRAINING / "renders")
    parser.add_argument("--evaluation-out", type=Path, default=TRAINING.parent / "evaluation")
    options = parser.parse_args()
    if options.first % plan.GROUP:
        parser.error(f"--first: {options.first} is not a multiple of {plan.GROUP}")
    if options.samples < 1:
        parser.error(f"--samples: {options.samples} is not a number from 1")

    where = folders(options.out, options.evaluation_out)
    done = {split: known(folder) for split, folder in where.items()}
    wanted = plan.order({split: getattr(options, split) for split in plan.SPLITS}, options.first)
    jobs, count = [], 0
    for split, group in wanted:
        missing = [p for p in plan.pictures(split, group) if p.name not in done[split]]
        count += plan.GROUP - len(missing)
        if missing:
            samples = options.samples if split == "train" else plan.SAMPLES
            jobs.append((options.seed, split, group, where[split], samples))
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # a process that is ended cannot tidy up after itself
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    scratch = tempfile.TemporaryDirectory(prefix="relance-render-", dir=memory)
    os.environ["TMPDIR"] = scratch.name
    # Blender keeps a little memory with every scene, so processes are renewed
    pool = multiprocessing.get_context("spawn").Pool(options.jobs, workers.ignore_interrupt, maxtasksperchild=60)
    bar = tqdm(total=len(wanted) * plan.GROUP, initial=count, unit="picture", mininterval=2, smoothing=0.02)
    try:
        for split, rows in pool.imap_unordered(workers.work, jobs):
            where[split].mkdir(parents=True, exist_ok=True)
            with (where[split] / "manifest.jsonl").open("a") as manifest:
                for row in rows:
                    if Path(row["file"]).stem not in done[split]:
                        manifest.write(json.dumps(row) + "\n")
            bar.update(len(rows))
        pool.close()
    except KeyboardInterrupt:
        pool.terminate()
        print("\nstopped; the same command goes on from here", file=sys.stderr)
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()
        bar.close()
        scratch.cleanup()
    if STOPPED:
        sys.exit(130)


if __name__ == "__main__":
    main()
