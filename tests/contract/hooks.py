"""What Schemathesis needs to know to send valid pictures: any other bytes are rightly refused."""

from __future__ import annotations

import re
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.transport.serialization import Binary

PICTURES = Path(__file__).resolve().parents[1] / "fixtures/pictures"
NAMES = ["jpeg-420.jpg", "jpeg-progressive.jpg", "png-rgb.png", "gif-plain.gif", "webp-lossy.webp", "bmp-24.bmp"]

pictures = st.sampled_from([(PICTURES / name).read_bytes() for name in NAMES])
for media_type in ["image/*", "image/jpeg", "application/octet-stream"]:
    schemathesis.openapi.media_type(media_type, pictures)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leaves out forms that are no forms, and those that only the generator takes to fit the description or not to."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return True
    # Field names that cannot be written in a header, and both of two fields of which `oneOf` allows one.
    writable = all(re.fullmatch(r"[!#-~ ]+", str(name)) for name in case.body)
    named = {"image", "file"} & case.body.keys()
    return writable and len(named) < 2 and not broken_in_the_other_half(case, named)


def broken_in_the_other_half(case: schemathesis.Case, named: set[str]) -> bool:
    """
    Whether this form should be wrong, but has one field of bytes and so fits one half of `oneOf`: the generator broke
    the other. It can be told only where nothing but the body is wrong.
    """
    wrong = [location for location in case.meta.components if case.meta.is_negative_at(location)]
    return wrong == [ParameterLocation.BODY] and any(isinstance(case.body[name], bytes | Binary) for name in named)
