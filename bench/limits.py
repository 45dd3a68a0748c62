"""What the rate limit costs: CPU time of one cached request with and without it, in turn.

Several rounds, each with all variants one after the other, so that what the machine does meanwhile meets all alike;
ratios are taken within a round. The limit is so high that nothing is refused.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import common

HIGH = 4_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--program", type=Path, help="a build of the service; without it, this one is built")
    parser.add_argument("--before", type=Path, help="another build of the service, to compare with")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    about = common.conditions()
    common.introduce(about)
    figures = rounds(given)
    print_table(figures, given)
    common.save(given.json, {"conditions": about, "figures": figures})


def rounds(given: argparse.Namespace) -> dict[str, list[dict]]:
    files = common.pictures("640x480")
    figures: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        folder = Path(temporary)
        program = given.program or common.built(folder)["relance"]
        variants = {"off": (program, 0), "off again": (program, 0), "on": (program, HIGH)}
        if given.before:
            variants["before"] = (given.before, 0)
        for number in range(given.rounds):
            names = list(variants)
            # Another one begins each round.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                binary, limit = variants[name]
                with common.Service(binary, folder, RATE_LIMIT_PER_MINUTE=str(limit)) as service:
                    for seconds in (1, given.seconds):  # the first warms up
                        figure = common.wrk(
                            f"{service.url}/predict",
                            files,
                            pid=service.pid,
                            seconds=seconds,
                            connections=32,
                            unique=False,
                        )
                    if figure["refused"]:
                        raise SystemExit(f"{figure['refused']} requests were refused with limit {limit}")
                    figures.setdefault(name, []).append(figure)
    return figures


def print_table(figures: dict[str, list[dict]], given: argparse.Namespace) -> None:
    base = [figure["cpu_ms"] for figure in figures["off"]]
    rows = []
    for name, repeats in figures.items():
        cpu = [figure["cpu_ms"] for figure in repeats]
        ratios = [one / other for one, other in zip(cpu, base)]
        rate = statistics.median(figure["per_second"] for figure in repeats)
        rows.append([name, common.spread(cpu, 4), common.spread(ratios, 3), f"{rate:.0f}"])
    common.table(["limit", "CPU-ms", "CPU ratio to off", "req/s"], rows)
    print(f"\nMedian (least–most) of {given.rounds} rounds of {given.seconds} s, cached pictures of 640x480.")


if __name__ == "__main__":
    main()
