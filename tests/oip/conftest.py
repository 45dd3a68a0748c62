"""Starts the real program, with REST and gRPC on free ports and a folder of its own."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
BINARY = REPO / "target/release/relance"
FIXTURES = REPO / "tests/fixtures"
MODEL = "yolov8n-cls-nc10-64"
INPUT, OUTPUT, SIDE, CLASSES = "images", "output0", 64, 10
USER, PASSWORD, KEY = "ana", "pão:1", "a-key-for-the-tests"
PATIENCE = 30

# The tests talk to this machine only, whatever proxy the environment names.
for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Instance:
    """A running service."""

    def __init__(self, data: Path, **settings: str):
        if not BINARY.is_file():
            pytest.fail(f"there is no {BINARY}; build it first: cargo build --release", pytrace=False)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "ORT_DYLIB_PATH", "TMPDIR") if name in os.environ}
        environment = {
            **kept, "PORT": "0", "GRPC_PORT": "0", "DATA_DIR": str(data), "INSTANCE_NAME": "test",
            "MODEL": str(FIXTURES / f"models/{MODEL}.onnx"), **settings,
        }
        self.process = subprocess.Popen(
            [BINARY, "serve"], cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        self.log: list[str] = []
        self.url = self.grpc = ""
        started = threading.Event()
        threading.Thread(target=self._read_log, args=(started,), daemon=True).start()
        started.wait(PATIENCE)
        if not self.grpc:
            self.stop()
            pytest.fail("the service did not start:\n" + "".join(self.log), pytrace=False)
        self.rest = self.url.removeprefix("http://")

    def _read_log(self, started: threading.Event) -> None:
        for line in self.process.stderr or ():
            self.log.append(line)
            if found := re.search(r"ready on (\S+) .*\bgrpc=(\S+)", line):
                self.url, self.grpc = found.groups()
                started.set()
        started.set()

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

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance for all tests that change nothing of it."""
    instance = Instance(tmp_path_factory.mktemp("service") / "data")
    yield instance
    instance.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts instances with settings of their own; `data` keeps a folder from one to the next."""
    running: list[Instance] = []

    def begin(data: str = "data", **settings: str) -> Instance:
        running.append(Instance(tmp_path / data, **settings))
        return running[-1]

    yield begin
    for instance in running:
        instance.stop()


@pytest.fixture
def guarded(start: Any) -> Instance:
    """An instance that needs credentials: basic ones, or a key of the client `ci`."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return start(API_USERNAME=USER, API_PASSWORD=PASSWORD, API_KEYS=f"ci:{digest}")


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
