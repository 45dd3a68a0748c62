"""Azure's autoscale rule on an App Service plan, second by second, under a load that changes.

What is modelled and where it is from is in docs/scaling.md. Deterministic: the same seed gives the same run.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy

MINUTE = 60


@dataclass(frozen=True)
class Rule:
    """CPU rules as in Microsoft.Insights/autoscalesettings. Thresholds in percent, times in seconds."""

    out_above: float = 70
    in_below: float = 40
    window: int = 10 * MINUTE
    out_by: int = 1
    in_by: int = 1
    out_cooldown: int = 5 * MINUTE
    in_cooldown: int = 5 * MINUTE
    minimum: int = 2
    maximum: int = 30
    # Azure estimates what a scale-in would lead to, and does less or nothing if that is a scale-out.
    guard: bool = True

    def __post_init__(self) -> None:
        if not 5 * MINUTE <= self.window <= 720 * MINUTE:
            raise ValueError("Azure accepts windows from 5 minutes to 12 hours")
        if not 0 <= self.in_below < self.out_above <= 100:
            raise ValueError("the thresholds must be between 0 and 100, scale-in below scale-out")
        if not 1 <= self.minimum <= self.maximum or min(self.out_by, self.in_by) < 1:
            raise ValueError("there must be at least one instance, and steps of at least one")


@dataclass(frozen=True)
class Platform:
    """What the rule cannot choose. Times in seconds, `capacity` in requests a second of one instance at 100 % CPU."""

    evaluation: int = 60
    sample: int = 60
    metric_delay: int = 60
    start: int = 90
    capacity: float = 1000
    cpu_noise: float = 2.0


@dataclass(frozen=True)
class Action:
    """Autoscale sets the number of instances."""

    time: int
    before: int
    after: int

    @property
    def out(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True)
class Run:
    """One simulated load. Arrays have a value for each second."""

    wanted: numpy.ndarray
    offered: numpy.ndarray
    answered: numpy.ndarray
    refused: numpy.ndarray
    ready: numpy.ndarray
    cpu: numpy.ndarray
    actions: list[Action]
    platform: Platform

    @property
    def refused_share(self) -> float:
        return float(self.refused.sum() / self.offered.sum())

    @property
    def instance_hours(self) -> float:
        return float(self.ready.sum() / 3600)

    @property
    def short(self) -> int:
        """Seconds from the first to the last in which the instances could not answer everything."""
        seconds = numpy.flatnonzero(self.wanted > self.ready * self.platform.capacity)
        return int(seconds[-1] - seconds[0] + 1) if len(seconds) else 0

    def overshoot(self, rule: Rule) -> int:
        """Instances beyond those that keep the highest load below the scale-out threshold."""
        enough = math.ceil(self.wanted.max() / (self.platform.capacity * rule.out_above / 100) - 1e-9)
        return int(max(self.ready.max() - max(enough, rule.minimum), 0))


def simulate(wanted: numpy.ndarray, rule: Rule, platform: Platform = Platform(), seed: int = 1) -> Run:
    """Runs the rule under `wanted` requests a second, a value for each second.

    Requests come at random (Poisson) around it. Those beyond the capacity of a second are refused: the service lets
    nothing wait for longer.
    """
    random = numpy.random.default_rng(seed)
    offered = random.poisson(wanted)
    ready_at: list[int] = [0] * rule.minimum
    ready = numpy.zeros(len(wanted), dtype=int)
    cpu = numpy.zeros(len(wanted))
    samples: deque[tuple[int, float]] = deque()
    actions: list[Action] = []
    last = -max(rule.out_cooldown, rule.in_cooldown)

    for now in range(len(wanted)):
        if now and now % platform.sample == 0:
            mean = cpu[now - platform.sample : now].mean() + random.normal(0, platform.cpu_noise)
            samples.append((now, min(max(mean, 0.0), 100.0)))
        if now and now % platform.evaluation == 0:
            observed = _observed(samples, now, rule, platform)
            count = len(ready_at)
            after = count if observed is None else _decide(observed, count, now - last, rule)
            if after != count:
                # The youngest go first, those that have not started among them.
                ready_at = ready_at[:after] + [now + platform.start] * (after - count)
                actions.append(Action(now, count, after))
                last = now
        ready[now] = sum(time <= now for time in ready_at)
        cpu[now] = min(100 * offered[now] / (ready[now] * platform.capacity), 100)

    answered = numpy.minimum(offered, numpy.floor(ready * platform.capacity)).astype(int)
    return Run(wanted, offered, answered, offered - answered, ready, cpu, actions, platform)


def _observed(samples: deque[tuple[int, float]], now: int, rule: Rule, platform: Platform) -> float | None:
    """The mean of the samples in the window that can be read by now."""
    while samples and samples[0][0] <= now - rule.window:
        samples.popleft()
    known = [value for end, value in samples if end + platform.metric_delay <= now]
    return sum(known) / len(known) if known else None


def _decide(observed: float, count: int, since: int, rule: Rule) -> int:
    """How many instances there should be, `since` seconds after the last change."""
    if observed > rule.out_above:
        return min(count + rule.out_by, rule.maximum) if since >= rule.out_cooldown else count
    if observed < rule.in_below and since >= rule.in_cooldown:
        for after in range(max(count - rule.in_by, rule.minimum), count):
            if not rule.guard or observed * count / after <= rule.out_above:
                return after
    return count


def flaps(run: Run, within: int = 60 * MINUTE, same: float = 0.1) -> int:
    """How often a change was undone and made again while the load stayed the same: the rule's own doing.

    Undone once is not counted, for that is how a step that was too large is mended.
    """
    found = 0
    for first, second, third in zip(run.actions, run.actions[1:], run.actions[2:]):
        between = run.wanted[first.time : third.time + 1]
        steady = bool(between.max() - between.min() <= same * between.max())
        found += first.out != second.out != third.out and third.time - first.time <= within and steady
    return found


def step(capacity: float = 1000) -> numpy.ndarray:
    """Three hours: from 0.9 to 4.5 instances' worth at once, for 100 minutes, and back."""
    load = numpy.full(180 * MINUTE, 0.9 * capacity)
    load[20 * MINUTE : 120 * MINUTE] = 4.5 * capacity
    return load


def ramp(capacity: float = 1000) -> numpy.ndarray:
    """Three hours: from 0.9 to 6 instances' worth in an hour, half an hour there, and down in another hour."""
    minutes = [0, 20, 80, 110, 170, 180]
    worth = [0.9, 0.9, 6, 6, 0.9, 0.9]
    return capacity * numpy.interp(numpy.arange(180 * MINUTE) / MINUTE, minutes, worth)


def spike(capacity: float = 1000) -> numpy.ndarray:
    """Two hours: ten minutes of 4.5 instances' worth."""
    load = numpy.full(120 * MINUTE, 0.9 * capacity)
    load[20 * MINUTE : 30 * MINUTE] = 4.5 * capacity
    return load


def creep(capacity: float = 1000) -> numpy.ndarray:
    """Three hours: slowly to just above what two instances may have, and no further."""
    return capacity * numpy.interp(numpy.arange(180 * MINUTE) / MINUTE, [0, 20, 50, 180], [0.9, 0.9, 1.5, 1.5])


LOADS = {"step": step, "ramp": ramp, "spike": spike, "creep": creep}
