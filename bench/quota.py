"""The service in a container's CPU quota: half a CPU, one, two.

It makes a cgroup (version 2, or 1) with the quota for each and puts the service there, so it needs root.
Throttled are the periods of 100 ms in which the quota was used up before the end.

The load has eight connections for each CPU. With more of them half a CPU would be overloaded, and wrk asks again at once
where it was told to wait; what happens then, bench/overload.py measures.
"""

import argparse
import os
import re
import tempfile
import urllib.request
from pathlib import Path

import common
from common import spread

PERIOD_US = 100_000
CONNECTIONS_PER_CPU = 8


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short repeat")
    parser.add_argument("--repeats", type=int, help="default: 3, or 1 with --quick")
    parser.add_argument("--seconds", type=int, help="of each measurement; default: 8, or 4 with --quick")
    parser.add_argument("--cpus", type=float, action="append", help="quota; may be repeated")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 3)
    given.seconds = given.seconds or (4 if given.quick else 8)
    given.cpus = given.cpus or [0.5, 1.0, 2.0]
    return given


class Quota:
    """A cgroup below that of this process, gone when it is left."""

    def __init__(self, cpus: float) -> None:
        quota = round(cpus * PERIOD_US)
        parent, unified = self._parent()
        self.folder = parent / f"relance-bench-{os.getpid()}"
        try:
            if unified and "cpu" not in (parent / "cgroup.subtree_control").read_text().split():
                (parent / "cgroup.subtree_control").write_text("+cpu")
            self.folder.mkdir()
            if unified:
                (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            else:
                (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
        except OSError as error:
            self.__exit__()
            raise SystemExit(f"no cgroup with a quota can be made here: {error}") from error

    @staticmethod
    def _parent() -> tuple[Path, bool]:
        """Where cgroups with a CPU quota are made, and whether they are of version 2."""
        own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
        root = Path("/sys/fs/cgroup")
        if (root / "cgroup.controllers").exists():
            # A group that has processes cannot have groups below it with quotas; the root can.
            return root, True
        for controllers, path in own.items():
            if "cpu" in controllers.split(","):
                return root / controllers / path.lstrip("/"), False
        raise SystemExit("there are no cgroups for CPU quotas here")

    def enter(self) -> None:
        """Called in the process that is to be limited."""
        common.many_files()
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def throttled(self) -> tuple[int, int]:
        """Periods with work, and those of them that were throttled."""
        stat = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(stat["nr_periods"]), int(stat["nr_throttled"])

    def __enter__(self) -> "Quota":
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder.exists():
            self.folder.rmdir()


def workers(url: str) -> int:
    out = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
    return int(re.search(r"^relance_workers (\d+)", out, re.M)[1])


def measure(program: Path, folder: Path, cpus: float, files: list[str], seconds: int) -> dict:
    connections = round(CONNECTIONS_PER_CPU * cpus)
    with Quota(cpus) as quota, common.Service(program, folder, before=quota.enter) as service:
        load = lambda time: common.wrk(
            f"{service.url}/predict", files, pid=service.pid, seconds=time, connections=connections, unique=True
        )
        load(1)  # warms up
        periods, throttled = quota.throttled()
        result = load(seconds)
        periods, throttled = (now - then for now, then in zip(quota.throttled(), (periods, throttled)))
        return {**result, "workers": workers(service.url), "throttled": throttled / max(periods, 1)}


def main() -> None:
    given = options()
    result = {"conditions": common.conditions(), "seconds": given.seconds, "repeats": {}}
    common.introduce(result["conditions"])
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        programs = common.built(Path(temporary))
        files = common.pictures(given.size)
        for _ in range(given.repeats):
            for cpus in given.cpus:
                repeat = measure(programs["relance"], Path(temporary), cpus, files, given.seconds)
                result["repeats"].setdefault(cpus, []).append(repeat)
    rows = []
    for cpus, repeats in result["repeats"].items():
        column = lambda field: [repeat[field] for repeat in repeats]
        rows.append([
            *[f"{cpus:g}", spread(column("workers"), 0), spread(column("per_second"))],
            *[spread([repeat["per_second"] / cpus for repeat in repeats]), spread(column("cpu_ms"))],
            *[spread([100 * share for share in column("throttled")], 0) + " %"],
            *[spread(column("p50_ms"), 0), spread(column("p99_ms"), 0), f"{sum(column('errors'))}"],
        ])
    head = ["CPUs", "workers", "req/s", "req/s for each CPU", "CPU-ms", "throttled", "p50 ms", "p99 ms", "errors"]
    common.table(head, rows)
    print(f"\nMedian (least–most) of {given.repeats} repeats of {given.seconds} s, {CONNECTIONS_PER_CPU} connections for each CPU.")
    common.save(given.json, result)


if __name__ == "__main__":
    main()
