"""Pictures sent through nginx, and what became of each."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
PICTURE = (REPO / "tests/fixtures/pictures/jpeg-640x480.jpg").read_bytes()
TIMEOUT = 30

_run = os.urandom(8)
_count = itertools.count()


def new_picture() -> bytes:
    """A picture that nobody has sent before: decoders stop before its last bytes."""
    return PICTURE + _run + next(_count).to_bytes(8, "big")


@dataclass(frozen=True)
class Answer:
    """Who answered a picture, and what."""

    picture: bytes
    request_id: str
    served_by: str
    cached: bool
    top: str


class Front:
    """The address that clients know."""

    def __init__(self, port: int):
        self.port = port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own."""
        connection = self.connect()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def predict(self, picture: bytes) -> Answer:
        """The answer to one picture; raises if it is refused."""
        connection = self.connect()
        try:
            return predict(connection, picture)
        finally:
            connection.close()


def predict(connection: http.client.HTTPConnection, picture: bytes) -> Answer:
    connection.request("POST", "/predict", picture, {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}: {content[:300]!r}")
    body = json.loads(content)
    return Answer(picture, body["request_id"], response.headers["X-Served-By"], body["cached"], json.dumps(body["top"]))


class Load:
    """Clients that send new pictures, each the next when the last is answered."""

    def __init__(self, front: Front, clients: int, requests: int | None = None, pause: float = 0):
        """Until `requests` have been sent by all together, else until `stop`; with `pause` seconds between them."""
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self._left = itertools.count()
        self._limit = requests
        self._pause = pause
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(front,), daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self, front: Front) -> None:
        connection = front.connect()
        while not self._stopped.wait(self._pause) and (self._limit is None or next(self._left) < self._limit):
            try:
                self.answers.append(predict(connection, new_picture()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()

    def wait(self) -> list[Answer]:
        """All answers; fails if there is a request that got none."""
        for thread in self._threads:
            thread.join()
        sent = len(self.answers) + len(self.failures)
        assert not self.failures, f"{len(self.failures)} of {sent}: {self.failures[:5]}"
        return self.answers

    def stop(self) -> list[Answer]:
        """Sends no more; then as `wait`."""
        self._stopped.set()
        return self.wait()
