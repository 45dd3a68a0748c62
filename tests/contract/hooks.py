"""What Schemathesis needs to know to send valid pictures: any other bytes are rightly refused."""

from __future__ import annotations

import re
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

PICTURES = Path(__file__).resolve().parents[1] / "fixtures/pictures"
NAMES = ["jpeg-420.jpg", "jpeg-progressive.jpg", "png-rgb.png", "gif-plain.gif", "webp-lossy.webp", "bmp-24.bmp"]

pictures = st.sampled_from([(PICTURES / name).read_bytes() for name in NAMES])
for media_type in ["image/*", "image/jpeg", "application/octet-stream"]:
    schemathesis.openapi.media_type(media_type, pictures)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leaves out forms that are no forms, and those that only the generator takes to fit the description."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return True
    # Field names that cannot be written in a header, and both of two fields of which `oneOf` allows one.
    writable = all(re.fullmatch(r"[!#-~ ]+", str(name)) for name in case.body)
    return writable and not {"image", "file"} <= case.body.keys()
