"""A picture of pictures with captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from store import Store


def save_sheet(path: Path, tiles: list[tuple[np.ndarray, str]], columns: int = 6) -> None:
    """Writes square tiles of the same size in rows, each with a caption under it."""
    side, foot = tiles[0][0].shape[0], 16
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + foot)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (pixels, caption) in enumerate(tiles):
        x, y = index % columns * side, index // columns * (side + foot)
        sheet.paste(Image.fromarray(pixels), (x, y))
        draw.text((x + 3, y + side + 1), caption, "black", font)
    sheet.save(path)


def save_mistakes(
    path: Path, store: Store, logits: Tensor, names: list[str], most: int = 36
) -> int:
    """Writes the most confident mistakes, worst first; gives how many mistakes there are."""
    confidences, answers = logits.softmax(1).max(1)
    labels = torch.tensor([sample.label for sample in store.samples])
    wrong = (answers != labels).nonzero()[:, 0]
    wrong = wrong[confidences[wrong].argsort(descending=True, stable=True)]
    path.unlink(missing_ok=True)
    if len(wrong):
        chosen = wrong[:most].tolist()
        tiles = [
            (pixels, f"{names[labels[i]]}, said {names[answers[i]]} {confidences[i]:.2f}")
            for pixels, i in zip(store.read(chosen), chosen)
        ]
        save_sheet(path, tiles)
    return len(wrong)
