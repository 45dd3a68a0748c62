"""What the load test makes of the figures that it gets."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "bench"))

from loadtest.exposition import Difference, Reading, Unreadable  # noqa: E402
from loadtest.outcome import Outcome, nearest_rank, quantile  # noqa: E402
from loadtest.processors import Sample, shares  # noqa: E402
from loadtest.report import targets  # noqa: E402
from loadtest.scenarios import Scenario  # noqa: E402

START = 1000


def row(name: str, by_second: dict[int, int], failures: int = 0) -> dict:
    """A line of Locust's statistics."""
    return {
        "name": name,
        "num_requests": sum(by_second.values()),
        "num_failures": failures,
        "start_time": float(START),
        "response_times": {"10": 99, "500": 1},
        "num_reqs_per_sec": {str(second): count for second, count in by_second.items()},
        "num_fail_per_sec": {str(min(by_second)): failures} if failures else {},
    }


def outcome(name: str, rows: list[dict], records: int | None = None, health: float = 1.0) -> Outcome:
    told = {"facts": {"introduced": 8}, "errors": [], "stats": rows}
    scenario = Scenario(users=int(name), seconds=180)
    return Outcome(name, scenario, told, [[0, health, 200]] * 100, records=records)


def steady(each_second: int) -> dict[int, int]:
    return {START + second: each_second for second in range(180)}


def test_answers_a_second_are_counted_while_all_users_are_there() -> None:
    ramp = {START + n: n if n < 75 else 2000 for n in range(180)}
    assert outcome("7500", [row("POST /predict known", ramp)]).rate == 2000


def test_failures_and_refusals_are_no_answers() -> None:
    rows = [row("POST /predict known", steady(100), 50), row("refused 503: POST /predict new", {START + 100: 9})]
    one = outcome("2500", rows)
    assert (one.failures, one.refusals, one.answers, one.predictions) == (50, 9, 17950, 17950)
    assert one.rate == 100


def judged(*outcomes: Outcome) -> dict[str, bool]:
    return {what: ok for what, _, ok in targets({one.name: one for one in outcomes})}


def test_targets_are_met() -> None:
    good = judged(
        outcome("2500", [row("POST /predict known", steady(1240))], records=180 * 1240 + 8),
        outcome("7500", [row("POST /predict known", steady(1200))], records=180 * 1200 + 8),
    )
    assert len(good) == 11 and all(good.values()), good


def test_each_target_can_be_missed() -> None:
    slow = outcome("2500", [row("POST /predict known", steady(1190), 1)], records=180 * 1190 + 6, health=101.0)
    slow.facts["POST /predict known, not cached"] = 1
    falling = outcome("7500", [row("POST /predict known", steady(900), 1)], health=math.inf)
    bad = judged(slow, falling)
    assert len(bad) == 9 and not any(bad.values()), bad


def test_only_one_lost_record_is_a_loss() -> None:
    rows = [row("POST /predict known", steady(10))]
    assert [outcome("1000", rows, records=n).lost for n in (1807, 1808, 1809)] == [1, 0, 0]
    assert outcome("1000", rows).lost is None, "not known of a service elsewhere"


def series(name: str, value: float, **labels: str) -> Reading:
    return {(name, frozenset(labels.items())): value}


def test_metrics_are_differences() -> None:
    refused = series("r_total", 1, route="/a", status="503")
    before = series("r_total", 5, route="/a", status="200") | refused
    after = series("r_total", 9, route="/a", status="200") | refused | series("r_total", 2, route="/b", status="200")
    seen = Difference(before, after)
    seen.check()
    assert seen.value("r_total", route="/a") == 4 and seen.value("r_total", status="200") == 6
    assert seen.by("r_total", "route", "status") == {("/a", "200"): 4, ("/b", "200"): 2}
    with pytest.raises(Unreadable):
        Difference(after, before).check()


def test_quantiles_of_histograms_are_those_of_prometheus() -> None:
    buckets = {"0.001": 50, "0.01": 90, "+Inf": 100}
    histogram: Reading = {}
    for bound, count in buckets.items():
        histogram |= series("t_bucket", count, le=bound, route="/a")
    seen = Difference({}, histogram)
    assert seen.quantile(0.25, "t", route="/a") == pytest.approx(0.0005)
    assert seen.quantile(0.7, "t", route="/a") == pytest.approx(0.0055)
    assert seen.quantile(0.99, "t", route="/a") == 0.01, "beyond the last bound nothing better is known"
    assert math.isnan(seen.quantile(0.5, "t", route="/b"))


def test_quantiles() -> None:
    assert quantile({"1": 98, "20": 1, "300": 1}, 0.5) == 1 and quantile({"300": 1, "1": 98, "20": 1}, 0.99) == 20
    assert math.isnan(quantile({}, 0.5)) and math.isnan(nearest_rank([], 0.5))
    assert nearest_rank([3, 1, 2], 0.5) == 2
    assert nearest_rank([1, math.inf], 0.99) == math.inf, "no answer is slower than any"


def test_shares_of_the_processors() -> None:
    samples = [Sample(time=t, service=0.5 * t, locust=t, busy=1.75 * t, idle=0.25 * t) for t in range(10)]
    found = shares(samples, 2, 8)
    del found["cpus"]
    assert found == {"service": 0.5, "locust": 1, "others": 0.25, "idle": 0.25}
    assert shares([], 2, 8) == {} and shares(samples[:1], 2, 8) == {}
    assert shares(samples[:2], 5, 8)["locust"] == 1, "the samples around are taken"
