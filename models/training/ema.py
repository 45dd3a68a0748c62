"""Averages of a model's weights: over its latest steps, and between its start and its end."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class Average:
    """A model that follows another slowly, and quicker while it is young."""

    def __init__(self, model: nn.Module, decay: float, warmup: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.warmup, self.updates = decay, warmup, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes one step towards `model`."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.warmup))
        current = model.state_dict()
        follow, lead = [], []
        for key, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                follow.append(value)
                lead.append(current[key])
            else:
                value.copy_(current[key])
        torch._foreach_lerp_(follow, lead, 1 - decay)


@torch.no_grad()
def between(start: dict[str, Tensor], model: nn.Module, share: float) -> nn.Module:
    """A copy of `model` that went only a share of the way from `start`, but for what `start` does not have.

    It keeps more of what was known before (Wortsman et al., Robust fine-tuning of zero-shot models, 2022).
    """
    middle = copy.deepcopy(model)
    for key, value in middle.state_dict().items():
        if key in start and value.dtype.is_floating_point:
            value.copy_(torch.lerp(start[key], value, share))
    return middle
