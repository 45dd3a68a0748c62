"""Nothing but the closure gives the class of the evaluation pictures away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from leakage import LIMIT, Result, probe, read_samples

EVALUATION = Path(__file__).parent.parent / "evaluation"
NECK = (60, 20, 100, 60)


def make_scenes(folder: Path, count: int, leak: bool) -> None:
    """Pairs of noise pictures whose necks differ, and with a leak something else as well."""
    lines = []
    for number in range(count):
        rng = np.random.default_rng(number)
        scene = rng.integers(0, 256, (20, 20, 3), np.uint8)
        for name in ("closed", "open"):
            picture = np.asarray(Image.fromarray(scene).resize((160, 160))).copy()
            picture[30:50, 70:90] = 255 if name == "open" else 0
            if leak and name == "open":
                picture[120:140, 20:140] //= 4
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
            line = {"file": f"{name}/{number}.png", "pair": number, "neck": NECK, "caps": []}
            lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines))


def test_finds_a_leak(tmp_path: Path) -> None:
    make_scenes(tmp_path, 60, leak=True)
    assert probe(read_samples(tmp_path), epochs=12).share > 0.9


def test_finds_none_where_only_the_neck_differs(tmp_path: Path) -> None:
    make_scenes(tmp_path, 60, leak=False)
    # the two covered pictures of a scene are equal, so one of each pair is right
    assert probe(read_samples(tmp_path), epochs=4) == Result(60, 120)


def test_interval() -> None:
    low, high = Result(50, 100).interval
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)


def test_the_evaluation_pictures_do_not_leak() -> None:
    assert EVALUATION.is_dir(), f"{EVALUATION}: the evaluation pictures are missing"
    samples = read_samples(EVALUATION)
    assert len(samples) >= 220
    result = probe(samples, epochs=12)
    assert result.share <= LIMIT, f"without neck and caps still {result} right"
