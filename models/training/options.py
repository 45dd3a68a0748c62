"""The command line of the training."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from lite import LITES
from networks import NAMES
from zoom import LOOKS, ZOOMS


def default_workers() -> int:
    """None on a CPU, where they would take the cores that train."""
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0


class DataOption(argparse.Action):
    """Collects folders, each with an optional weight."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if len(values) > 2:
            parser.error("--data: takes a folder and perhaps a weight; repeat it for more folders")
        try:
            weight = float(values[1]) if len(values) == 2 else 1.0
        except ValueError:
            parser.error(f"--data: the weight {values[1]} is not a number")
        given = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*given, (Path(values[0]), weight)])


def parse_options(arguments: list[str] | None = None, description: str | None = None) -> argparse.Namespace:
    """Reads the command line."""
    here = Path(__file__).parent
    runs = here / "runs"
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--data", action=DataOption, nargs="+", metavar=("FOLDER", "WEIGHT"),
        help="class folders, and how many times an epoch sees each picture (may be less than 1); "
        "repeat for more folders; the first one chooses the epoch",
    )
    parser.add_argument(
        "--pairs", action="store_true",
        help="pictures of the same file name in different classes show the same scene",
    )
    parser.add_argument("--out", type=Path, default=runs / "bottle")
    parser.add_argument("--cache", type=Path, default=runs / "cache", help="decoded pictures")
    parser.add_argument("--start", type=Path, help="best.pt of another run, or its export, to start from")
    parser.add_argument(
        "--blend", type=float, default=1.0,
        help="how far the result goes from --start to what was learnt; at 0.5 it forgets less",
    )
    parser.add_argument(
        "--freeze", type=int, default=0, metavar="N",
        help="first layers that stay as they start; 6 of lite0's 17 know edges already and spare a third of the time; "
        "of lite0-zoom's 18 the first is the whole first look, and with --look it has 17",
    )
    parser.add_argument(
        "--look", choices=LOOKS,
        help="of a network that looks twice only this look learns: the first, with where it finds necks; or the second, "
        "from windows of known necks, which takes half the time",
    )
    parser.add_argument(
        "--pretrained", action="store_true", help="start a teacher from its published weights"
    )
    parser.add_argument("--teacher", type=Path, help="best.pt of another network to learn from")
    parser.add_argument("--teacher-share", type=float, default=0.7, help="weight of its answers")
    parser.add_argument("--teacher-maps", type=float, default=1.0, help="weight of its maps")
    parser.add_argument(
        "--scale", choices=NAMES, default="n",
        help="lite0-zoom looks twice, the second time closely at the neck, and may --start from lite0",
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--test-size", type=int,
        help="size for val and test, and in service, if not --size; an eighth more is often "
        "better (Touvron et al., Fixing the train-test resolution discrepancy, 2019)",
    )
    parser.add_argument("--small-size", type=int, default=128)
    parser.add_argument("--small-epochs", type=int, default=0, help="first epochs at --small-size")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--warmup", type=float, default=1.0, help="in epochs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--mixup", type=float, default=0.05, help="share of batches")
    parser.add_argument("--cutmix", type=float, default=0.0, help="share of batches")
    parser.add_argument(
        "--close-ups", type=float, default=0.4, metavar="SHARE",
        help="of the views of pictures whose neck is known, those from close by; few once small necks are what it lacks",
    )
    parser.add_argument("--cells", type=float, default=0.5, help="weight of what single cells say")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, default=default_workers(),
        help="processes that prepare pictures beside the training; on a CPU they only get in its way",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, for newer CPUs and GPUs")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(arguments)
    if options.pretrained and options.scale not in LITES:
        parser.error(f"--pretrained: only for {', '.join(LITES)}, not {options.scale}")
    if options.look and (options.scale not in ZOOMS or options.teacher):
        parser.error(f"--look: only for {', '.join(ZOOMS)}, and without --teacher")
    if not 0 <= options.blend <= 1:
        parser.error(f"--blend: from 0 to 1, not {options.blend}")
    if options.blend < 1 and not options.start:
        parser.error("--blend: only with --start")
    if options.freeze < 0:
        parser.error(f"--freeze: {options.freeze} is less than 0")
    if options.freeze and not (options.start or options.pretrained):
        parser.error("--freeze: only with --start or --pretrained")
    options.test_size = options.test_size or options.size
    options.data = options.data or [(here / "renders", 1.0)]
    return options
