"""The service against the bare limit of the hardware, in throughput and CPU time.

The limit decodes, prepares and infers the same pictures with as many threads and does nothing else
(bench/limit.rs). Both run in turn, several times; a ratio is taken within one repeat.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import common
from common import spread

SIZES = ["640x480", "1280x960", "4000x3000"]
# so many large pictures would wait for longer than they may, and refusals are not what is measured here
FEWER = {("4000x3000", "unique"): 4}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute in all, for a first look")
    parser.add_argument("--repeats", type=int, help="default: 5, or 2 with --quick")
    parser.add_argument("--seconds", type=int, help="of each measurement; default: 5, or 2 with --quick")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this size; may be repeated")
    parser.add_argument("--provider", action="append", help="execution provider; may be repeated")
    parser.add_argument("--precision", help="the provider's precision")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    given.repeats = given.repeats or (2 if given.quick else 5)
    given.seconds = given.seconds or (2 if given.quick else 5)
    return given


def limit(program: Path, files: list[str], seconds: int, settings: dict[str, str]) -> dict:
    command = [program, "--seconds", str(seconds), *files]
    env = common.environment(**settings)
    out = subprocess.run(command, cwd=common.ROOT, env=env, check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def measure(programs: dict[str, Path], folder: Path, size: str, seconds: int, settings: dict[str, str]) -> dict:
    """One repeat: the limit, then the service with pictures it has not seen and with one it has."""
    files = common.pictures(size)
    repeat = {"limit": limit(programs["limit"], files, seconds, settings)}
    common.fill_page_cache(folder)
    with common.Service(programs["relance"], folder, **settings) as service:
        for kind, connections in common.CONNECTIONS.items():
            for time in (1, seconds):  # the first warms up
                repeat[kind] = common.wrk(
                    f"{service.url}/predict",
                    files,
                    pid=service.pid,
                    seconds=time,
                    connections=FEWER.get((size, kind), connections),
                    unique=kind == "unique",
                )
    return repeat


def row(name: str, kind: str, repeats: list[dict]) -> list[str]:
    def column(read) -> list[float]:
        return [read(repeat) for repeat in repeats]

    service = lambda field: column(lambda repeat: repeat[kind][field])
    bare = lambda field: column(lambda repeat: repeat["limit"][field])
    unique = kind == "unique"
    ratio = lambda ours, theirs: spread([a / b for a, b in zip(ours, theirs)]) if unique else "–"
    return [
        f"{name} {kind}",
        spread(bare("images_per_second")) if unique else "–",
        spread(bare("cpu_ms_per_image")) if unique else "–",
        spread(service("per_second")),
        spread(service("cpu_ms"), 2),
        ratio(service("cpu_ms"), bare("cpu_ms_per_image")),
        ratio(service("per_second"), bare("images_per_second")),
        f"{statistics.median(service('p50_ms')):.1f} / {statistics.median(service('p99_ms')):.1f}",
        f"{statistics.median(service('rss_mb')):.0f}",
        f"{sum(service('errors')):.0f}",
    ]


HEAD = [
    "pictures",
    "limit images/s",
    "limit CPU-ms",
    "service req/s",
    "service CPU-ms",
    "CPU ratio",
    "speed ratio",
    "p50 / p99 ms",
    "RSS MB",
    "errors",
]


def main() -> None:
    given = options()
    result = {"conditions": common.conditions(), "seconds": given.seconds, "repeats": {}}
    common.introduce(result["conditions"])
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        folder = Path(temporary)
        programs = common.built(folder)
        kinds = [{"PROVIDER": name} for name in given.provider or []] or [{}]
        if given.precision:
            kinds = [{**kind, "PRECISION": given.precision} for kind in kinds]
        for name in {name for kind in kinds for name in kind}:
            if not common.has_setting(programs["relance"], name):
                raise SystemExit(f"the service has no setting {name}")
        runs = [(size, kind) for kind in kinds for size in given.size or SIZES]
        # One repeat of all, then the next: what the machine does meanwhile meets all alike.
        for _ in range(given.repeats):
            for size, kind in runs:
                name = " ".join([size, *kind.values()])
                repeat = measure(programs, folder, size, given.seconds, kind)
                result["repeats"].setdefault(name, []).append(repeat)
    rows = [row(name, kind, repeats) for name, repeats in result["repeats"].items() for kind in common.CONNECTIONS]
    common.table(HEAD, rows)
    print(f"\nMedian (least–most) of {given.repeats} repeats of {given.seconds} s; CPU-ms for each picture.")
    common.save(given.json, result)


if __name__ == "__main__":
    main()
