"""A dataset of reviewed pictures is what the training here and Ultralytics' layout expect."""

from __future__ import annotations

import io
import json
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from service import FIXTURES, PATIENCE, REPO, Service, http

sys.path.insert(0, str(REPO / "models/training"))
from data import find_samples, preprocess  # noqa: E402

NAMES = ["jpeg-420.jpg", "jpeg-progressive.jpg", "png-rgb.png", "webp-lossy.webp", "bmp-24.bmp"]


def ask(service: Service, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
    """The answer's body; an answer that is no success raises."""
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(service.url + path, body, headers, method=method)
    return http.open(request, timeout=PATIENCE).read()


def variants(count: int) -> list[bytes]:
    """Pictures that differ in their content."""
    made = [(FIXTURES / "pictures" / name).read_bytes() for name in NAMES]
    for number in range(count - len(made)):
        picture = io.BytesIO()
        Image.new("RGB", (40, 30), (5 * number, 90, 250 - 5 * number)).save(picture, "JPEG")
        made.append(picture.getvalue())
    return made


@pytest.fixture
def service(tmp_path: Path):
    running = Service(tmp_path / "data")
    yield running
    running.stop()


def test_the_training_reads_the_dataset_as_it_is(service: Service, tmp_path: Path) -> None:
    classes = json.loads(ask(service, "GET", "/models"))["models"][0]["classes"][:2]
    labelled = {}
    for number, picture in enumerate(variants(30)):
        answer = json.loads(ask(service, "POST", "/predict", picture, "application/octet-stream"))
        label = classes[number % 2]
        review = json.dumps({"label": label}).encode()
        ask(service, "PUT", f"/requests/{answer['request_id']}/review", review, "application/json")
        labelled[answer["request_id"]] = (label, picture)

    archive = zipfile.ZipFile(io.BytesIO(ask(service, "GET", "/dataset.zip?val=0.3")))
    assert archive.testzip() is None
    root = tmp_path / "dataset"
    archive.extractall(root)

    folders = find_samples(root)
    assert folders.names == sorted(classes)
    assert folders.train and folders.val and not folders.test
    found = {}
    for sample in folders.train + folders.val:
        found[sample.path.stem] = (folders.names[sample.label], sample.path.read_bytes())
        assert preprocess(sample.path, 64).shape == (3, 64, 64)
    assert found == labelled

    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    assert {line["request_id"] for line in lines} == set(labelled)
    assert all((root / line["file"]).is_file() for line in lines)
    sides = {Path(line["file"]).parts[0] for line in lines}
    assert sides == {"train", "val"} == {line["split"] for line in lines}
