"""How many users come, how fast, for how long, and what they do."""

import math
from dataclasses import dataclass

# Parts of a hundred requests; the names are tasks of locustfile.py.
PREDICT = {"known": 95, "new": 5}
EVERYTHING = {"known": 65, "reference": 20, "new": 5, "health": 5, "requests": 5}


@dataclass(frozen=True)
class Scenario:
    """A load: `users` come at `rate` a second and stay until `seconds` after the first came.

    Between two requests a user waits `wait` seconds, evenly distributed. With 1 to 3 s the 2,500 users ask for
    at most 1,250 requests a second, however fast the service is.
    """

    users: int
    seconds: int
    rate: float = 100
    wait: tuple[float, float] = (1, 3)
    mix: tuple[tuple[str, int], ...] = tuple(EVERYTHING.items())

    @property
    def full_after(self) -> float:
        """Seconds until all users are there."""
        return self.users / self.rate

    @property
    def most(self) -> float:
        """Requests a second that the users ask for when every answer comes at once; infinite if they do not wait."""
        return 2 * self.users / sum(self.wait) if sum(self.wait) else math.inf


SCENARIOS = {
    "smoke": Scenario(users=12, rate=12, seconds=6, wait=(0.05, 0.25)),
    "1000": Scenario(users=1000, seconds=180, mix=tuple(PREDICT.items())),
    "2500": Scenario(users=2500, seconds=180),
    "5000": Scenario(users=5000, seconds=180),
    "7500": Scenario(users=7500, seconds=180),
}

# Seconds that the last requests get to end.
STOP_TIMEOUT = 20

# What SCENARIO=all runs, one after the other.
ALL = ("1000", "2500", "5000", "7500")


def span(text: str) -> tuple[float, float]:
    """Reads a wait: `2`, or `1-3` for anything between."""
    try:
        low, high = (float(part) for part in (text.split("-") if "-" in text else (text, text)))
    except ValueError:
        low, high = -1, -1
    if not 0 <= low <= high:
        raise ValueError(f"{text!r} is no wait; accepted are seconds such as 2, or 1-3 for anything between")
    return low, high


def find(name: str, *, seconds: str | None = None, wait: str | None = None) -> Scenario:
    """The scenario of that name, with another length or wait if given."""
    if name not in SCENARIOS:
        raise ValueError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    values = dict(vars(SCENARIOS[name]))
    if seconds:
        if not seconds.isdecimal() or int(seconds) < 1:
            raise ValueError(f"{seconds!r} is no length; accepted are whole seconds from 1 up")
        values["seconds"] = int(seconds)
    if wait:
        values["wait"] = span(wait)
    return Scenario(**values)
