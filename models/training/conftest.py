"""Pictures that several tests learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two easy classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, colour in (("dia", (200, 200, 120)), ("noite", (30, 30, 60))):
        (root / name).mkdir()
        for number in range(24):
            noise = rng.normal(0, 30, (48, 64, 3)) + np.array(colour)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(root / name / f"{number}.png")
    return root
