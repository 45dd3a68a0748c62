"""Four times more requests than the service can answer, and what it makes of them.

1. Peak: how much it answers when it is asked as fast as it answers (bench/load.rs, closed loop).
2. Unloaded: a fifth of that, at random times. Its latencies are the measure for the others.
3. Overload: four times the peak, at random times, over 1,000 connections, for 30 s.
4. After: the closed loop again, at once.

Load and service share the CPUs here, perhaps with others too. So the goodput is also told for the CPU time
that the service got: answers for each CPU-second, against those of the peak. That shows what refusing costs.
With --apart the load has the last CPU for itself, and the service all others.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import common

MAX_QUEUE_MS = 1000
CONNECTIONS, MANY = 16, 1000
TARGETS = {
    "goodput / peak": ("≥ 0.95", lambda r: r["goodput"] >= 0.95),
    "p99 of the answers, ms": ("≤ 2 × unloaded + MAX_QUEUE_MS", lambda r: r["p99"] <= 2 * r["unloaded_p99"] + MAX_QUEUE_MS),
    "p99 of the refusals, ms": ("< 20", lambda r: r["refusal_p99"] < 20),
    "p99 of /health, ms": ("≤ 50", lambda r: r["health_p99"] <= 50),
    "full speed again, s": ("≤ 1", lambda r: r["recovery"] <= 1),
}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter phases")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--factor", type=float, default=4, help="offered requests for each that can be answered")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--apart", action="store_true", help="the load on a CPU of its own")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args()


def cpus(apart: bool) -> tuple[set[int], set[int]]:
    """Those of the service, and those of the load."""
    every = os.sched_getaffinity(0)
    if not apart:
        return every, every
    if len(every) < 2:
        raise SystemExit("--apart: there is one CPU only")
    return every - {max(every)}, {max(every)}


def confine(own: set[int]) -> None:
    """For a program that starts: its CPUs, and as many connections as it may have."""
    common.many_files()
    os.sched_setaffinity(0, own)


def first(own: set[int]) -> None:
    """The load goes before the service where that is allowed, as it would on a machine of its own."""
    confine(own)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        pass


class Run:
    """What the load program tells of its phases."""

    def __init__(
        self, program: Path, own: set[int], service: common.Service, files: list[str], phases: list[str]
    ) -> None:
        command = [program, "--address", service.url.removeprefix("http://"), "--pid", str(service.pid)]
        for phase in phases:
            command += ["--phase", phase]
        before = partial(first, own)
        out = subprocess.run([*command, *files], check=True, capture_output=True, text=True, preexec_fn=before).stdout
        told = json.loads(out)
        self.phases, self.requests, self.health = told["phases"], told["requests"], told["health"]

    def due(self, phase: int) -> list[list]:
        """Requests that were due in a phase."""
        start, end = self.span(phase)
        return [request for request in self.requests if start <= request[0] < end]

    def span(self, phase: int) -> tuple[float, float]:
        start = self.phases[phase]["start"]
        return start, start + self.phases[phase]["seconds"]

    def answered(self, start: float, end: float) -> int:
        """Answers with a class that came in this time."""
        done = (due + latency / 1e3 for due, _, latency, status in self.requests if status == 200)
        return sum(start <= time < end for time in done)

    def speed(self, phase: int) -> float:
        start, end = self.span(phase)
        return self.answered(start, end) / (end - start)

    def cpu_share(self, phase: int) -> float:
        return self.phases[phase]["load_cpu_seconds"] / self.phases[phase]["seconds"]

    def cpu_ms(self, phase: int) -> float:
        """What the service spent on each answer, refusals included."""
        return 1e3 * self.phases[phase]["service_cpu_seconds"] / max(self.answered(*self.span(phase)), 1)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def latencies(requests: list[list], *statuses: int) -> list[float]:
    return [latency for _, _, latency, status in requests if status in statuses]


def first_half_second(run: Run, phase: int, good) -> float:
    """Seconds from the start of a phase to the first half second that is good."""
    start, end = run.span(phase)
    time = start
    while time + 0.5 <= end:
        if good(time, time + 0.5):
            return time - start
        time += 0.1
    return float("inf")


def recovery(run: Run, phase: int, peak: float, quick: float) -> tuple[float, float]:
    """When it answers 90 % of the peak again; and when half of the answers are as quick as `quick` again.

    The second comes later: the queue that the overload has left is answered first.
    """

    def swift(start: float, end: float) -> bool:
        window = [request for request in run.due(phase) if start <= request[0] < end]
        return bool(window) and percentile(latencies(window, 200), 0.5) <= quick

    full = first_half_second(run, phase, lambda start, end: run.answered(start, end) >= 0.9 * (end - start) * peak)
    return full, first_half_second(run, phase, swift)


def measure(programs: dict[str, Path], folder: Path, files: list[str], given: argparse.Namespace) -> dict:
    seconds, long = (2, 8) if given.quick else (5, 30)
    served, own = cpus(given.apart)
    queueing = {"MAX_QUEUE_MS": str(MAX_QUEUE_MS)}
    with common.Service(programs["relance"], folder, partial(confine, served), **queueing) as service:
        load = lambda *phases: Run(programs["load"], own, service, files, list(phases))
        load(f"closed:{CONNECTIONS}:1")  # warms up
        closed = f"closed:{CONNECTIONS}:{seconds}"
        before = load(closed, closed, closed)
        peak = statistics.median(before.speed(n) for n in range(3))
        unloaded = load(f"open:{CONNECTIONS}:{seconds}:{0.2 * peak}")
        rss = common.memory_mb(service.pid)
        run = load(f"open:{MANY}:{long}:{given.factor * peak}", f"closed:{CONNECTIONS}:{max(seconds, 4)}")
        most = common.memory_mb(service.pid, "VmHWM")

    offered, start_end = run.due(0), run.span(0)
    refused = [status for *_, status in offered if status == 503]
    closed_p99 = percentile(latencies(before.requests, 200), 0.99)
    unloaded_p99 = percentile(latencies(unloaded.requests, 200), 0.99)
    cpu_ms = statistics.median(before.cpu_ms(n) for n in range(3))
    health = [latency for due, _, latency, _ in run.health if start_end[0] <= due < start_end[1]]
    full_speed, quick_answers = recovery(run, 1, peak, closed_p99)
    others = {status for *_, status in offered} - {200, 503}
    return {
        "peak": peak,
        "offered": len(offered) / run.phases[0]["seconds"],
        "answered": run.speed(0),
        "goodput": run.speed(0) / peak,
        "goodput_for_cpu": cpu_ms / run.cpu_ms(0),
        "load_cpu_share": run.cpu_share(0),
        "load_late_p99": percentile([wait for _, wait, _, _ in offered], 0.99),
        "unsent": run.phases[0]["unsent"],
        "refused": len(refused),
        "others": {str(status): sum(one == status for *_, one in offered) for status in others},
        "unloaded_p50": percentile(latencies(unloaded.requests, 200), 0.5),
        "unloaded_p99": unloaded_p99,
        "closed_p99": closed_p99,
        "p50": percentile(latencies(offered, 200), 0.5),
        "p99": percentile(latencies(offered, 200), 0.99),
        "refusal_p50": percentile(latencies(offered, 503), 0.5),
        "refusal_p99": percentile(latencies(offered, 503), 0.99),
        "health_p99": percentile(health, 0.99),
        "health_most": max(health),
        "rss_before_mb": rss,
        "rss_most_mb": most,
        "recovery": full_speed,
        "quick_again": quick_answers,
        "speed_after": run.speed(1) / peak,
    }


ROWS = [
    ("peak, answers/s", "peak"),
    ("offered, requests/s", "offered"),
    ("answered, answers/s", "answered"),
    ("goodput / peak", "goodput"),
    ("the same for each CPU-second of the service", "goodput_for_cpu"),
    ("unloaded p50, ms", "unloaded_p50"),
    ("unloaded p99, ms", "unloaded_p99"),
    ("p50 of the answers, ms", "p50"),
    ("p99 of the answers, ms", "p99"),
    ("p50 of the refusals, ms", "refusal_p50"),
    ("p99 of the refusals, ms", "refusal_p99"),
    ("p99 of /health, ms", "health_p99"),
    ("slowest /health, ms", "health_most"),
    ("RSS before, MB", "rss_before_mb"),
    ("RSS at most, MB", "rss_most_mb"),
    ("full speed again, s", "recovery"),
    ("queue empty, quick answers again, s", "quick_again"),
    ("speed after / peak", "speed_after"),
    ("sent late by the load (p99), ms", "load_late_p99"),
    ("CPUs taken by the load", "load_cpu_share"),
]


def main() -> None:
    given = options()
    result = {"conditions": common.conditions(), "repeats": []}
    common.introduce(result["conditions"])
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        programs = common.built(Path(temporary))
        files = common.pictures(given.size)
        for _ in range(given.repeats):
            result["repeats"].append(measure(programs, Path(temporary), files, given))
    rows = []
    for name, field in ROWS:
        wanted, met = TARGETS.get(name, ("", None))
        verdict = "" if met is None else "met" if all(map(met, result["repeats"])) else "missed"
        rows.append([name, common.spread([repeat[field] for repeat in result["repeats"]]), wanted, verdict])
    common.table(["", "measured", "target", ""], rows)
    for repeat in result["repeats"]:
        print(f"\n{repeat['refused']} refused, {repeat['unsent']} never sent, other answers: {repeat['others'] or 'none'}")
    common.save(given.json, result)


if __name__ == "__main__":
    main()
