"""Files that hold a run or its result, replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from networks import Network, fitting, last_layers, make_network
from zoom import ZOOMS


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes beside `path` and renames, so that a crash leaves the old file."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote."""
    return torch.load(path, map_location="cpu", weights_only=True)


def save_model(path: Path, model: Network, names: list[str], size: int) -> None:
    """A trained network with what is needed to export it."""
    save(
        path, {"model": model.state_dict(), "names": names, "scale": model.scale, "size": size}
    )


def load_model(path: Path) -> tuple[Network, list[str], int]:
    """The network, class names and picture size that `save_model` wrote."""
    state = load(path)
    model = make_network(state["scale"], len(state["names"]))
    model.load_state_dict(state["model"])
    return model.eval(), state["names"], state["size"]


def start_from(path: Path, model: Network, names: list[str]) -> bool:
    """Takes over the weights of another run; its last layer only if the classes are the same, and says whether."""
    other = load(path)
    if other["scale"] not in (model.scale, ZOOMS.get(model.scale)):
        raise SystemExit(f"{path}: is of scale {other['scale']}, not {model.scale}")
    own = {} if other["names"] == names else last_layers(model)
    model.load_state_dict(fitting(model, other["model"]) | own)
    return not own
