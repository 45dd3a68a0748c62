"""The rendered pictures: reproducible, fair between the classes, split cleanly."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from render import plan, scene, shapes
from render.environments import ENVIRONMENTS, environments
from render.scene import SPLITS

SEED = 11

renders = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs render/requirements.txt")


@renders
def test_the_same_id_gives_the_same_bytes():
    picture, other = plan.pictures("test", 5)[:2]
    first = plan.make(SEED, picture)
    plan.make(SEED, other)
    assert plan.make(SEED, picture) == first


@pytest.mark.parametrize("split", ["val", "test", "evaluation"])
def test_the_class_changes_nothing_but_the_closure(split):
    for unit in range(6):
        one = scene.sample(SEED, split, unit)
        shown, hidden = one.parts(True), one.parts(False)
        assert all(part.tag == "closure" for part in one.on + one.off)
        rest = [[p for p in parts if p.tag != "closure"] for parts in (shown, hidden)]
        assert len(rest[0]) == len(rest[1]) > 0
        assert all(a is b for a, b in zip(*rest))
        assert one.on


def test_a_scene_depends_on_its_number_alone():
    a = scene.sample(SEED, "test", 4)
    scene.sample(SEED, "test", 5)
    b = scene.sample(SEED, "test", 4)
    assert (a.family, a.environment, a.neck, a.caps) == (b.family, b.environment, b.neck, b.caps)
    assert all(np.array_equal(p.mesh.points, q.mesh.points) for p, q in zip(a.parts(True), b.parts(True)))


def test_splits_share_no_family_and_no_environment():
    for names in (shapes.families, environments):
        train, val, test = (set(names(split)) for split in ("train", "val", "test"))
        assert train and val and test
        assert not (train & val or train & test or val & test)
        assert set(names("evaluation")) == test
    assert {f.split for f in shapes.FAMILIES.values()} == {e.split for e in ENVIRONMENTS.values()}


def test_train_alone_mixes_families_and_environments():
    for split in SPLITS:
        kinds = [scene.kinds(scene.generator(SEED, split, 0, unit), SEED, split, unit) for unit in range(200)]
        for k, names in enumerate((shapes.families, environments)):
            drawn = [kind[k][0].split(" x ") for kind in kinds]
            assert {name for parents in drawn for name in parents} <= set(names(split))
            mixed = [parents for parents in drawn if len(parents) == 2]
            assert all(a != b for a, b in mixed)
            assert abs(len(mixed) / 200 - (scene.CROSSED if split == "train" else 0)) < 0.15, split


def test_a_bottle_between_two_families_has_each_trait_of_one_of_them():
    rng = np.random.default_rng(SEED)
    a, b = shapes.FAMILIES["longneck"], shapes.FAMILIES["milk"]
    children = [
        scene.cross(rng, "longneck", shapes.FAMILIES, ["longneck", "milk"], shapes.TRAITS)[1] for _ in range(40)
    ]
    for trait in ("mouth", "neck", "shoulder", "finishes", "stuffs"):
        assert {getattr(child, trait) for child in children} == {getattr(a, trait), getattr(b, trait)}
    assert {(child.height, child.body) for child in children} == {(a.height, a.body)}


def test_training_pictures_that_were_seen_are_left_out():
    counts = {"train": 40, "val": 8, "test": 40, "evaluation": 8}
    whole, rest = plan.order(counts), plan.order(counts, first=20)
    assert rest == [(split, group) for split, group in whole if split != "train" or group >= 5]
    assert len(whole) - len(rest) == 5


def test_any_beginning_of_the_plan_is_balanced():
    jobs = plan.order({"train": 400, "val": 8, "test": 40, "evaluation": 8})
    assert [split for split, _ in jobs[:4]] == ["evaluation", "evaluation", "val", "val"]
    assert {split for split, _ in jobs[4:20]} == {"train", "test"}
    for split, group in jobs:
        labels = [p.label for p in plan.pictures(split, group)]
        assert labels.count("aberta") == labels.count("fechada")
    names = [p.name for split, group in jobs if split == "train" for p in plan.pictures(split, group)]
    assert len(set(names)) == len(names) == 400


def test_neck_boxes_lie_in_the_picture():
    for split in SPLITS[1:]:
        for unit in range(8):
            one = scene.sample(SEED, split, unit)
            for x0, y0, x1, y1 in [one.neck, *one.caps]:
                assert 0 <= x0 < x1 <= one.size[0] and 0 <= y0 < y1 <= one.size[1]


@renders
def test_neck_boxes_hold_what_a_pair_differs_in():
    for group in (0, 1, 3):
        a, b = (plan.light_of(plan.scene_of(SEED, p), SEED, p) for p in plan.pictures("test", group)[:2])
        one = plan.scene_of(SEED, plan.pictures("test", group)[0])
        change = np.abs(np.log(a + 0.05) - np.log(b + 0.05)).mean(-1)
        scale = change.shape[1] / one.size[0]
        x0, y0, x1, y1 = (round(edge * scale) for edge in one.neck)
        inside = np.zeros(change.shape, bool)
        inside[y0:y1, x0:x1] = True
        # shadows, reflections and noise are all that changes elsewhere
        assert change[inside].mean() > 5 * change[~inside].mean(), group
        assert np.square(change)[inside].sum() > 0.6 * np.square(change).sum(), group
