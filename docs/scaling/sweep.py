"""Tries settings of the rule under each load, one change at a time; run as a program, every combination."""

from dataclasses import replace
from itertools import product

from autoscale import LOADS, MINUTE, Platform, Rule, flaps, simulate

# The thresholds that are usual, and the rest as in Microsoft's examples.
COMMON = Rule()
# What comes out of this.
RECOMMENDED = Rule(window=5 * MINUTE, out_by=3, out_cooldown=6 * MINUTE)

SEEDS = (1, 2, 3)

HEAD = ["Rule", "Refused: step", "spike", "Short after the step"]
HEAD += ["Too many: step", "ramp", "spike", "creep", "Instance hours", "Flaps"]


def judged(rule: Rule, platform: Platform = Platform(), seeds: tuple[int, ...] = SEEDS) -> dict[str, float]:
    """Figures of a rule by load, means over the seeds; hours and flaps of all loads together."""
    found = {"hours": 0.0, "flaps": 0.0}
    for name, load in LOADS.items():
        runs = [simulate(load(), rule, platform, seed) for seed in seeds]
        found[f"{name} refused"] = sum(run.refused_share for run in runs) / len(runs)
        found[f"{name} short"] = sum(run.short for run in runs) / len(runs)
        found[f"{name} over"] = max(run.overshoot(rule) for run in runs)
        found["hours"] += sum(run.instance_hours for run in runs) / len(runs)
        found["flaps"] += sum(flaps(run) for run in runs)
    return found


def cells(found: dict[str, float]) -> list[str]:
    """A row under HEAD, without its name."""
    refused = [f"{found[f'{name} refused']:.1%}" for name in ("step", "spike")]
    over = [f"{found[f'{name} over']:.0f}" for name in LOADS]
    return [*refused, minutes(found["step short"]), *over, f"{found['hours']:.0f}", f"{found['flaps']:.0f}"]


def minutes(seconds: float) -> str:
    return f"{seconds / MINUTE:.0f} min"


def one_at_a_time() -> list[tuple[str, Rule]]:
    """The common rule, the recommended one, and that with one thing changed."""
    base = RECOMMENDED
    changed: list[tuple[str, dict]] = [("window 10 min", {"window": 10 * MINUTE})]
    changed += [(f"out by {n}", {"out_by": n}) for n in (1, 2, 4)]
    changed += [(f"out cool-down {m} min", {"out_cooldown": m * MINUTE}) for m in (1, 3, 5, 10)]
    changed += [(f"in cool-down {m} min", {"in_cooldown": m * MINUTE}) for m in (3, 10)]
    changed += [("in by 2", {"in_by": 2})]
    changed += [(f"out above {n} %", {"out_above": n}) for n in (60, 80)]
    changed += [(f"in below {n} %", {"in_below": n}) for n in (30, 50)]
    changed += [(f"at least {n} instances", {"minimum": n}) for n in (3, 5)]
    return [("common", COMMON), ("**recommended**", base), *((name, replace(base, **what)) for name, what in changed)]


def rules_rows() -> list[list[str]]:
    return [[name, *cells(judged(rule))] for name, rule in one_at_a_time()]


PLATFORM_HEAD = ["Platform", "Common: step", "spike", "short", "Recommended: step", "spike", "short"]


def platform_rows() -> list[list[str]]:
    """How much the difference depends on what the platform does."""
    platforms = {
        "as assumed": Platform(),
        "start 30 s": Platform(start=30),
        "start 300 s": Platform(start=300),
        "metric at once": Platform(metric_delay=0),
        "metric 180 s late": Platform(metric_delay=180),
        "evaluated every 30 s": Platform(evaluation=30),
    }
    rows = []
    for name, platform in platforms.items():
        both = [cells(judged(rule, platform))[:3] for rule in (COMMON, RECOMMENDED)]
        rows.append([name, *both[0], *both[1]])
    return rows


def main() -> None:
    """Every combination, the fewest refused first."""
    choices = product((60, 70, 80), (30, 40, 50), (5, 10), (1, 2, 3, 4), (1, 3, 5, 10), (5, 10))
    found = []
    for out, below, window, by, cool_out, cool_in in choices:
        rule = Rule(out, below, window * MINUTE, by, 1, cool_out * MINUTE, cool_in * MINUTE)
        name = f"> {out} %, < {below} %, {window} min, +{by}, cool-downs {cool_out} and {cool_in} min"
        result = judged(rule, seeds=(1,))
        found.append((result["step refused"] + result["spike refused"], [name, *cells(result)]))
    print(*HEAD, sep=" | ")
    for _, row in sorted(found):
        print(*row, sep=" | ")


if __name__ == "__main__":
    main()
