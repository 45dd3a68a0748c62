"""What came of one run: from what Locust, the probe and the service's metrics tell."""

import math
from dataclasses import dataclass, field

from loadtest.exposition import Difference
from loadtest.processors import Sample, shares
from loadtest.scenarios import Scenario

# So long after the last user came, all of them are at work; and so long before the end, none has gone.
SETTLING = 2.0

# Begins the facts that count answers by instance.
ANSWERED_BY = "answered by "

PREDICTIONS = ("POST /predict known", "POST /predict new", "POST /predict reference")


def quantile(histogram: dict, share: float) -> float:
    """A quantile of {milliseconds: how many}; NaN if it is empty."""
    rank, seen = share * sum(histogram.values()), 0
    for value in sorted(histogram, key=float):
        seen += histogram[value]
        if seen >= rank and seen:
            return float(value)
    return math.nan


def nearest_rank(values: list[float], share: float) -> float:
    """A quantile of single values; NaN if there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else math.nan


@dataclass
class Row:
    """A line of Locust's statistics."""

    name: str
    requests: int
    failures: int
    times: dict
    by_second: dict[int, int]

    @property
    def refused(self) -> bool:
        return self.name.startswith("refused ")

    def quantile(self, share: float) -> float:
        return quantile(self.times, share)


@dataclass
class Outcome:
    """One scenario as it went. Times in milliseconds, rates for each second."""

    name: str
    scenario: Scenario
    told: dict
    probe: list[list[float]]
    samples: list[Sample] = field(default_factory=list)
    metrics: Difference | None = None
    no_metrics: str | None = None
    records: int | None = None

    def __post_init__(self) -> None:
        self.facts: dict[str, int] = self.told["facts"]
        self.errors: list[dict] = self.told["errors"]
        self.rows = sorted((self._row(entry) for entry in self.told["stats"]), key=lambda row: (row.refused, row.name))
        self.start = min((entry["start_time"] for entry in self.told["stats"]), default=0.0)

    @staticmethod
    def _row(entry: dict) -> Row:
        by_second = {int(second): count for second, count in entry["num_reqs_per_sec"].items()}
        for second, count in entry["num_fail_per_sec"].items():
            by_second[int(second)] = by_second.get(int(second), 0) - count
        return Row(entry["name"], entry["num_requests"], entry["num_failures"], entry["response_times"], by_second)

    @property
    def answers(self) -> int:
        """Requests of all kinds that were answered and passed every check."""
        return sum(row.requests - row.failures for row in self.rows if not row.refused)

    @property
    def predictions(self) -> int:
        """The same, of `POST /predict` alone."""
        return sum(row.requests - row.failures for row in self.rows if row.name in PREDICTIONS)

    @property
    def refusals(self) -> int:
        return sum(row.requests for row in self.rows if row.refused)

    @property
    def failures(self) -> int:
        return sum(row.failures for row in self.rows)

    @property
    def plateau(self) -> tuple[float, float]:
        """Times of day between which all users were there."""
        first = min(self.scenario.full_after + SETTLING, self.scenario.seconds / 2)
        return self.start + first, self.start + self.scenario.seconds - 1

    @property
    def cpu(self) -> dict[str, float]:
        """CPUs in use meanwhile, by whom; empty if the service runs elsewhere."""
        return shares(self.samples, *self.plateau)

    @property
    def rate(self) -> float:
        """Answers a second meanwhile, of all kinds."""
        first, last = self.plateau
        seconds = range(math.ceil(first), math.floor(last))
        counted = sum(row.by_second.get(second, 0) for row in self.rows if not row.refused for second in seconds)
        return counted / max(len(seconds), 1)

    def answer_quantile(self, share: float) -> float:
        """Of `POST /predict`, on Locust's clock."""
        together: dict[float, int] = {}
        for row in self.rows:
            if row.name in PREDICTIONS:
                for time, count in row.times.items():
                    together[float(time)] = together.get(float(time), 0) + count
        return quantile(together, share)

    def health_quantile(self, share: float) -> float:
        """Of /health, as a load balancer beside the users sees it; no answer counts as for ever."""
        return nearest_rank([time if status == 200 else math.inf for _, time, status in self.probe], share)

    @property
    def instances(self) -> list[str]:
        """The names of those that answered."""
        return [fact.removeprefix(ANSWERED_BY) for fact in self.facts if fact.startswith(ANSWERED_BY)]

    @property
    def counted_by_service(self) -> int | None:
        """Answers of `POST /predict` that the service counted, without those before the users came."""
        if self.metrics is None:
            return None
        counted = self.metrics.value("relance_http_requests_total", route="/predict", status="200")
        return round(counted) - self.facts.get("introduced", 0)

    @property
    def lost(self) -> int | None:
        """Answers without a record; None where the records cannot be counted."""
        if self.records is None:
            return None
        return max(self.predictions + self.facts.get("introduced", 0) - self.records, 0)

    @property
    def again(self) -> int:
        """Pictures sent before that were classified again: the cache had lost them, or another instance was asked."""
        return sum(n for fact, n in self.facts.items() if fact.endswith(", not cached") and "predict new" not in fact)

    @property
    def limit(self) -> str:
        """What kept it from doing more, as far as the processors tell."""
        asked = self.rate + self.refusals / self.scenario.seconds
        if asked >= 0.95 * self.scenario.most:
            return "the users: they asked for no more"
        if not self.cpu:
            return "not known: the service runs elsewhere"
        if self.cpu["idle"] > 0.15 * self.cpu["cpus"]:
            return "not the processors: they were idle in part"
        largest = max(("service", "locust", "others"), key=lambda name: self.cpu[name])
        who = {"service": "the service", "locust": "the load generator", "others": "other programs"}[largest]
        return f"the processors of this machine, of which {who} took most"
