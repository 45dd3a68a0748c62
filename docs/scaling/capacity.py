"""What a number of requests a second needs on Azure, and what that costs: arithmetic on assumptions.toml.

Prints the tables of docs/scaling.md.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

RATES = (1_000, 10_000, 100_000)
HIT_RATIOS = (0.0, 0.5, 0.9, 0.99)
SIZES = ("640x480", "1280x960", "4000x3000")

GIGABYTE = 1e6  # kilobytes
DAY = 86_400


def load(path: Path = HERE / "assumptions.toml") -> dict:
    """The assumptions."""
    return tomllib.loads(path.read_text())


@dataclass(frozen=True)
class Need:
    """What `rate` requests a second need. `hits` is the part that is answered from a cache."""

    rate: float
    hits: float
    size: str
    cpus: float
    instances: int
    plans: int
    ru: float
    partitions: int
    containers: int
    blob_writes: float
    blob_gbps: float
    accounts: int
    redis_operations: float
    redis_gigabytes: int | None
    record_gigabytes: float
    picture_gigabytes: float
    egress_gigabytes: float


def cpu_ms(given: dict, hits: float, size: str = "640x480") -> float:
    """CPU-ms of one request, shipping included."""
    cost = given["measured"]["cpu_ms"][size]
    new = cost["new"] + given["assumed"]["ship_picture_cpu_ms"]
    return hits * cost["cached"] + (1 - hits) * new + given["measured"]["ship_record_cpu_ms"]


def instance_rate(given: dict, hits: float, size: str = "640x480") -> float:
    """Requests a second that one instance answers with all its CPUs."""
    return given["prices"]["plan_vcpus"] * given["assumed"]["vcpu_factor"] * 1e3 / cpu_ms(given, hits, size)


def need(given: dict, rate: float, hits: float, size: str = "640x480") -> Need:
    """What is needed for a mean of `rate` requests a second."""
    assumed, limits = given["assumed"], given["limits"]
    kilobytes = given["measured"]["cpu_ms"][size]["kilobytes"]
    new = rate * (1 - hits)
    instances = math.ceil(rate / (instance_rate(given, hits, size) * assumed["utilisation"]) - 1e-9)
    instances = max(instances, assumed["minimum_instances"])

    ru = rate * assumed["record_ru"] * assumed["ru_headroom"]
    kept = assumed["retention_days"] * DAY / GIGABYTE
    record_gigabytes = rate * assumed["record_kilobytes"] * kept
    partitions = max(ru / limits["ru_per_partition"], record_gigabytes / limits["gigabytes_per_partition"])

    picture_gigabytes = new * kilobytes * kept
    gbps = new * kilobytes * 8 / 1e6
    pressed = (new / limits["blob_requests"], gbps / limits["blob_ingress_gbps"])
    accounts = max(*pressed, picture_gigabytes / (limits["blob_petabytes"] * 1e6))

    # At worst no instance remembers a hit itself: each request asks Redis, and each new result is written.
    operations = rate + new
    wanted = operations * assumed["redis_headroom"]
    return Need(
        rate=rate,
        hits=hits,
        size=size,
        cpus=rate * cpu_ms(given, hits, size) / 1e3,
        instances=instances,
        plans=math.ceil(instances / limits["instances_per_plan"]),
        ru=ru,
        partitions=math.ceil(partitions),
        containers=math.ceil(ru / limits["ru_per_container"]),
        blob_writes=new,
        blob_gbps=gbps,
        accounts=max(math.ceil(accounts), 1),
        redis_operations=operations,
        redis_gigabytes=next((size for size, most in limits["redis"] if most >= wanted), None),
        record_gigabytes=record_gigabytes,
        picture_gigabytes=picture_gigabytes,
        egress_gigabytes=rate * assumed["answer_kilobytes"] * 30 * DAY / GIGABYTE,
    )


def monthly(given: dict, wanted: Need) -> dict[str, float]:
    """US dollars a month, by what they are for. Storage is what lies there once retention has filled it."""
    price = given["prices"]
    hours = price["hours_a_month"]
    return {
        "instances": wanted.instances * price["instance_hour"] * hours,
        "request units": wanted.ru / 100 * price["ru_100_hour"] * hours,
        "records": wanted.record_gigabytes * price["cosmos_gigabyte_month"],
        "picture writes": wanted.blob_writes * hours * 3600 / 10_000 * price["blob_write_10000"],
        "pictures": wanted.picture_gigabytes * price["blob_gigabyte_month"],
        "Redis": (wanted.redis_gigabytes or 0) * price["redis_gigabyte_hour"] * hours,
        "egress": wanted.egress_gigabytes * price["egress_gigabyte"],
    }


def rounded(value: float) -> str:
    """Two digits, for there is no more in the assumptions."""
    if value < 1:
        return f"{value:.1g}"
    digits = 10 ** max(math.floor(math.log10(value)) - 1, 0)
    return f"{round(value / digits) * digits:,}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, figures to the right."""
    marks = ["---:" if column else "---" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, marks, *rows])


def needs_table(given: dict) -> str:
    head = ["Requests/s", "Hits", "CPUs", "Instances", "RU/s", "Partitions"]
    head += ["Pictures/s", "Gbit/s", "Accounts", "Redis/s", "Redis GB"]
    rows = []
    for rate in RATES:
        for hits in HIT_RATIOS:
            one = need(given, rate, hits)
            rows.append(
                [f"{rate:,}", f"{hits:.0%}", rounded(one.cpus), f"{one.instances:,}", rounded(one.ru)]
                + [f"{one.partitions:,}", rounded(one.blob_writes), rounded(one.blob_gbps), f"{one.accounts}"]
                + [rounded(one.redis_operations), str(one.redis_gigabytes or "more")]
            )
    return table(head, rows)


def price_table(given: dict) -> str:
    names = list(monthly(given, need(given, 1000, 0)))
    rows = []
    for rate in RATES:
        for hits in HIT_RATIOS:
            cost = monthly(given, need(given, rate, hits))
            total = sum(cost.values())
            millions = rate * 30 * DAY / 1e6
            rows.append(
                [f"{rate:,}", f"{hits:.0%}", *(rounded(cost[name]) for name in names), rounded(total)]
                + [f"{total / millions:.2f}"]
            )
    head = ["Requests/s", "Hits", *(name[0].upper() + name[1:] for name in names), "Total", "A million requests"]
    return table(head, rows)


def sizes_table(given: dict) -> str:
    rows = []
    for size in SIZES:
        for hits in HIT_RATIOS:
            one = need(given, 1000, hits, size)
            each = instance_rate(given, hits, size)
            rows.append([size.replace("x", "×"), f"{hits:.0%}", f"{cpu_ms(given, hits, size):.2g}"])
            rows[-1] += [rounded(each), f"{one.instances:,}", rounded(one.blob_gbps)]
    head = ["Picture", "Hits", "CPU-ms", "Requests/s of an instance", "Instances for 1,000/s", "Gbit/s"]
    return table(head, rows)


if __name__ == "__main__":
    assumptions = load()
    print(needs_table(assumptions), price_table(assumptions), sizes_table(assumptions), sep="\n\n")
