"""The exponential moving average of a model's weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


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
