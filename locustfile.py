"""What users do to the service, and what must be true of every answer.

`make loadtest SCENARIO=2500` runs it, reports included. By hand, with Locust's own page or options:

    .tools/locust/bin/locust --host http://127.0.0.1:5000

Variables: SCENARIO (bench/loadtest/scenarios.py; without it, Locust's options say how many users come), DURATION in
seconds and WAIT to change it; API_USERNAME and API_PASSWORD, or API_KEY, where credentials are needed.

A refusal with Retry-After (429, 503) is no failure and gets a row of its own; its user goes on as if answered.
"""

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import choice

from locust import FastHttpUser, LoadTestShape, between, events, task
from locust.contrib.fasthttp import FastHttpSession, ResponseContextManager
from locust.event import EventHook
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "bench"))

from loadtest import checks, scenarios, uploads, web  # noqa: E402

NAME = os.environ.get("SCENARIO")
SCENARIO = scenarios.find(NAME or "2500", seconds=os.environ.get("DURATION"), wait=os.environ.get("WAIT"))
MIX = dict(SCENARIO.mix)
LIST_LENGTH = 20

PICTURES = uploads.samples(ROOT / "models" / "samples")
CREDENTIALS = web.credentials()
KNOWN = [uploads.upload(name, picture) for name, picture in PICTURES]

# Filled by this process before its users start: the model's classes, and the answer to each known picture.
CLASSES: list[str] = []
FIRST_ANSWERS: dict[str, dict] = {}

# What the statistics do not tell. Workers send theirs to the master, which writes them to LOADTEST_FACTS.
FACTS: Counter[str] = Counter()

_numbers = count()


def new_upload() -> uploads.Upload:
    """A picture that nobody has sent before."""
    name, picture = choice(PICTURES)
    mark = f"{time.time_ns()}-{os.getpid()}-{next(_numbers)}"
    return uploads.upload(name, uploads.marked(picture, mark))


def settle(response: ResponseContextManager, fault: Callable[[dict], str | None]) -> dict | None:
    """Says what a response counts as, and returns it if it is an answer in which `fault` finds nothing wrong."""
    if response.status_code == 200:
        try:
            answer = json.loads(response.content)
        except ValueError:
            response.failure("not JSON")
            return None
        if wrong := fault(answer):
            response.failure(wrong)
            return None
        return answer
    if checks.is_honest_refusal(response.status_code, response.headers):
        response.request_meta["name"] = f"refused {response.status_code}: {response.request_meta['name']}"
        response.success()
    elif response.status_code:
        response.failure(f"status {response.status_code}")
    return None


class Visitor(FastHttpUser):
    """Does what the scenario's mix says, one request after the other, with pauses."""

    wait_time = between(*SCENARIO.wait)
    network_timeout = connection_timeout = web.PATIENCE
    default_headers = CREDENTIALS

    def predict(self, name: str, sent: checks.Sent, data: bytes, headers: dict[str, str]) -> None:
        with self.client.post("/predict", name=name, data=data, headers=headers, catch_response=True) as response:

            def fault(answer: dict) -> str | None:
                return checks.prediction(answer, response.headers.get("X-Request-Id"), CLASSES, sent)

            if answer := settle(response, fault):
                FACTS[f"{name}, {'cached' if answer['cached'] else 'not cached'}"] += 1
                FACTS["answered by " + response.headers.get("X-Served-By", "unknown")] += 1

    @task(MIX.get("known", 0))
    def known(self) -> None:
        upload = choice(KNOWN)
        sent = checks.Sent(upload.sha256, before=FIRST_ANSWERS[upload.sha256])
        self.predict("POST /predict known", sent, upload.form, uploads.FORM)

    @task(MIX.get("new", 0))
    def new(self) -> None:
        upload = new_upload()
        self.predict("POST /predict new", checks.Sent(upload.sha256, new=True), upload.form, uploads.FORM)

    @task(MIX.get("reference", 0))
    def reference(self) -> None:
        sha256, before = choice(list(FIRST_ANSWERS.items()))
        body = json.dumps({"image_ref": before["image_ref"]}).encode()
        sent = checks.Sent(sha256, before=before)
        self.predict("POST /predict reference", sent, body, {"Content-Type": "application/json"})

    @task(MIX.get("health", 0))
    def health(self) -> None:
        with self.client.get("/health", name="GET /health", catch_response=True) as response:
            settle(response, checks.health)

    @task(MIX.get("requests", 0))
    def requests(self) -> None:
        path = f"/requests?limit={LIST_LENGTH}"
        with self.client.get(path, name="GET /requests", catch_response=True) as response:
            settle(response, lambda answer: checks.requests(answer, CLASSES, LIST_LENGTH))


