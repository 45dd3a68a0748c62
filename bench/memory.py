"""How soon the service is ready, and what memory it holds after ten thousand new pictures and a million known ones.

RSS is read from the kernel for the service's process, after each part. All settings are as delivered, apart from the
rate limit, and the allocator's are those of the container image.
"""

import argparse
import re
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import common

STARTS = 5
TARGETS = {"ready": 1.0, "rss": 120.0}
ALLOCATOR = dict(re.findall(r"\b(MALLOC_\w+)=(\w+)", (common.ROOT / "Dockerfile").read_text()))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args()


def start(program: Path, folder: Path) -> tuple[common.Service, float]:
    """A service, and the seconds from its start to the first yes of `/health/ready`."""
    begin = time.monotonic()
    service = common.Service(program, folder, **ALLOCATOR)
    # Raises for any other answer than yes.
    urllib.request.urlopen(f"{service.url}/health/ready", timeout=10).close()
    return service, time.monotonic() - begin


def send(service: common.Service, files: list[str], kind: str, requests: int) -> dict:
    """At least so many requests, all answered."""
    sent, seconds = 0, 0.0
    p99 = []
    while sent < requests:
        result = common.wrk(
            f"{service.url}/predict",
            files,
            pid=service.pid,
            seconds=10,
            connections=common.CONNECTIONS[kind],
            unique=kind == "unique",
        )
        if result["errors"]:
            raise SystemExit(f"{result['errors']} of {result['requests']} requests were not answered")
        sent += result["requests"]
        seconds += result["seconds"]
        p99.append(result["p99_ms"])
    return {"requests": sent, "per_second": sent / seconds, "p99_ms": statistics.median(p99)}


def measure(program: Path, folder: Path, files: list[str], share: float) -> dict:
    ready = []
    for _ in range(STARTS):
        service, seconds = start(program, folder)
        with service:
            ready.append(seconds)
    service, seconds = start(program, folder)
    with service:
        rss = {"at start": common.memory_mb(service.pid)}
        unique = send(service, files, "unique", round(10_000 * share))
        rss["after the new pictures"] = common.memory_mb(service.pid)
        cached = send(service, files, "cached", round(1_000_000 * share))
        rss["after the known pictures"] = common.memory_mb(service.pid)
        rss["at most"] = common.memory_mb(service.pid, "VmHWM")
    return {"ready": [*ready, seconds], "rss": rss, "unique": unique, "cached": cached}


def main() -> None:
    given = options()
    result = {"conditions": common.conditions()}
    common.introduce(result["conditions"])
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        programs = common.built(Path(temporary))
        files = common.pictures(given.size)
        result |= measure(programs["relance"], Path(temporary), files, 0.1 if given.quick else 1.0)
    rows = [["start to ready, s", common.spread(result["ready"], 2), f"≤ {TARGETS['ready']:g}"]]
    for when, megabytes in result["rss"].items():
        target = f"≤ {TARGETS['rss']:g}" if when == "after the known pictures" else ""
        rows.append([f"RSS {when}, MB", f"{megabytes:.0f}", target])
    for kind, name in (("unique", "new"), ("cached", "known")):
        told = result[kind]
        rows.append([f"{name} pictures", f"{told['requests']:,}", ""])
        rows.append([f"{name} pictures a second, {common.CONNECTIONS[kind]} connections", f"{told['per_second']:.0f}", ""])
        rows.append([f"{name} pictures, p99, ms", f"{told['p99_ms']:.1f}", ""])
    common.table(["", "measured", "target"], rows)
    common.save(given.json, result)


if __name__ == "__main__":
    main()
