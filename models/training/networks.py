"""The networks that can be trained, by name: YOLOv8 classifiers, and others that have seen photographs."""

from __future__ import annotations

from torch import Tensor

from lite import LITES, Lite
from model import SCALES, Classifier
from zoom import ZOOMS, Zoom

Network = Classifier | Lite | Zoom
NAMES = (*SCALES, *LITES, *ZOOMS)


def make_network(name: str, classes: int, dropout: float = 0.0) -> Network:
    """A network with random weights."""
    kind = Classifier if name in SCALES else Lite if name in LITES else Zoom
    return kind(name, classes, dropout)


def last_layers(model: Network) -> dict[str, Tensor]:
    """The weights of the last layers by their names in the state dict."""
    own = {id(value) for layer in model.last_layers for value in layer.parameters()}
    return {name: value.detach() for name, value in model.named_parameters() if id(value) in own}


def fitting(model: Network, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as the model names them: those of one look for both, if it looks twice."""
    if isinstance(model, Zoom) and not any(name.startswith("first.") for name in weights):
        return model.from_one_look(weights)
    return weights


def served_looks(model: Network, pictures: Tensor) -> list[Tensor]:
    """The logits of each look that a network takes in service; it answers with their mean."""
    return model.served_looks(pictures)[1] if isinstance(model, Zoom) else [model(pictures)]


def looks(
    model: Network, pictures: Tensor, necks: Tensor, only: str | None = None
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """Feature maps, the logits of each look that a network takes in training, and where it found the necks, if it does."""
    if isinstance(model, Zoom):
        return model.looks(pictures, necks, only)
    maps, logits = model.maps_and_logits(pictures)
    return maps, [logits], None
