"""The networks that can be trained, by name: YOLOv8 classifiers, and others that have seen photographs."""

from __future__ import annotations

from lite import LITES, Lite
from model import SCALES, Classifier

Network = Classifier | Lite
NAMES = (*SCALES, *LITES)


def make_network(name: str, classes: int, dropout: float = 0.0) -> Network:
    """A network with random weights."""
    if name in SCALES:
        return Classifier(name, classes, dropout)
    return Lite(name, classes, dropout)
