"""The networks that can be trained, by name: YOLOv8 classifiers, and others that have seen photographs."""

from __future__ import annotations

from torch import Tensor

from lite import LITES, Lite
from model import SCALES, Classifier

Network = Classifier | Lite
NAMES = (*SCALES, *LITES)


def make_network(name: str, classes: int, dropout: float = 0.0) -> Network:
    """A network with random weights."""
    if name in SCALES:
        return Classifier(name, classes, dropout)
    return Lite(name, classes, dropout)


def last_layer(model: Network) -> dict[str, Tensor]:
    """The weights of the last layer by their names in the state dict."""
    own = {id(value) for value in model.last_layer.parameters()}
    return {name: value.detach() for name, value in model.named_parameters() if id(value) in own}
