"""The arithmetic of docs/scaling/capacity.py, and that docs/scaling.md says what the scripts give."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "docs/scaling"))

import capacity  # noqa: E402


@pytest.fixture
def given() -> dict:
    """Round figures, so that the results can be seen."""
    found = copy.deepcopy(capacity.load())
    found["measured"]["cpu_ms"]["640x480"] = {"cached": 0.1, "new": 9.4, "kilobytes": 50}
    found["measured"]["ship_record_cpu_ms"] = 0.1
    found["assumed"].update(ship_picture_cpu_ms=0.5, vcpu_factor=1.0, utilisation=0.5, record_ru=8, ru_headroom=1.25)
    found["assumed"].update(record_kilobytes=1.0, retention_days=30, minimum_instances=2, redis_headroom=2)
    found["prices"].update(plan_vcpus=2, instance_hour=0.2, ru_100_hour=0.01, hours_a_month=730)
    found["prices"].update(cosmos_gigabyte_month=0.25, blob_write_10000=0.05, blob_gigabyte_month=0.02)
    return found


def test_a_request_costs_what_its_parts_cost(given: dict) -> None:
    assert capacity.cpu_ms(given, 0) == pytest.approx(9.4 + 0.5 + 0.1)
    assert capacity.cpu_ms(given, 1) == pytest.approx(0.1 + 0.1)
    assert capacity.cpu_ms(given, 0.5) == pytest.approx((10 + 0.2) / 2)
    assert capacity.instance_rate(given, 0) == pytest.approx(200)


def test_instances_are_enough_and_not_one_more(given: dict) -> None:
    # 10 ms each, 2 CPUs used by half: 100 requests a second for an instance.
    for rate, instances in ((1, 2), (200, 2), (201, 3), (1000, 10), (3000, 30), (3001, 31)):
        assert capacity.need(given, rate, 0).instances == instances
    assert (capacity.need(given, 3000, 0).plans, capacity.need(given, 3001, 0).plans) == (1, 2)
    given["assumed"]["vcpu_factor"] = 0.5
    assert capacity.need(given, 1000, 0).instances == 20


def test_stores_get_what_is_sent_to_them(given: dict) -> None:
    one = capacity.need(given, 10_000, 0.9)
    assert one.ru == pytest.approx(10_000 * 8 * 1.25), "every request is recorded, known or not"
    assert one.blob_writes == pytest.approx(1000), "only new pictures are stored"
    assert one.blob_gbps == pytest.approx(1000 * 50e3 * 8 / 1e9)
    assert one.redis_operations == pytest.approx(11_000)
    assert one.redis_gigabytes == 1
    # 10,000 a second for 30 days are 25,920 GB, in partitions of 50 GB.
    assert one.record_gigabytes == pytest.approx(25_920) and one.partitions == 519
    given["assumed"]["retention_days"] = 1
    assert capacity.need(given, 10_000, 0.9).partitions == 18, "864 GB"
    given["assumed"]["retention_days"] = 0.1
    assert capacity.need(given, 10_000, 0.9).partitions == 10, "100,000 RU/s"


@pytest.mark.parametrize(
    ("rate", "kilobytes", "days", "accounts"),
    [
        (20_000, 1, 1, 1),
        (20_001, 1, 1, 2),
        (10_000, 312.5, 1, 1),  # 25 Gbit/s
        (10_000, 313, 1, 2),
        (10_000, 50, 30, 1),  # 1.3 PB
        (10_000, 50, 120, 2),  # 5.2 PB
    ],
)
def test_a_storage_account_has_three_limits(
    given: dict, rate: float, kilobytes: float, days: float, accounts: int
) -> None:
    given["measured"]["cpu_ms"]["640x480"]["kilobytes"] = kilobytes
    given["assumed"]["retention_days"] = days
    assert capacity.need(given, rate, 0).accounts == accounts


def test_redis_grows_with_what_is_asked_of_it(given: dict) -> None:
    sizes = [capacity.need(given, rate, 1).redis_gigabytes for rate in (60_000, 60_001, 240_000, 1_000_000, 1_000_001)]
    assert sizes == [1, 3, 12, 120, None]


def test_prices_add_up(given: dict) -> None:
    cost = capacity.monthly(given, capacity.need(given, 1000, 0))
    assert cost["instances"] == pytest.approx(10 * 0.2 * 730)
    assert cost["request units"] == pytest.approx(10_000 / 100 * 0.01 * 730)
    assert cost["records"] == pytest.approx(2592 * 0.25)
    assert cost["picture writes"] == pytest.approx(1000 * 730 * 3600 / 10_000 * 0.05)
    assert cost["pictures"] == pytest.approx(129_600 * 0.02)
    cheaper = capacity.monthly(given, capacity.need(given, 1000, 0.9))
    assert sum(cheaper.values()) < sum(cost.values())
    assert cheaper["request units"] == cost["request units"] and cheaper["picture writes"] < cost["picture writes"]


def test_figures_have_two_digits() -> None:
    assert [capacity.rounded(value) for value in (0.04, 0.25, 6.84, 68.4, 684, 123_456)] == [
        "0.04", "0.2", "7", "68", "680", "120,000",
    ]  # fmt: skip


def test_assumptions_say_when_prices_were_assumed_and_where_limits_are_from() -> None:
    text = (REPO / "docs/scaling/assumptions.toml").read_text()
    limits = text.split("[limits]")[1].split("[prices]")[0]
    assert limits.count("https://learn.microsoft.com/") >= 4
    assert capacity.load()["prices"]["as_of"] in text.split("[limits]")[1].split("[prices]")[0], "the date is explained"
    page = (REPO / "docs/scaling.md").read_text()
    assert capacity.load()["prices"]["as_of"] in page


def test_the_page_says_what_the_scripts_give() -> None:
    command = [sys.executable, REPO / "docs/scaling/write.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
