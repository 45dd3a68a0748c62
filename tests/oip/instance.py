"""Starts the real program with REST and gRPC, and makes what is sent to it."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from service import FIXTURES, PATIENCE, SMALL_MODEL, Service, http

MODEL = SMALL_MODEL.stem
INPUT, OUTPUT, SIDE, CLASSES = "images", "output0", 64, 10
USER, PASSWORD, KEY = "ana", "pão:1", "a-key-for-the-tests"

# The clients, too, talk to this machine only.
for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


class Instance(Service):
    """A running service, with REST and gRPC."""

    def __init__(self, data: Path, **settings: str):
        super().__init__(data, **{"GRPC_PORT": "0", "INSTANCE_NAME": "test", **settings})
        self.rest = self.url.removeprefix("http://")

    def get(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        with http.open(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()

    def predict(self, picture: bytes) -> np.ndarray:
        """The scores that `POST /predict` gives, in the order of the classes."""
        answer = self.get("/predict?top=1000", picture, {"content-type": "application/octet-stream"})
        scores = np.zeros(CLASSES, np.float32)
        for score in answer["top"]:
            scores[score["index"]] = score["confidence"]
        return scores

    def records(self, response_parameter: str) -> list[dict[str, Any]]:
        """The records of an answer, by its parameter `request_ids`."""
        return [self.get(f"/requests/{identifier}") for identifier in response_parameter.split(",")]

    def image(self, identifier: str) -> bytes:
        """The stored picture of a request."""
        with http.open(f"{self.url}/requests/{identifier}/image", timeout=PATIENCE) as answer:
            return answer.read()

    def metric(self, series: str) -> float:
        for line in self.get("/metrics").splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)



BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def picture(name: str) -> bytes:
    return (FIXTURES / "pictures" / name).read_bytes()


#: A picture of each format that is accepted.
PICTURES = ["jpeg-420.jpg", "jpeg-640x480.jpg", "png-rgb.png", "webp-lossy.webp", "bmp-24.bmp", "gif-plain.gif", "tiff-grey.tif"]


def pixels(seed: int) -> tuple[bytes, np.ndarray]:
    """A picture that is as large as the model's input, as PNG and as the tensor that its pixels are."""
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue(), values.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def objects(pictures: list[Any], shape: list[int] | None = None) -> np.ndarray:
    """An array of byte strings or texts of any length."""
    array = np.empty(len(pictures), dtype=object)
    array[:] = pictures
    return array.reshape(shape) if shape else array
