"""The whole story: pictures come, people review, a model is trained with that, tried out, and takes over under load."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from service import BINARY, PATIENCE, REPO, Service, http

MODEL = REPO / "models/bottle.onnx"
PICTURES = REPO / "models/evaluation"
CLASSES = ["aberta", "fechada"]
# Of each class: a mix that is not even.
SENT = {"aberta": 75, "fechada": 55}
REVIEWS = 100
PYTHON = sys.executable


class Team:
    """People and programs that use one instance."""

    def __init__(self, service: Service):
        self.service = service

    def ask(self, method: str, path: str, body: bytes | dict | None = None, kind: str = "application/json") -> dict:
        """The answer, which must be a success."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        headers = {"Content-Type": kind} if body is not None else {}
        request = urllib.request.Request(self.service.url + path, body, headers, method=method)
        with http.open(request, timeout=PATIENCE) as answer:
            content = answer.read()
        return json.loads(content) if content else {}

    def classify(self, picture: bytes, query: str = "") -> dict:
        return self.ask("POST", f"/predict{query}", picture, "image/jpeg")

    def records(self, query: str = "") -> list[dict]:
        """All records that pass a filter, newest first."""
        found, cursor = [], ""
        while True:
            page = self.ask("GET", f"/requests?limit=100{query}{cursor}")
            found += page["requests"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def active(self) -> str:
        model = next(model for model in self.ask("GET", "/models")["models"] if model["active"])
        return name(model)

    def wait(self, what: str, condition) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"still not: {what}"
            time.sleep(0.1)


class Traffic(threading.Thread):
    """Somebody who sends pictures without a pause, each a little different from all before."""

    def __init__(self, team: Team, number: int, pictures: list[bytes]):
        super().__init__()
        self.team, self.number, self.pictures = team, number, pictures
        self.stopped = threading.Event()
        self.answers: list[dict] = []
        self.failures: list[str] = []

    def run(self) -> None:
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            picture = self.pictures[turn % len(self.pictures)] + f"{self.number} {turn}".encode()
            try:
                self.answers.append(self.team.classify(picture))
            except (urllib.error.URLError, OSError) as error:
                self.failures.append(str(error))


def name(model: dict) -> str:
    return f"{model['name']}@{model['version']}"


def pictures(label: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((PICTURES / label).glob("*.jpg"))]


def run(*command: str | Path) -> None:
    quiet = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([str(part) for part in command], cwd=REPO, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    folder = tmp_path / "registry"
    folder.mkdir()
    return folder


@pytest.fixture
def team(tmp_path: Path, registry: Path):
    service = Service(tmp_path / "data", MODEL=str(MODEL), MODELS=str(registry), MODELS_POLL_SECONDS="1")
    yield Team(service)
    service.stop()


def test_from_answers_to_a_better_model(team: Team, registry: Path, tmp_path: Path) -> None:
    first = team.active()

    # A stream of pictures with a known mix.
    truth: dict[str, str] = {}
    predicted: Counter[tuple[str, str]] = Counter()
    for label, count in SENT.items():
        for picture in pictures(label)[:count]:
            answer = team.classify(picture)
            assert name(answer["model"]) == first
            truth[answer["request_id"]] = label
            predicted[label, answer["prediction"]] += 1
    assert {record["request_id"] for record in team.records()} == set(truth)
    for prediction in CLASSES:
        counted = sum(count for (_, said), count in predicted.items() if said == prediction)
        assert len(team.records(f"&prediction={prediction}")) == counted

    # People review what is proposed.
    reviewed: dict[str, bool] = {}
    while len(reviewed) < REVIEWS:
        record = team.ask("GET", "/review/next")
        label = truth[record["request_id"]]
        team.ask("PUT", f"/requests/{record['request_id']}/review", {"label": label})
        reviewed[record["request_id"]] = record["prediction"] == label
    summary = team.ask("GET", "/review/summary")
    assert summary["reviewed"] == REVIEWS and summary["unsure"] == 0
    assert summary["accuracy"] == pytest.approx(sum(reviewed.values()) / REVIEWS)
    assert len(team.records("&disagrees=true")) == REVIEWS - sum(reviewed.values())

    # The dataset holds just these.
    request = urllib.request.Request(f"{team.service.url}/dataset.zip?val=0.2")
    archive = zipfile.ZipFile(io.BytesIO(http.open(request, timeout=PATIENCE).read()))
    dataset = tmp_path / "dataset"
    archive.extractall(dataset)
    held = {path.stem: path.parent.name for path in dataset.glob("*/*/*.jpg")}
    assert held == {request_id: truth[request_id] for request_id in reviewed}

    # A few epochs with it.
    runs = tmp_path / "runs"
    run(PYTHON, "models/training/train.py", "--data", dataset, "--out", runs, "--cache", tmp_path / "cache",
        "--size", "64", "--epochs", "3", "--batch", "16", "--patience", "10")
    version = registry / "bottle" / "new"
    version.mkdir(parents=True)
    run(PYTHON, "models/training/export.py", "--checkpoint", runs / "best.pt", "--out", version / "model.onnx")
    run(BINARY, "classify", dataset / "train", "--model", version / "model.onnx", "--format", "summary",
        "--baseline", version / "model.baseline.json")
    version.rename(registry / "bottle" / "2")

    # The new model looks at what the old one answers.
    team.ask("PUT", "/candidate", {"model": "bottle@2", "role": "shadow", "share": 1.0})
    stream = [picture for label in CLASSES for picture in pictures(label)[80:110]]
    shadowed = []
    for picture in stream:
        answer = team.classify(picture)
        assert name(answer["model"]) == first
        shadowed.append((answer, picture))

    def looked_at() -> bool:
        agreement = team.ask("GET", "/candidate")["agreement"]
        return agreement["compared"] + agreement["skipped"] == len(stream)

    team.wait("all pictures were compared", looked_at)
    report = team.ask("GET", "/candidate")
    assert report["agreement"]["compared"] >= len(stream) / 2, report["agreement"]
    opinions = {}
    for answer, picture in shadowed:
        record = team.ask("GET", f"/requests/{answer['request_id']}")
        if opinion := record["opinion"]:
            alone = team.classify(picture, "?model=bottle@2")
            assert opinion["prediction"] == alone["prediction"]
            assert opinion["agrees"] == (opinion["prediction"] == answer["prediction"])
            opinions[answer["request_id"]] = opinion
            truth[alone["request_id"]] = ""
        truth[answer["request_id"]] = ""
    assert len(opinions) == report["agreement"]["compared"]
    assert sum(opinion["agrees"] for opinion in opinions.values()) == report["agreement"]["agreed"]
    differing = {record["request_id"] for record in team.records("&differs=true")}
    assert differing == {key for key, opinion in opinions.items() if not opinion["agrees"]}

    # It takes over while others go on sending.
    traffic = [Traffic(team, number, stream) for number in range(4)]
    for one in traffic:
        one.start()
    time.sleep(1.5)
    team.ask("PUT", "/models/bottle", {"version": "2"})
    assert team.active() == "bottle@2"
    after = team.classify(stream[0] + b"after")
    assert name(after["model"]) == "bottle@2"
    time.sleep(1.5)
    for one in traffic:
        one.stopped.set()
    for one in traffic:
        one.join()
    assert [failure for one in traffic for failure in one.failures] == []
    answers = [answer for one in traffic for answer in one.answers] + [after]
    by = Counter(name(answer["model"]) for answer in answers)
    assert set(by) == {first, "bottle@2"}, by
    for one in traffic:
        # Each saw the change once, and no way back.
        seen = [name(answer["model"]) for answer in one.answers]
        assert seen == sorted(seen, key=lambda model: model == "bottle@2"), seen

    # Records and figures agree with what everybody was told.
    records = {record["request_id"]: record for record in team.records()}
    assert set(records) == set(truth) | {answer["request_id"] for answer in answers}
    for answer in answers:
        record = records[answer["request_id"]]
        assert [record[field] for field in ("model", "prediction", "confidence")] == [
            answer[field] for field in ("model", "prediction", "confidence")]
    assert team.ask("GET", f"/review/summary?model={first}")["reviewed"] == REVIEWS
    for answer in answers:
        if name(answer["model"]) == "bottle@2":
            team.ask("PUT", f"/requests/{answer['request_id']}/review", {"label": "aberta"})
            break
    assert team.ask("GET", "/review/summary?model=bottle@2")["reviewed"] == 1
    assert team.ask("GET", "/review/summary")["reviewed"] == REVIEWS + 1
