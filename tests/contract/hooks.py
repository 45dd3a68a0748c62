"""What Schemathesis needs to know to send valid pictures: any other bytes are rightly refused."""

from pathlib import Path

import schemathesis
from hypothesis import strategies as st

PICTURES = Path(__file__).resolve().parents[1] / "fixtures/pictures"
NAMES = ["jpeg-420.jpg", "jpeg-progressive.jpg", "png-rgb.png", "gif-plain.gif", "webp-lossy.webp", "bmp-24.bmp"]

pictures = st.sampled_from([(PICTURES / name).read_bytes() for name in NAMES])
for media_type in ["image/*", "image/jpeg", "application/octet-stream"]:
    schemathesis.openapi.media_type(media_type, pictures)
