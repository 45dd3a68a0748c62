"""The load test: `make loadtest` against real services, and what it makes of answers that are wrong."""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
import uuid
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Callable, Iterator

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "bench"))

import common  # noqa: E402
from loadtest import checks, scenarios, uploads  # noqa: E402

PROGRAM = REPO / "target/release/relance"
LOCUST = REPO / ".tools/locust/bin"
PICTURE = REPO / "models/samples/aberta-1.jpg"
USER, PASSWORD = "ana", "pão:1"
OURS = {"API_USERNAME", "API_PASSWORD", "API_KEY", "API_KEYS", "HOST_URL", "METRICS_URLS"}
OURS |= {"DURATION", "WAIT", "PROCESSES"}

http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def loadtest(out: Path, *arguments: str, **variables: str) -> tuple[subprocess.CompletedProcess, dict]:
    """Runs bench/loadtest, and reads its summary if there is one."""
    for needed, install in ((PROGRAM, "cargo build --release"), (LOCUST, "scripts/install-tools loadtest")):
        if not needed.exists():
            pytest.fail(f"there is no {needed}: {install}", pytrace=False)
    env = {name: value for name, value in os.environ.items() if name not in OURS} | variables
    command = [LOCUST / "python", REPO / "bench/loadtest", "--out", out, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    summary = out / "summary.json"
    return done, json.loads(summary.read_text())["scenarios"] if summary.is_file() else {}


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[common.Service]:
    """An instance without credentials."""
    folder = tmp_path_factory.mktemp("service")
    with common.Service(PROGRAM, folder, RATE_LIMIT_PER_MINUTE="0") as one:
        yield one


def test_every_answer_to_many_users_is_right_and_recorded(tmp_path: Path) -> None:
    done, scenarios_ = loadtest(tmp_path, "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    smoke = scenarios_["smoke"]
    assert set(smoke["requests"]) == {
        "POST /predict known", "POST /predict new", "POST /predict reference", "GET /health", "GET /requests",
    }  # fmt: skip
    assert smoke["answers"] > 100 and smoke["failures"] == 0 and smoke["refusals"] == 0
    # What the service counts is what Locust counts, and all of it is in the database.
    assert smoke["counted_by_service"] == smoke["predictions"] and smoke["lost"] == 0
    facts = smoke["facts"]
    assert smoke["records"] == smoke["predictions"] + facts["introduced"]
    # Cached is what was sent before, and nothing else.
    assert {fact for fact in facts if "cached" in fact} == {
        "POST /predict known, cached", "POST /predict reference, cached", "POST /predict new, not cached",
    }  # fmt: skip
    assert smoke["health_requests"] > 10 and smoke["health_failures"] == 0
    assert smoke["cpu"]["service"] > 0
    assert "<html" in (tmp_path / "smoke.html").read_text().lower()
    summary = (tmp_path / "summary.md").read_text()
    assert "| smoke: no answer without its record | 0 | met |" in summary
    assert re.search(r"\| /predict \| \d+ \|", summary), "the service's own metrics are missing"


def test_refusals_are_counted_apart_from_failures(tmp_path: Path) -> None:
    # One worker, no cache and hardly a queue: most of what comes at the same time is refused.
    slow = {"WORKERS": "1", "CACHE_BYTES": "0", "MAX_QUEUE_MS": "1"}
    done, scenarios_ = loadtest(tmp_path, "smoke", DURATION="4", WAIT="0", **slow)
    assert done.returncode == 0, done.stdout + done.stderr
    smoke = scenarios_["smoke"]
    assert smoke["failures"] == 0 and smoke["predictions"] > 0
    assert smoke["refusals"] == sum(row["requests"] for name, row in smoke["requests"].items() if "refused 503" in name)
    assert smoke["refusals"] > 0
    assert smoke["counted_by_service"] == smoke["predictions"], "a refusal was counted as an answer"


def test_failures_end_with_1_and_are_named(tmp_path: Path) -> None:
    # The largest sample picture is accepted and with a mark it is not.
    most = max(path.stat().st_size for path in PICTURE.parent.glob("*.jpg"))
    done, scenarios_ = loadtest(tmp_path, "smoke", DURATION="4", WAIT="0", MAX_UPLOAD_BYTES=str(most))
    assert done.returncode == 1, done.stdout + done.stderr
    smoke = scenarios_["smoke"]
    assert smoke["failures"] == smoke["requests"]["POST /predict new"]["failures"] > 0
    assert [error["error"] for error in smoke["errors"]] == ["CatchResponseError('status 413')"]
    assert smoke["counted_by_service"] == smoke["predictions"], "a failure was counted as an answer"
    assert "| smoke: no failures but refusals with Retry-After | 0 | met |" not in done.stdout


def test_a_service_elsewhere_is_measured_with_its_credentials(tmp_path: Path) -> None:
    with common.Service(PROGRAM, tmp_path, API_USERNAME=USER, API_PASSWORD=PASSWORD, RATE_LIMIT_PER_MINUTE="0") as one:
        closed, nothing = loadtest(tmp_path / "closed", "smoke", HOST_URL=one.url)
        right = {"API_USERNAME": USER, "API_PASSWORD": PASSWORD}
        done, scenarios_ = loadtest(tmp_path / "open", "smoke", HOST_URL=one.url, DURATION="3", PROCESSES="1", **right)
    assert closed.returncode == 2 and "401; set API_USERNAME" in closed.stderr and not nothing
    assert done.returncode == 0, done.stdout + done.stderr
    smoke = scenarios_["smoke"]
    assert smoke["counted_by_service"] == smoke["predictions"] > 0
    assert smoke["records"] is None and not smoke["cpu"], "these are not known of a service elsewhere"
    said = done.stdout + done.stderr + "".join(path.read_text() for path in (tmp_path / "open").iterdir())
    assert PASSWORD not in said


@contextmanager
def balancer(*urls: str) -> Iterator[str]:
    """Hands connections to these services in turn."""
    backends = cycle(tuple(url.removeprefix("http://").split(":")) for url in urls)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            host, port = next(backends)
            with socket.create_connection((host, int(port))) as backend:
                back = threading.Thread(target=self.copy, args=(backend, self.request), daemon=True)
                back.start()
                self.copy(self.request, backend)
                back.join()

        @staticmethod
        def copy(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(1 << 16):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 100

    with Server(("127.0.0.1", 0), Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_several_instances_are_told_apart(tmp_path: Path) -> None:
    settings = {"RATE_LIMIT_PER_MINUTE": "0"}
    with (
        common.Service(PROGRAM, tmp_path, INSTANCE_NAME="one", **settings) as one,
        common.Service(PROGRAM, tmp_path, INSTANCE_NAME="two", **settings) as two,
        balancer(one.url, two.url) as url,
    ):
        # They share no store, so both are shown what will be referred to.
        for path in PICTURE.parent.glob("*.jpg"):
            for service in (one, two):
                ask(service, uploads.upload(path.name, path.read_bytes()))
        ours = {"HOST_URL": url, "DURATION": "4", "PROCESSES": "1"}
        both = ",".join(f"{service.url}/metrics" for service in (one, two))
        half, unknown = loadtest(tmp_path / "half", "smoke", **ours)
        done, known = loadtest(tmp_path / "both", "smoke", METRICS_URLS=both, **ours)
    assert done.returncode == 0, done.stdout + done.stderr
    smoke = known["smoke"]
    assert {"answered by one", "answered by two"} < set(smoke["facts"])
    assert smoke["counted_by_service"] == smoke["predictions"] > 0
    # One of them says nothing about the other's answers.
    assert half.returncode == 0, half.stdout + half.stderr
    assert unknown["smoke"]["counted_by_service"] is None and unknown["smoke"]["no_metrics"]


def test_what_cannot_run_says_why(tmp_path: Path) -> None:
    for variables, reason in (
        ({"HOST_URL": "http://127.0.0.1:9"}, "does not answer"),
        ({"HOST_URL": f"http://{USER}:hush@127.0.0.1:9"}, "HOST_URL holds credentials"),
        ({"PROCESSES": "none"}, "PROCESSES is 'none'"),
        ({"WAIT": "3-1"}, "'3-1' is no wait"),
        ({"DURATION": "-1"}, "'-1' is no length"),
    ):
        done, _ = loadtest(tmp_path, "smoke", **variables)
        assert done.returncode == 2 and reason in done.stderr, done.stdout + done.stderr
        assert "hush" not in done.stdout + done.stderr
    done, _ = loadtest(tmp_path, "smoke", MAX_UPLOAD_BYTES="1000")
    assert done.returncode == 2 and "POST /predict: 413" in done.stderr, done.stdout + done.stderr
    done, _ = loadtest(tmp_path, "many")
    assert done.returncode == 2 and "7500" in done.stderr


def test_too_few_open_files_are_one_clear_error(tmp_path: Path) -> None:
    # Root could raise the limit again, so the right to do so is given away first.
    command = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"] if os.geteuid() == 0 else []
    command += ["prlimit", "--nofile=5000:5000", LOCUST / "python", REPO / "bench/loadtest", "--out", tmp_path, "7500"]
    env = {name: value for name, value in os.environ.items() if name not in OURS}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "open files and the limit is 5,000: raise it" in done.stderr, done.stderr


def ask(service: common.Service, upload: uploads.Upload) -> tuple[dict, str]:
    request = urllib.request.Request(f"{service.url}/predict", upload.form, uploads.FORM)
    with http.open(request, timeout=30) as answer:
        return json.load(answer), answer.headers["X-Request-Id"]


def wrong(change: Callable[[dict], object]) -> Callable[[dict], dict]:
    def changed(answer: dict) -> dict:
        other = copy.deepcopy(answer)
        change(other)
        return other

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(request_id=str(uuid.uuid4())),
        lambda a: a.update(request_id="1"),
        lambda a: a.update(prediction="garrafa"),
        lambda a: a.update(prediction=a["top"][1]["class"]),
        lambda a: a.update(confidence=a["confidence"] - 0.1),
        lambda a: a["top"][0].update({"class": "garrafa"}),
        lambda a: a["top"][1].update(confidence=a["top"][1]["confidence"] + 0.01),
        lambda a: a["top"].reverse(),
        lambda a: a["top"].append(a["top"][0]),
        lambda a: a["image"].update(sha256="0" * 64),
        lambda a: a.update(image_ref="00/00/" + "0" * 64 + ".jpg"),
        lambda a: a.update(cached=not a["cached"]),
        lambda a: a.update(cached=None),
        lambda a: a.pop("top"),
        lambda a: a.update(top=[]),
    ],
)
def test_a_wrong_answer_is_found(service: common.Service, change: Callable[[dict], object]) -> None:
    new = uploads.upload("new.jpg", uploads.marked(PICTURE.read_bytes(), str(uuid.uuid4())))
    answer, identifier = ask(service, new)
    sent = checks.Sent(new.sha256, new=True)
    assert checks.prediction(answer, identifier, ["aberta", "fechada"], sent) is None
    assert checks.prediction(wrong(change)(answer), identifier, ["aberta", "fechada"], sent)


def test_another_answer_for_the_same_picture_is_found(service: common.Service) -> None:
    known = uploads.upload("known.jpg", PICTURE.read_bytes())
    (first, _), (second, identifier) = ask(service, known), ask(service, known)
    fault = lambda before: checks.prediction(
        second, identifier, ["aberta", "fechada"], checks.Sent(known.sha256, before=before)
    )
    assert fault(first) is None
    assert fault({**first, "prediction": "fechada"}) and fault({**first, "confidence": 0.5})


def test_a_mark_makes_another_picture_with_the_same_pixels(service: common.Service) -> None:
    plain, marked = PICTURE.read_bytes(), uploads.marked(PICTURE.read_bytes(), "1")
    (one, _), (other, _) = (ask(service, uploads.upload("x.jpg", picture)) for picture in (plain, marked))
    assert one["image"]["sha256"] != other["image"]["sha256"]
    assert one["top"] == other["top"]


def test_only_refusals_that_say_when_to_come_back_are_honest() -> None:
    assert checks.is_honest_refusal(503, {"Retry-After": "1"}) and checks.is_honest_refusal(429, {"Retry-After": "60"})
    for status, headers in ((503, {}), (503, {"Retry-After": "0"}), (503, None), (500, {"Retry-After": "1"}), (0, {})):
        assert not checks.is_honest_refusal(status, headers)


def test_the_scenarios_are_those_that_are_promised() -> None:
    for users in (1000, 2500, 5000, 7500):
        one = scenarios.find(str(users))
        assert (one.users, one.rate, one.seconds) == (users, 100, 180)
        assert sum(dict(one.mix).values()) == 100
    assert set(dict(scenarios.find("1000").mix)) == {"known", "new"}, "1000 users are all on /predict"
    assert scenarios.find("2500").most == 1250
