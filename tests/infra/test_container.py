"""The image: what is in it, and how it behaves where containers run. Run by `make test-container`."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import subprocess
import tarfile
import time
from typing import Callable

import pytest

pytest.register_assert_rewrite("cluster.load")

from cluster.docker import IMAGE, docker, inspect, logs, need_image, wait_healthy
from cluster.load import REPO, Front, Load, new_picture

# As Kubernetes' "restricted" profile wants it, and with nothing to write to but the volume and /tmp.
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
USER = "65532"
MAX_MIB = 130

Run = Callable[..., tuple[str, Front]]


@pytest.fixture(autouse=True)
def image() -> dict:
    need_image()
    return inspect(IMAGE)


@pytest.fixture
def run():
    """Starts a container; gives its identifier and, once it is healthy, its address."""
    started = []

    def run(*options: str, anonymous: bool = True) -> tuple[str, Front]:
        access = ["--env", "ALLOW_ANONYMOUS=true", "--env", "RATE_LIMIT_PER_MINUTE=0"] if anonymous else []
        container = docker("run", "--detach", "--publish", "127.0.0.1::5000", *access, *options, IMAGE).stdout.strip()
        started.append(container)
        wait_healthy(container)
        port = docker("port", container, "5000/tcp").stdout.split(":")[-1]
        return container, Front(int(port))

    yield run
    for container in started:
        docker("rm", "--force", "--volumes", container)


@pytest.fixture
def volume():
    name = docker("volume", "create").stdout.strip()
    yield name
    docker("volume", "rm", "--force", name)


def test_without_credentials_it_says_what_to_set():
    done = docker("run", "--rm", IMAGE, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    for setting in ("API_USERNAME", "API_PASSWORD", "API_KEYS", "ALLOW_ANONYMOUS=true"):
        assert setting in line


def test_with_credentials_it_asks_for_them(run: Run):
    _, front = run("--env", "API_USERNAME=ana", "--env", "API_PASSWORD=secret", anonymous=False)
    headers = {"Content-Type": "image/jpeg"}
    assert front.ask("POST", "/predict", new_picture(), **headers)[0].status == 401
    headers["Authorization"] = "Basic " + base64.b64encode(b"ana:secret").decode()
    answer, body = front.ask("POST", "/predict", new_picture(), **headers)
    assert answer.status == 200, body
    assert json.loads(body)["model"]["name"] == "bottle"


def test_other_commands_run_too():
    assert "entry for API_KEYS" in docker("run", "--rm", IMAGE, "key", "phone").stdout
    mount = f"{REPO}/models/samples:/pictures:ro"
    table = docker("run", "--rm", "--volume", mount, IMAGE, "classify", "/pictures", "--format", "jsonl").stdout
    assert {json.loads(line)["prediction"] for line in table.splitlines()} == {"aberta", "fechada"}


def test_it_runs_with_no_rights_and_nothing_to_write_to(run: Run):
    container, front = run(*HARDENED)
    for _ in range(20):
        front.predict(new_picture())
    _, *processes = docker("top", container, "-o", "pid,uid").stdout.splitlines()
    assert {process.split()[1] for process in processes} == {USER}
    assert front.ask("GET", "/requests?limit=20")[0].status == 200


def test_it_holds_what_it_needs_and_nothing_else(image: dict):
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}"
    release = os.environ.get("RELEASE", "dev")
    assert f"RELEASE={release}" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.version"] == release
    assert config["StopSignal"] == "SIGTERM"
    mib = image["Size"] / 2**20
    print(f"{IMAGE}: {mib:.1f} MiB")
    assert mib < MAX_MIB

    container = docker("create", IMAGE).stdout.strip()
    try:
        exported = subprocess.run(["docker", "export", container], check=True, capture_output=True).stdout
    finally:
        docker("rm", "--force", "--volumes", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        # Empty ones are where Docker puts its own.
        files = {member.name: member for member in archive if member.isfile() and member.size}
        authorities = archive.extractfile("etc/ssl/certs/ca-certificates.crt").read()
    assert authorities.count(b"BEGIN CERTIFICATE") > 50
    assert {"app/LICENSE-MIT", "app/lib/ONNXRUNTIME-LICENSE", "var/lib/dpkg/status.d/libc6"} <= set(files)
    programs = {name for name, member in files.items() if member.mode & 0o111 and ".so" not in name}
    assert programs == {"app/relance"}
    assert not any(member.mode & 0o6000 for member in files.values())


def test_sigterm_drains(run: Run):
    container, front = run("--env", "DRAIN_DELAY_MS=4000")
    load = Load(front, clients=4, pause=0.02)
    time.sleep(0.5)
    docker("kill", "--signal", "TERM", container)
    end = time.monotonic() + 2
    statuses = set()
    while time.monotonic() < end:
        statuses.add(front.ask("GET", "/health/ready")[0].status)
    assert 503 in statuses
    assert load.stop()
    assert docker("wait", container).stdout.strip() == "0"
    assert logs(container).rstrip().endswith("stopped")


def test_records_and_pictures_survive_the_container(volume: str, run: Run):
    mount = ["--volume", f"{volume}:/data"]
    first, front = run(*HARDENED, *mount)
    answers = Load(front, clients=4, requests=60).wait()
    docker("kill", first)
    docker("rm", "--force", first)
    _, front = run(*HARDENED, *mount)
    for answer in answers:
        response, body = front.ask("GET", f"/requests/{answer.request_id}")
        assert response.status == 200, body
        assert front.ask("GET", f"/requests/{answer.request_id}/image")[1] == answer.picture


def test_there_are_as_many_workers_as_the_quota_allows(run: Run):
    for cpus, workers in (("0.5", 1), ("1", 1), ("2", min(2, os.cpu_count()))):
        container, front = run("--cpus", cpus)
        front.predict(new_picture())
        assert f"workers={workers} " in logs(container), logs(container)


def test_uploads_that_do_not_fit_into_memory_are_refused(run: Run):
    container, front = run("--cpus", "1", "--memory", "256m", "--env", f"MAX_INFLIGHT_BYTES={64 * 2**20}")
    size = 9 * 2**20
    connections = [front.connect() for _ in range(24)]
    # All but the last byte of each: 216 MiB that it must not all take.
    for connection in connections:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "image/jpeg")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
    for connection in connections:
        try:
            connection.send(bytes(size - 1))
        except OSError:
            pass  # Refused already.
    statuses = []
    for connection in connections:
        try:
            connection.send(b"\0")
            statuses.append(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            statuses.append(None)
        connection.close()
    # 415: these are no pictures.
    assert statuses.count(503) > 0 and statuses.count(415) > 0, statuses
    front.predict(new_picture())
    state = inspect(container)["State"]
    assert state["Running"] and not state["OOMKilled"], state


def test_a_model_from_outside_takes_the_place_of_its_own(run: Run):
    models = REPO / "tests/fixtures/models"
    _, front = run("--volume", f"{models}:/models:ro", "--env", "MODEL=/models/yolov8n-cls-nc10-64.onnx")
    assert front.ask("GET", "/models")[1].count(b"yolov8n-cls-nc10-64") > 0
    front.predict(new_picture())


def test_it_becomes_unhealthy_when_it_hangs(run: Run):
    container, _ = run()
    docker("kill", "--signal", "STOP", container)
    try:
        end = time.monotonic() + 90
        while inspect(container)["State"]["Health"]["Status"] != "unhealthy":
            assert time.monotonic() < end, "still healthy"
            time.sleep(0.5)
    finally:
        docker("kill", "--signal", "CONT", container)
    wait_healthy(container)