if NAME:

    class Shape(LoadTestShape):
        """Users as the scenario says."""

        def tick(self) -> tuple[int, float] | None:
            if self.get_run_time() < SCENARIO.seconds:
                return SCENARIO.users, SCENARIO.rate
            if isinstance(self.runner, MasterRunner):
                gather(self.runner)
            return None


# Workers that have sent their last statistics.
FINISHED: set[str] = set()


def gather(master: MasterRunner) -> None:
    """Ends the users of all workers and waits for what the workers have counted.

    Locust itself gives busy workers half a second for that, and loses what comes later.
    """
    master.send_message("finish")
    end = time.monotonic() + scenarios.STOP_TIMEOUT + web.PATIENCE
    while len(FINISHED) < len(master.clients) and time.monotonic() < end:
        time.sleep(0.1)


def finish(environment, **_) -> None:
    environment.runner.stop()
    # The runner reports by itself once in this time, and messages arrive in order.
    time.sleep(WORKER_REPORT_INTERVAL + 1)
    environment.runner.send_message("finished")


@events.init.add_listener
def listen(environment, runner, **_) -> None:
    if isinstance(runner, WorkerRunner):
        runner.register_message("finish", finish, concurrent=True)
    if isinstance(runner, MasterRunner):
        runner.register_message("finished", lambda environment, msg, **_: FINISHED.add(msg.node_id))


def introduce(host: str) -> None:
    """Learns the model's classes, and sends each known picture once. None of it is in the statistics."""
    session = FastHttpSession(
        base_url=host,
        request_event=EventHook(),
        user=None,
        headers=CREDENTIALS,
        network_timeout=web.PATIENCE,
        connection_timeout=web.PATIENCE,
    )

    def asked(method: str, path: str, **kwargs) -> dict:
        for _ in range(20):
            response = session.request(method, path, **kwargs)
            if not checks.is_honest_refusal(response.status_code, response.headers):
                break
            time.sleep(1)
        if response.status_code != 200:
            status = response.status_code or "no answer"
            raise RuntimeError(f"{method} {path}: {status}; is the service there, and are the credentials right?")
        return json.loads(response.content)

    models = asked("GET", "/models")["models"]
    CLASSES[:] = next(model["classes"] for model in models if model["active"])
    for upload in KNOWN:
        answer = asked("POST", "/predict", data=upload.form, headers=uploads.FORM)
        FACTS["introduced"] += 1
        FIRST_ANSWERS[upload.sha256] = answer


@events.test_start.add_listener
def before_the_users(environment, **_) -> None:
    if isinstance(environment.runner, MasterRunner):
        return
    try:
        introduce(environment.host)
    except Exception as error:
        logging.error("the test cannot start: %s", error)
        environment.process_exit_code = 3
        environment.runner.quit()


@events.report_to_master.add_listener
def send_facts(data: dict, **_) -> None:
    data["facts"] = dict(FACTS)
    FACTS.clear()


@events.worker_report.add_listener
def take_facts(data: dict, **_) -> None:
    FACTS.update(data.get("facts", {}))


@events.init.add_listener
def tell_at_the_end(environment, runner, **_) -> None:
    # Workers are processes of their own and have nothing to write.
    path = os.environ.get("LOADTEST_FACTS")
    if not path or environment.parsed_options.worker:
        return

    def write(**_) -> None:
        told = {
            "facts": dict(FACTS),
            "stats": [entry.serialize() for entry in runner.stats.entries.values()],
            "errors": [error.serialize() for error in runner.stats.errors.values()],
        }
        Path(path).write_text(json.dumps(told))

    environment.events.quit.add_listener(write)
