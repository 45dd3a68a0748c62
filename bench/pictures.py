"""Makes the pictures that are measured with, in bench/pictures: .venv/bin/python bench/pictures.py

The sample pictures are drawings and compress better than photographs do. Here they get each size in turn and
as much texture and noise as brings the file to the size that a camera's would have. The same everywhere.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "bench" / "pictures"
SIZES = {  # width, height: (bytes wanted, how many)
    (640, 480): (50_000, 4),
    (1280, 960): (200_000, 4),
    (4000, 3000): (2_500_000, 2),
}


def texture(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Noise on all scales, as in photographs, with a standard deviation of 1."""
    total = np.zeros((height, width), np.float32)
    for scale in (1, 2, 4, 8):
        size = (-(-height // scale), -(-width // scale))
        noise = Image.fromarray(random.standard_normal(size, np.float32))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
    return total / total.std()


def encode(pixels: np.ndarray, noise: np.ndarray, strength: float) -> bytes:
    noisy = np.clip(pixels + strength * noise[..., None], 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85, subsampling="4:2:0")
    return file.getvalue()


def picture(sample: Path, width: int, height: int, wanted: int, seed: int) -> bytes:
    """Halves the interval of strengths until the file is within 3 % of the size."""
    drawing = Image.open(sample).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(drawing, np.float32)
    noise = texture(width, height, np.random.default_rng(seed))
    low, high = 0.0, 40.0
    for _ in range(10):
        strength = (low + high) / 2
        file = encode(pixels, noise, strength)
        if abs(len(file) - wanted) < 0.03 * wanted:
            break
        low, high = (strength, high) if len(file) < wanted else (low, strength)
    return file


def main() -> None:
    samples = sorted((ROOT / "models" / "samples").glob("*.jpg"))
    for (width, height), (wanted, count) in SIZES.items():
        folder = FOLDER / f"{width}x{height}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / f"{number + 1}.jpg"
            if path.exists():
                continue
            # Open and closed bottles in turn.
            sample = samples[number // 2 + number % 2 * (len(samples) // 2)]
            path.write_bytes(picture(sample, width, height, wanted, seed=number))
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
