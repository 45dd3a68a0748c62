"""How far the faster ways to compute agree with the exact one: .venv/bin/python bench/agreement.py

Each way classifies the pictures of models/evaluation, enlarged for JPEG_SCALING to the sizes that cameras make.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import common
from pictures import ROOT, texture

EVALUATION = ROOT / "models" / "evaluation"
WAYS = {  # name: (arguments, whether on enlarged pictures)
    "`JPEG_SCALING=fast`": (["--jpeg-scaling", "fast"], True),
    "`JPEG_SCALING=fastest`": (["--jpeg-scaling", "fastest"], True),
    "`PROVIDER=openvino`": (["--provider", "openvino"], False),
    "`PROVIDER=openvino PRECISION=bf16`": (["--provider", "openvino", "--precision", "bf16"], False),
}


def enlarge(folder: Path, side: int) -> None:
    """The evaluation pictures with a shorter side of `side`, and with grain, as a camera would store them."""
    grain = texture(2 * side, 2 * side, np.random.default_rng(0))[..., None] * 4
    for path in sorted(EVALUATION.glob("*/*.jpg")):
        picture = Image.open(path).convert("RGB")
        factor = side / min(picture.size)
        size = [round(length * factor) for length in picture.size]
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(pixels + grain[: size[1], : size[0]], 0, 255).astype(np.uint8)
        out = folder / path.parent.name / path.name
        out.parent.mkdir(exist_ok=True)
        Image.fromarray(noisy).save(out, "JPEG", quality=85, subsampling="4:2:0")


def classify(program: Path, folder: Path, arguments: list[str]) -> dict[str, tuple[str, dict[str, float]]]:
    """For each file what its folder says, and the probabilities."""
    command = [program, "classify", "--format", "jsonl", "--top", "1000", "--labels-from-folders", *arguments, folder]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=common.environment())
    rows = map(json.loads, done.stdout.splitlines())
    return {row["path"]: (row["label"], {c["class"]: c["confidence"] for c in row["top"]}) for row in rows}


def accuracy(answers: dict) -> float:
    return np.mean([max(classes, key=classes.get) == label for label, classes in answers.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1500, help="shorter side of the enlarged pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as scratch:
        folder = Path(scratch)
        program = common.built(folder)["relance"]
        large = folder / "large"
        large.mkdir()
        enlarge(large, options.side)
        exact = {place: classify(program, place, []) for place in (EVALUATION, large)}
        print("| Way | Pictures | Accuracy | Exact accuracy | Same class | Largest difference | Mean difference |")
        print("|---|---|---|---|---|---|---|")
        for name, (arguments, enlarged) in WAYS.items():
            place = large if enlarged else EVALUATION
            answers = classify(program, place, arguments)
            same, differences = [], []
            for path, (_, classes) in answers.items():
                reference = exact[place][path][1]
                same.append(max(classes, key=classes.get) == max(reference, key=reference.get))
                differences.append(max(abs(classes[c] - reference[c]) for c in reference))
            print(
                f"| {name} | {len(answers)} | {accuracy(answers):.2%} | {accuracy(exact[place]):.2%} |"
                f" {np.mean(same):.2%} | {max(differences):.1e} | {np.mean(differences):.1e} |"
            )


if __name__ == "__main__":
    main()
