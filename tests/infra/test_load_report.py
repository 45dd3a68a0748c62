"""What the load test makes of the figures that it gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

# The load test runs in an environment of its own, and so does this, as a program.
PROGRAM = """
import math, sys
sys.path.insert(0, sys.argv[1])
from loadtest.exposition import Difference, Unreadable
from loadtest.outcome import Outcome, nearest_rank, quantile
from loadtest.processors import Sample, shares
from loadtest.report import targets
from loadtest.scenarios import Scenario

def series(name, value, **labels):
    return {(name, frozenset(labels.items())): value}

def row(name, seconds, failures=0, times=None):
    failed = {str(min(seconds)): failures} if failures else {}
    return {"name": name, "method": "POST", "num_requests": sum(seconds.values()), "num_failures": failures,
            "start_time": 1000.0, "response_times": times or {"10": 99, "500": 1},
            "num_reqs_per_sec": {str(k): v for k, v in seconds.items()}, "num_fail_per_sec": failed}

def outcome(name, users, each_second, failures=0, records=None, health=1.0, refused=0):
    seconds = {1000 + n: each_second for n in range(180)}
    stats = [row("POST /predict known", seconds, failures)]
    if refused:
        stats.append(row("refused 503: POST /predict new", {1100: refused}))
    told = {"facts": {"introduced": 8}, "errors": [], "stats": stats}
    return Outcome(name, Scenario(users=users, seconds=180), told, [[0, health, 200]] * 100, records=records)

def judged(outcomes):
    return {what: ok for what, _, ok in targets(outcomes)}
"""


def run(code: str) -> None:
    """Runs assertions with the modules of the load test."""
    python = REPO / ".tools/locust/bin/python"
    if not python.exists():
        pytest.fail(f"there is no {python}: scripts/install-tools loadtest", pytrace=False)
    done = subprocess.run([python, "-c", PROGRAM + code, REPO / "bench"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_answers_a_second_are_counted_while_all_users_are_there() -> None:
    run(
        """
ramp = {1000 + n: n for n in range(75)} | {1000 + n: 2000 for n in range(75, 180)}
told = {"facts": {}, "errors": [], "stats": [row("POST /predict known", ramp)]}
one = Outcome("7500", Scenario(users=7500, seconds=180), told, [])
assert one.rate == 2000, one.rate
# Failures and refusals are no answers.
failed = outcome("2500", 2500, 100, failures=50, refused=9)
assert (failed.failures, failed.refusals, failed.answers) == (50, 9, 17950)
assert failed.rate == 100
"""
    )


def test_each_target_can_be_missed() -> None:
    run(
        """
good = {"2500": outcome("2500", 2500, 1240, records=223208), "7500": outcome("7500", 7500, 1200, records=216008)}
assert all(judged(good).values()), judged(good)
bad = {
    "2500": outcome("2500", 2500, 1190, failures=1, records=1000, health=101.0),
    "7500": outcome("7500", 7500, 900, health=math.inf),
}
met = [what for what, ok in judged(bad).items() if ok]
assert met == ["2500: no known picture classified again", "7500: no failures but refusals with Retry-After"], met
# A refusal is no failure.
assert judged({"5000": outcome("5000", 5000, 1, refused=5)})["5000: no failures but refusals with Retry-After"]
"""
    )


def test_metrics_are_differences_of_what_all_instances_tell() -> None:
    run(
        """
refused = series("r_total", 1, route="/a", status="503")
before = series("r_total", 5, route="/a", status="200") | refused
after = series("r_total", 9, route="/a", status="200") | refused | series("r_total", 2, route="/b", status="200")
seen = Difference(before, after)
seen.check()
assert seen.value("r_total", route="/a") == 4 and seen.value("r_total", status="200") == 6
assert seen.by("r_total", "route", "status") == {("/a", "200"): 4, ("/b", "200"): 2}
try:
    Difference(after, before).check()
    raise SystemExit("a counter that went down was not noticed")
except Unreadable:
    pass
buckets = {0.001: 50, 0.01: 90, float("inf"): 100}
histogram = {}
for bound, count in buckets.items():
    histogram |= series("t_bucket", count, le=str(bound), route="/a")
seen = Difference({}, histogram)
assert seen.quantile(0.25, "t", route="/a") == 0.0005
assert abs(seen.quantile(0.7, "t", route="/a") - 0.0055) < 1e-12
assert seen.quantile(0.99, "t", route="/a") == 0.01, "beyond the last bound it is not known better"
assert math.isnan(seen.quantile(0.5, "t", route="/b"))
"""
    )


def test_quantiles() -> None:
    run(
        """
assert quantile({"1": 98, "20": 1, "300": 1}, 0.5) == 1 and quantile({"300": 1, "1": 98, "20": 1}, 0.99) == 20
assert math.isnan(quantile({}, 0.5)) and math.isnan(nearest_rank([], 0.5))
assert nearest_rank([3, 1, 2], 0.5) == 2 and nearest_rank([1, math.inf], 0.99) == math.inf
"""
    )


def test_shares_of_the_processors() -> None:
    run(
        """
samples = [Sample(time=t, service=0.5 * t, locust=t, busy=1.75 * t, idle=0.25 * t) for t in range(10)]
found = shares(samples, 2, 8)
found.pop("cpus")
assert found == {"service": 0.5, "locust": 1, "others": 0.25, "idle": 0.25}
assert shares([], 2, 8) == {} and shares(samples[:1], 2, 8) == {}
assert shares(samples[:2], 5, 8)["locust"] == 1
"""
    )
