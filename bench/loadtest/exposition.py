"""What the service tells of itself at /metrics: differences between two readings."""

from collections import defaultdict
from dataclasses import dataclass

from loadtest import web

Labels = frozenset[tuple[str, str]]
Reading = dict[tuple[str, Labels], float]


class Unreadable(Exception):
    """Metrics that cannot be had; says why."""


def read(urls: list[str]) -> Reading:
    """The metrics of all instances, added up."""
    # Here, because the rest does without it.
    from prometheus_client.parser import text_string_to_metric_families

    total: Reading = defaultdict(float)
    for url in urls:
        try:
            text = web.get(url)
        except (OSError, ValueError) as error:
            raise Unreadable(f"{url}: {error}") from None
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                total[sample.name, frozenset(sample.labels.items())] += sample.value
    return dict(total)


@dataclass(frozen=True)
class Difference:
    """What happened between two readings."""

    before: Reading
    after: Reading

    def check(self) -> None:
        """Counters only grow, unless the readings are of different instances or one was restarted."""
        for key, value in self.before.items():
            if key[0].endswith(("_total", "_count", "_bucket")) and self.after.get(key, 0) < value:
                raise Unreadable(f"{key[0]} went down: another instance answered, or one was restarted")

    def value(self, name: str, **labels: str) -> float:
        """How much a counter grew, over all series that have these labels."""
        return sum(self.after[key] - self.before.get(key, 0) for key in self._keys(name, labels))

    def now(self, name: str) -> float:
        """A gauge at the end, over all series."""
        return sum(self.after[key] for key in self._keys(name, {}))

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """How much a counter grew, by the values of some labels; without what did not change."""
        grown: dict[tuple[str, ...], float] = defaultdict(float)
        for key in self._keys(name, {}):
            change = self.after[key] - self.before.get(key, 0)
            if change:
                own = dict(key[1])
                grown[tuple(own[label] for label in labels)] += change
        return dict(grown)

    def quantile(self, share: float, name: str, **labels: str) -> float:
        """A quantile of a histogram as Prometheus' histogram_quantile computes it; NaN if nothing happened."""
        buckets: dict[float, float] = defaultdict(float)
        for key in self._keys(name + "_bucket", labels):
            buckets[float(dict(key[1])["le"])] += self.after[key] - self.before.get(key, 0)
        bounds = sorted(buckets)
        if not bounds or not buckets[bounds[-1]]:
            return float("nan")
        rank = share * buckets[bounds[-1]]
        low, below = 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= rank:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (rank - below) / max(buckets[bound] - below, 1e-9)
            low, below = bound, buckets[bound]
        return low

    def _keys(self, name: str, labels: dict[str, str]) -> list[tuple[str, Labels]]:
        wanted = set(labels.items())
        return [key for key in self.after if key[0] == name and wanted <= key[1]]
