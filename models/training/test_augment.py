"""Random views: repeatable, in range, and never without the neck."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import augment


def generators(count: int, epoch: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((0, epoch, index)) for index in range(count)]


def test_same_numbers_same_views() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    necks = np.full((12, 4), np.nan, np.float32)
    first, _ = augment.views(squares, necks, 48, generators(12), augment.random_warp)
    assert first.shape == (12, 3, 48, 48)
    assert 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, augment.views(squares, necks, 48, generators(12), augment.random_warp)[0])
    assert not torch.equal(first, augment.views(squares, necks, 48, generators(12, epoch=1), augment.random_warp)[0])


def test_the_neck_stays_in_view() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        x, y = rng.uniform(-0.9, 0.7, 2)
        neck = np.array([x, y, x + 0.2, y + 0.2], np.float32)
        seen = augment.moved_box(neck, augment.random_warp(neck, rng))
        assert (np.abs(seen) <= 1).all()


def test_a_box_moves_with_its_pixels() -> None:
    square = np.zeros((1, 100, 100, 3), np.uint8)
    square[:, 30:50, 60:80] = 255
    neck = np.array([0.2, -0.4, 0.6, 0.0], np.float32)
    rng = np.random.default_rng(3)
    for _ in range(20):
        matrix = augment.random_warp(neck, rng)
        view = augment.warp(torch.from_numpy(square), torch.from_numpy(matrix[None]), 100)
        box = (augment.moved_box(neck, matrix) + 1) * 50
        inside = view[0, 0, int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1]
        assert (inside > 0.5).sum() > 0.3 * inside.numel()


def test_a_turn_makes_no_neck_larger() -> None:
    neck = np.array([-0.2, -0.4, 0.2, 0.4], np.float32)
    assert np.allclose(augment.moved_oval(neck, np.eye(3)), neck)
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    corners, oval = augment.moved_box(neck, turn), augment.moved_oval(neck, turn)
    assert corners[3] > 1.05 * neck[3]
    assert oval[3] == pytest.approx(neck[3], rel=0.03)
    assert np.isnan(augment.moved_oval(np.full(4, np.nan, np.float32), turn)).all()


def test_nothing_covers_the_neck() -> None:
    neck = np.array([-0.3, -0.3, 0.3, 0.3], np.float32)
    for rng in generators(300):
        pixels = torch.full((3, 40, 40), 0.5)
        augment.erase(pixels, neck, rng)
        assert (pixels[:, 14:26, 14:26] == 0.5).all()


def test_mixing_keeps_sums() -> None:
    pixels, targets = torch.rand(8, 3, 16, 16), torch.eye(8)
    for mixup, cutmix in ((1.0, 0.0), (0.0, 1.0)):
        mixed, shares = augment.mix(pixels, targets, mixup, cutmix, (0, 4))
        assert torch.allclose(shares.sum(1), torch.ones(8))
        assert not torch.equal(mixed, pixels)
    assert augment.mix(pixels, targets, 0.0, 0.0, (0, 1))[0] is pixels


def test_kernels_keep_brightness() -> None:
    for rng in generators(60):
        assert abs(augment.random_kernel(rng).sum() - 1) < 1e-5
