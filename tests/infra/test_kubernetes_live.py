"""The real program under the settings and probes of the manifests: busy, scraped, and asked to end."""

from __future__ import annotations

import base64
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest

from manifests import OVERLAYS, config, container, in_force, of_kind, pod
from watched import PICTURE, Relance, eventually, http

USER, PASSWORD = "prometheus", "a password for these tests only"


def settings(overlay: str, folder: Path) -> dict[str, str | None]:
    """What the pod would get, with what only a cluster has replaced."""
    token = folder / "token"
    token.write_text("no token")
    # The webhook of workload identity sets these.
    webhook = {"AZURE_CLIENT_ID": "0" * 8, "AZURE_TENANT_ID": "0" * 8, "AZURE_FEDERATED_TOKEN_FILE": str(token),
               "AZURE_AUTHORITY_HOST": "https://login.invalid/"}
    secret = {} if "ALLOW_ANONYMOUS" in config(overlay) else {"API_USERNAME": USER, "API_PASSWORD": PASSWORD}
    keys = {"API_KEYS_FILE": str(folder / "keys") if "API_KEYS_FILE" in config(overlay) else None}
    here = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "DATA_DIR": str(folder / "data"), **keys,
            "GRPC_PORT": "0" if "GRPC_PORT" in config(overlay) else "off", "RATE_LIMIT_PER_MINUTE": "0",
            "DRAIN_DELAY_MS": "1500", "FLUSH_TIMEOUT_MS": "1000"}
    return {**config(overlay), **(webhook if overlay == "aks" else {}), **secret, **here}


class Busy:
    """Clients that send new pictures until told to stop, and the statuses that they get."""

    def __init__(self, relance: Relance, clients: int):
        self.relance, self.statuses, self.going = relance, [], True
        self.threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def _send(self, client: int) -> None:
        picture, sent = PICTURE.read_bytes(), 0
        while self.going:
            sent += 1
            try:
                self.statuses.append(status(self.relance, "/predict", picture + f"{client}-{sent}".encode()))
            except OSError:
                return

    def stop(self) -> None:
        self.going = False
        for thread in self.threads:
            thread.join()


def status(relance: Relance, path: str, body: bytes | None = None, signed: bool = True, timeout: float = 30) -> int:
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/octet-stream", **({"Authorization": f"Basic {pair}"} if signed else {})}
    try:
        return http.open(urllib.request.Request(f"{relance.url}{path}", body, headers), timeout=timeout).status
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.fixture(params=OVERLAYS)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Relance]]:
    relance = Relance(tmp_path, **settings(request.param, tmp_path))
    yield request.param, relance
    relance.stop()


def test_a_busy_instance_passes_its_probes_and_ends_in_order(running: tuple[str, Relance]):
    overlay, relance = running
    probes = {name: probe for name, probe in container(overlay).items() if name.endswith("Probe")}
    for endpoint in (end for o in of_kind(overlay, "PodMonitor").values() for end in o["spec"]["podMetricsEndpoints"]):
        assert endpoint["port"] == "metrics" and "relance_workers" in relance.metrics()
        assert status(relance, endpoint["path"]) == 404, "metrics are for Prometheus only"
    if overlay == "aks":
        assert relance.send(b"", key="wrong") == 401 and relance.send(b"") == 400

    busy = Busy(relance, clients=16)
    eventually("answers come", lambda: 200 in busy.statuses)
    for _ in range(10):
        for probe in probes.values():
            # Without credentials, as kubelet has none.
            path, limit = probe["httpGet"]["path"], probe["timeoutSeconds"]
            assert status(relance, path, signed=False, timeout=limit) == 200
        time.sleep(0.1)

    started = time.monotonic()
    relance.process.send_signal(signal.SIGTERM)
    ready = probes["readinessProbe"]["httpGet"]["path"]
    eventually("not ready", lambda: status(relance, ready, signed=False) == 503)
    assert status(relance, probes["livenessProbe"]["httpGet"]["path"], signed=False) == 200
    before = len(busy.statuses)
    eventually("it goes on answering", lambda: busy.statuses[before:].count(200) > 3)
    busy.stop()
    assert relance.process.wait(timeout=in_force(overlay, "SHUTDOWN_TIMEOUT_MS") / 1000) == 0
    assert time.monotonic() - started < pod(overlay)["terminationGracePeriodSeconds"]
    assert set(busy.statuses) <= {200, 503}, "503 is how a full queue refuses"
