"""The simulation of the autoscale rule: what must hold in every run, and that it finds what is wrong with a rule."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "docs/scaling"))

from autoscale import LOADS, MINUTE, Platform, Rule, Run, flaps, simulate  # noqa: E402
from sweep import COMMON, RECOMMENDED  # noqa: E402


def constant(worth: float, minutes: int = 120) -> numpy.ndarray:
    return numpy.full(minutes * MINUTE, worth * 1000.0)


def counts(run: Run) -> list[int]:
    return [action.after for action in run.actions]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("rule", [COMMON, RECOMMENDED], ids=["common", "recommended"])
def test_what_holds_in_every_run(load: str, rule: Rule) -> None:
    run = simulate(LOADS[load](), rule)
    # Every request is either answered or refused, and none is answered twice.
    assert (run.offered == run.answered + run.refused).all()
    assert (run.answered >= 0).all() and (run.refused >= 0).all()
    assert (run.answered <= run.ready * run.platform.capacity).all()
    # None is refused while there is room.
    assert (run.refused[run.offered <= run.ready * run.platform.capacity] == 0).all()
    assert (run.ready >= rule.minimum).all() and (run.ready <= rule.maximum).all()
    assert ((0 <= run.cpu) & (run.cpu <= 100)).all()
    for one, other in zip(run.actions, run.actions[1:]):
        assert one.after == other.before
        assert other.time - one.time >= (rule.out_cooldown if other.out else rule.in_cooldown)
    for action in run.actions:
        change = action.after - action.before
        assert 0 < change <= rule.out_by if action.out else -rule.in_by <= change < 0
        assert action.time % run.platform.evaluation == 0
    assert flaps(run) == 0


def test_the_same_seed_gives_the_same_run() -> None:
    one, same, other = (simulate(LOADS["step"](), COMMON, seed=seed) for seed in (1, 1, 2))
    assert (one.offered == same.offered).all() and one.actions == same.actions
    assert (one.offered != other.offered).any()


def test_nothing_is_scaled_between_the_thresholds() -> None:
    for worth in (0.9, 1.1, 1.3):
        run = simulate(constant(worth), COMMON)
        assert not run.actions and run.refused.sum() == 0
    assert not simulate(constant(0.2), COMMON).actions, "below the minimum there is nothing to take away"


def test_it_scales_out_above_the_threshold_and_back_below_the_other() -> None:
    out = simulate(constant(1.6), COMMON)
    assert counts(out) == [3], "1.6 of 2 is 80 %, 1.6 of 3 is 53 %"
    load = numpy.concatenate([constant(1.6, 60), constant(0.5, 60)])
    assert counts(simulate(load, COMMON)) == [3, 2]


def test_the_delay_is_that_of_window_metric_and_start() -> None:
    load = numpy.concatenate([constant(0.8, 30), constant(1.9, 60)])
    exact = Platform(cpu_noise=0)
    # From 40 to 95 %: above 70 % in the mean once six of ten minutes, or three of five, are new.
    for window, minutes in ((10, 6), (5, 3)):
        run = simulate(load, Rule(window=window * MINUTE), exact)
        acted = run.actions[0].time - 30 * MINUTE
        assert acted == pytest.approx(minutes * MINUTE + exact.metric_delay, abs=exact.evaluation)
        first = int(numpy.flatnonzero(run.ready > 2)[0])
        assert first == run.actions[0].time + exact.start


def test_instances_that_have_not_started_answer_nothing() -> None:
    slow = simulate(LOADS["step"](), COMMON, Platform(start=600))
    quick = simulate(LOADS["step"](), COMMON, Platform(start=0))
    assert slow.refused.sum() > quick.refused.sum()
    assert slow.short > quick.short


def test_never_more_than_the_maximum() -> None:
    run = simulate(constant(20), replace(RECOMMENDED, maximum=6))
    assert counts(run) == [5, 6] and run.ready.max() == 6
    assert run.refused_share > 0.5


def test_flapping_is_found_and_the_guard_prevents_it() -> None:
    # 1.45 of 2 is 72 %, 1.45 of 3 is 48 %: above the one threshold and below the other.
    close = Rule(out_above=70, in_below=60)
    load = constant(1.45, 240)
    exact = Platform(cpu_noise=0)
    wild = simulate(load, replace(close, guard=False), exact)
    assert flaps(wild) > 5 and set(counts(wild)) == {2, 3}
    tame = simulate(load, close, exact)
    assert flaps(tame) == 0 and counts(tame) == [3]


def test_a_change_of_the_load_is_no_flapping() -> None:
    waves = numpy.concatenate([constant(1.6, 30), constant(0.5, 30)] * 3)
    run = simulate(waves, Rule(window=5 * MINUTE))
    assert len(run.actions) >= 4 and flaps(run) == 0


def test_the_guard_takes_a_smaller_step() -> None:
    load = numpy.concatenate([constant(4.5, 60), constant(2.2, 60)])
    run = simulate(load, Rule(out_by=4, in_by=5, window=5 * MINUTE), Platform(cpu_noise=0))
    down = [action for action in run.actions if not action.out]
    assert down and down[0].before - down[0].after < 5
    assert 2.2 / down[-1].after * 100 <= 70, "what is left is not above the threshold for scaling out"


def test_overshoot_and_shortage_are_those_of_the_run() -> None:
    run = simulate(constant(4.5), replace(RECOMMENDED, minimum=7))
    assert run.overshoot(RECOMMENDED) == 0 and run.short == 0 and run.refused.sum() == 0
    assert run.instance_hours == pytest.approx(14)
    assert simulate(constant(4.5), replace(RECOMMENDED, minimum=9)).overshoot(RECOMMENDED) == 2


def test_the_recommended_rule_is_better_where_it_is_said_to_be() -> None:
    for name in ("step", "spike"):
        common, recommended = (simulate(LOADS[name](), rule) for rule in (COMMON, RECOMMENDED))
        assert recommended.refused.sum() < common.refused.sum() * 0.6


@pytest.mark.parametrize(
    "wrong", [{"window": 60}, {"in_below": 70.0}, {"out_above": 101}, {"minimum": 0}, {"maximum": 1}, {"out_by": 0}]
)
def test_rules_that_azure_would_refuse_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        Rule(**wrong)


def test_the_figure_shows_both_rules_under_each_load(tmp_path: Path) -> None:
    import plot

    plot.save(tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text()
    for words in (*plot.SHOWN, "instances", "refused, %", "common rule", "recommended rule", plot.LOAD_LABEL):
        assert f">{words}<" in drawn, words
    assert 'style="fill: #ffffff"' not in drawn, "a white background would hide the page's own"
    assert len(drawn) < 100_000
