"""Learning from a larger network: from its answers, and from what its feature maps show where."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import checkpoint
from networks import Network

# softens both answers, so that it matters how sure the teacher is
TEMPERATURE = 2.0


class Teacher(nn.Module):
    """A trained network that does not learn, and adapters from a pupil's maps to its own."""

    def __init__(self, path: Path, pupil: Network, names: list[str]) -> None:
        super().__init__()
        network, taught, _ = checkpoint.load_model(path)
        if taught != names:
            raise SystemExit(f"{path}: knows the classes {taught}, not {names}")
        self.network = network.requires_grad_(False)
        pairs = zip(pupil.map_channels, network.map_channels)
        self.adapters = nn.ModuleList(nn.Conv2d(here, there, 1) for here, there in pairs)

    def train(self, mode: bool = True) -> "Teacher":
        """Only the adapters train."""
        super().train(mode)
        self.network.eval()
        return self

    def losses(self, pictures: Tensor, maps: list[Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
        """How far the pupil's answers are from the teacher's, and how far its maps are."""
        with torch.no_grad():
            shown, said = self.network.maps_and_logits(pictures)
        target = (said.float() / TEMPERATURE).softmax(1)
        answer = (logits.float() / TEMPERATURE).log_softmax(1)
        answers = functional.kl_div(answer, target, reduction="batchmean") * TEMPERATURE**2
        apart = [
            1 - functional.cosine_similarity(adapter(own).float(), there.float()).mean()
            for adapter, own, there in zip(self.adapters, maps, shown)
        ]
        return answers, torch.stack(apart).mean()
