"""A real instance with real stores, traffic, and a real Prometheus that watches them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import Callable

import pytest
from tritonclient.grpc import InferenceServerClient

REPO = Path(__file__).resolve().parents[2]
BINARY = REPO / "target/release/relance"
AZURITE = REPO / ".tools/azurite/node_modules/.bin/azurite-blob"
PICTURE = REPO / "models/samples/aberta-1.jpg"
ACCOUNT, KEY = "devstoreaccount1", base64.b64encode(b"a key for these tests only").decode()
API_KEY = "a key of more than thirty-two characters for the tests"
PATIENCE = 30

# The tests talk to this machine only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def eventually(what: str, holds: Callable[[], object]) -> object:
    """The first true value of `holds`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if value := holds():
                return value
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process that is ended with the test, and the lines that it writes."""

    def __init__(self, program: str | Path, *arguments: object, folder: Path, environment: dict[str, str] | None = None):
        found = program if isinstance(program, Path) and program.is_file() else shutil.which(str(program))
        if not found:
            pytest.fail(f"{program} is missing; make build and scripts/install-tools test bring it", pytrace=False)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [found, *map(str, arguments)], cwd=folder, env={**kept, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()

    def says(self, pattern: str) -> re.Match[str]:
        """The first line like this."""
        return eventually(pattern, lambda: next(filter(None, (re.search(pattern, line) for line in self.lines)), None))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Redis(Server):
    def __init__(self, folder: Path):
        self.port = free_port()
        super().__init__("redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", folder=folder)
        self.says("Ready to accept connections")


class Azurite(Server):
    """The emulator of Blob Storage, with the container `uploads`."""

    def __init__(self, folder: Path):
        super().__init__(AZURITE, "--inMemoryPersistence", "--disableTelemetry", "--silent", "--blobHost", "127.0.0.1",
                         "--blobPort", 0, folder=folder, environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
        self.endpoint = f"http://{self.says('successfully listens on https?://(.+)')[1].strip()}/{ACCOUNT}"
        self._make_container("uploads")

    def _make_container(self, name: str) -> None:
        date, version = formatdate(usegmt=True), "2021-12-02"
        resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n{resource}"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
        headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
        request = urllib.request.Request(f"{self.endpoint}/{name}?restype=container", method="PUT", headers=headers)
        http.open(request, timeout=PATIENCE).close()


class Relance(Server):
    """An instance with a file of API keys, and with metrics and gRPC on ports of their own.

    A setting that is None is left out.
    """

    def __init__(self, folder: Path, **settings: str | None):
        (folder / "keys").write_text(f"tests:{hashlib.sha256(API_KEY.encode()).hexdigest()}\n")
        environment = {"PORT": "0", "METRICS_PORT": "0", "GRPC_PORT": "0", "API_KEYS_FILE": str(folder / "keys"),
                       "DATA_DIR": str(folder / "data"), "MODEL": str(REPO / "models/bottle.onnx"),
                       # The tests' clients are few and send much.
                       "RATE_LIMIT_PER_MINUTE": "0", **settings}
        given = {name: value for name, value in environment.items() if value is not None}
        super().__init__(BINARY, "serve", folder=REPO, environment=given)
        self.metrics_url = self.says(r"metrics on (http://[0-9.:]+)/metrics")[1]
        ready = self.says(r"ready on (http://[0-9.:]+)")
        self.url = ready[1]
        self.grpc = re.search(r'grpc"?[=:]"?([0-9.:]+)', ready.string)

    def metrics(self) -> str:
        return http.open(f"{self.metrics_url}/metrics", timeout=PATIENCE).read().decode()

    def review_until(self, selection: str) -> None:
        """Reviews what is proposed, as the model has said, until one was selected like this."""
        headers = {"Content-Type": "application/json", "X-API-Key": API_KEY}

        def ask(method: str, path: str, body: dict | None = None) -> dict:
            request = urllib.request.Request(self.url + path, body and json.dumps(body).encode(), headers, method=method)
            return json.load(http.open(request, timeout=PATIENCE))

        for _ in range(200):
            proposed = ask("GET", "/review/next")
            said = {"label": proposed["prediction"]}
            if ask("PUT", f"/requests/{proposed['request_id']}/review", said)["selection"] == selection:
                return
        raise AssertionError(f"none of 200 reviews was {selection}")

    def send(self, body: bytes, key: str = API_KEY) -> int:
        headers = {"Content-Type": "application/octet-stream", "X-API-Key": key}
        try:
            request = urllib.request.Request(f"{self.url}/predict", body, headers)
            return http.open(request, timeout=PATIENCE).status
        except urllib.error.HTTPError as refused:
            return refused.code


class Traffic:
    """New pictures, known ones and what is none, until it is stopped."""

    def __init__(self, relance: Relance):
        self.relance, self.answered, self._going = relance, 0, True
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        picture = PICTURE.read_bytes()
        while self._going:
            # Decoders don't look behind the last byte, so this is a new picture with the same pixels.
            for body in (picture + str(time.monotonic_ns()).encode(), picture, b"no picture"):
                self.answered += self.relance.send(body) == 200
            self.relance.send(b"", key="a wrong key")
            self._call()
            time.sleep(0.1)

    def _call(self) -> None:
        with InferenceServerClient(self.relance.grpc[1]) as client:
            assert client.is_model_ready("bottle", headers={"x-api-key": API_KEY})

    def stop(self) -> None:
        self._going = False
        self._thread.join()


class Prometheus(Server):
    """Scrapes `target` as job `relance` every second, on top of the blocks in `history`."""

    def __init__(self, folder: Path, target: str, rules: list[Path], history: Path):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "relance", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__("prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={history}",
                         "--storage.tsdb.retention.time=30d", f"--web.listen-address={self.url[7:]}",
                         "--log.level=warn", folder=folder)
        eventually("Prometheus is ready", lambda: http.open(f"{self.url}/-/ready", timeout=PATIENCE))
        eventually("Prometheus has scraped", lambda: self.query("up"))

    def api(self, path: str, **parameters: str) -> object:
        form = urllib.parse.urlencode(parameters).encode()
        try:
            answer = json.load(http.open(f"{self.url}/api/v1/{path}", form or None, timeout=PATIENCE))
        except urllib.error.HTTPError as refused:
            answer = json.load(refused)
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def query(self, expr: str) -> list[dict]:
        """The series that an expression gives now, without those that are not a number."""
        series = self.api("query", query=expr)["result"]
        return [one for one in series if one["value"][1] != "NaN"]
