"""Pictures as the users send them: the same again, or new ones that cost nothing to make."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

BOUNDARY = "relance-loadtest"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
_FOOT = f"\r\n--{BOUNDARY}--\r\n".encode()

_START_OF_IMAGE = b"\xff\xd8"
_COMMENT = b"\xff\xfe"


@dataclass(frozen=True)
class Upload:
    """A form with one picture, and the SHA-256 by which the service will know it."""

    name: str
    form: bytes
    sha256: str


def upload(name: str, picture: bytes) -> Upload:
    """The form that sends a picture."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return Upload(name, b"".join((head.encode(), picture, _FOOT)), hashlib.sha256(picture).hexdigest())


def marked(picture: bytes, mark: str) -> bytes:
    """The same JPEG with a comment segment: other bytes and another hash, the same pixels."""
    if not picture.startswith(_START_OF_IMAGE):
        raise ValueError("not a JPEG")
    text = mark.encode()
    # The length counts itself.
    segment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
    return b"".join((_START_OF_IMAGE, segment, picture[2:]))


def samples(folder: Path) -> list[tuple[str, bytes]]:
    """The pictures of a folder by name."""
    found = [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.jpg"))]
    if not found:
        raise ValueError(f"there is no JPEG in {folder}")
    return found
