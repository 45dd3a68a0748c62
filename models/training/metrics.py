"""Figures of a classifier from its logits: accuracy, recall, calibration, groups."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from data import GROUPS, Sample

BINS = 15
# so that a few pictures, all right, make no network quite sure
WEIGHTS = (0.01, 2.0)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of right answers."""
    return (logits.argmax(1) == labels).float().mean().item()


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts; rows are the truth, columns the answers."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(
        classes, classes
    )


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, over equal bins."""
    confidences, answers = logits.softmax(1).max(1)
    right = (answers == labels).float()
    index = (confidences * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins).index_add(0, index, right - confidences)
    return gaps.abs().sum().item() / len(labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The divisor of the logits that makes the labels likeliest, between a half and five."""
    grid = torch.logspace(-0.69315, 1.60944, 400, base=torch.e)
    losses = [functional.cross_entropy(logits / value, labels).item() for value in grid]
    return grid[losses.index(min(losses))].item()


def fit_weights(looks: Tensor, labels: Tensor) -> list[float]:
    """How often each of several logits, [looks, pictures, classes], goes into a sum that makes the labels likeliest.

    Of one it is 1 by its temperature.
    """
    # what came of inference mode cannot be learnt from
    looks, labels = looks.clone(), labels.clone()
    weights = torch.full((len(looks), 1, 1), 1 / len(looks), requires_grad=True)
    fit = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        fit.zero_grad()
        value = functional.cross_entropy((weights.clamp(*WEIGHTS) * looks).sum(0), labels)
        value.backward()
        return value

    fit.step(loss)
    return weights.detach().clamp(*WEIGHTS).flatten().tolist()


def class_table(names: list[str], logits: Tensor, labels: Tensor) -> str:
    """Precision and recall per class, then accuracy and calibration."""
    counts = confusion(logits, labels)
    wide = max(len(name) for name in [*names, "calibration error"])
    lines = [f"{'class':<{wide}}  pictures  precision  recall"]
    for index, name in enumerate(names):
        hits = counts[index, index].item()
        answers, truth = counts[:, index].sum().item(), counts[index].sum().item()
        precision, recall = hits / max(answers, 1), hits / max(truth, 1)
        lines.append(f"{name:<{wide}}  {truth:>8}  {precision:>9.4f}  {recall:.4f}")
    right, total = counts.diag().sum().item(), counts.sum().item()
    lines.append(f"{'accuracy':<{wide}}  {total:>8}  {right / total:>9.4f}")
    error = calibration_error(logits, labels)
    lines.append(f"{'calibration error':<{wide}}  {total:>8}  {error:>9.4f}")
    return "\n".join(lines)


def group_table(samples: list[Sample], logits: Tensor, labels: Tensor) -> str:
    """Accuracy by what the manifest says of the pictures; empty without a manifest."""
    right = (logits.argmax(1) == labels).tolist()
    lines = []
    for key in GROUPS:
        counts: dict[str, list[int]] = {}
        for sample, hit in zip(samples, right):
            if key in sample.groups:
                counts.setdefault(sample.groups[key], []).append(hit)
        if not counts:
            continue
        wide = max(len(name) for name in [key, *counts])
        lines.append(f"{key:<{wide}}  pictures  accuracy")
        for name, hits in sorted(counts.items()):
            lines.append(f"{name:<{wide}}  {len(hits):>8}  {sum(hits) / len(hits):>8.4f}")
    return "\n".join(lines)
