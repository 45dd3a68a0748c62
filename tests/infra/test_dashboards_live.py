"""Every query of the dashboards and every rule, asked of a real Prometheus that scrapes a real, busy instance."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
import yaml

from boards import FILES, board, metrics, queries
from manifests import REPO, of_kind
from watched import KEY, PICTURE, Azurite, Prometheus, Redis, Relance, Server, Traffic, eventually, free_port

RULES = sorted((REPO / "infra/local/prometheus").glob("*.rules.yml"))
DAY = 86_400
# As many as it takes before drift is told.
FIRST_ANSWERS = 500


class World(NamedTuple):
    prometheus: Prometheus
    relance: Relance
    traffic: Traffic


def history(folder: Path, target: str) -> Path:
    """Blocks of Prometheus with what a week before today would have left, which a test cannot wait for.

    Of the recorded series the hours that make the baseline, and of the instance the last hour.
    """
    now = int(time.time())
    of = f'job="relance",instance="{target}"'
    lines = []

    def series(name: str, labels: str, start: int, end: int, step: int, value) -> None:
        lines.append(f"# TYPE {name} unknown")
        lines.extend(f"{name}{{{labels}}} {value(t - start)} {t}" for t in range(start, end, step))

    long_ago, an_hour_ago = now - 3 * DAY, now - 3_000
    for label in ("aberta", "fechada"):
        series("relance:predictions:increase1h", f'class="{label}"', long_ago, now - DAY, 120, lambda _: 400)
        series("relance_predictions_total", f'{of},class="{label}"', an_hour_ago, now - 60, 15, lambda age: age)
        for part, rate in {"sum": 0.9, "count": 1}.items():
            series(f"relance_prediction_confidence_ratio_{part}", f'{of},class="{label}"', an_hour_ago, now - 60, 15,
                   lambda age, rate=rate: age * rate)
    series("relance:prediction_confidence_ratio:mean1h", "", long_ago, now - DAY, 120, lambda _: 0.95)
    text, blocks = folder / "history.txt", folder / "blocks"
    # The format wants all of a metric together.
    text.write_text("\n".join(sorted_by_metric(lines)) + "\n# EOF\n")
    made = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks],
                          capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return blocks


def sorted_by_metric(lines: list[str]) -> list[str]:
    def name(line: str) -> str:
        return line.split()[2] if line.startswith("#") else line.split("{")[0]

    return list(dict.fromkeys(sorted(lines, key=name)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Stores that work for a while and then go, as the dashboards are to show both."""
    folder = tmp_path_factory.mktemp("world")
    # Groups that look at hours are not evaluated each second by themselves.
    rules = []
    for file in RULES:
        rules.append(folder / file.name)
        rules[-1].write_text(file.read_text().replace("interval: 1m", "interval: 1s"))
    running: list[Server | Traffic] = []
    try:
        redis, azurite = Redis(folder), Azurite(folder)
        running += [redis, azurite]
        (folder / "registry").mkdir()
        relance = Relance(folder, MODELS=str(folder / "registry"), REDIS_URL=f"redis://127.0.0.1:{redis.port}",
                          AZURE_STORAGE_KEY=KEY, AZURE_STORAGE_BLOB_ENDPOINT=azurite.endpoint, TRACE_SAMPLE_RATIO="1",
                          OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
                          OTEL_BSP_SCHEDULE_DELAY="500", HEAD_TIMEOUT_MS="500")
        running.append(relance)
        silent = socket.create_connection(urllib.parse.urlsplit(relance.url).netloc.split(":"))
        target = relance.metrics_url.removeprefix("http://")
        prometheus = Prometheus(folder, target, rules, history(folder, target))
        running.append(prometheus)
        answered = [relance.send(PICTURE.read_bytes() + f"picture {n}".encode()) for n in range(FIRST_ANSWERS)]
        assert set(answered) == {200}
        relance.review_until("random")
        traffic = Traffic(relance)
        running.insert(0, traffic)
        for metric in ("relance_shipped_pictures_total", "relance_cache_shared_read_seconds_count"):
            # A rate needs two scrapes with something between them.
            eventually(metric, lambda metric=metric: prometheus.query(f"rate({metric}[1m]) > 0"))
        redis.stop()
        azurite.stop()
        eventually("failures are scraped", lambda: prometheus.query("rate(relance_ship_failures_total[1m]) > 0"))
        eventually("silence is noticed", lambda: prometheus.query("relance_connections_expired_total"))
        silent.close()
        eventually("the rules have seen it", lambda: len(prometheus.query("relance:dependency_up:min == 0")) == 3)
        yield World(prometheus, relance, traffic)
    finally:
        for server in running:
            server.stop()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_panel_shows_something(file: Path, world: World):
    asked = list(queries(file))
    empty = [f"{place}: {expr}" for place, expr in asked if not world.prometheus.query(expr)]
    assert empty == [] and len(asked) > 15


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_variables_find_their_values(file: Path, world: World):
    for variable in board(file)["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
            assert all(label in one["metric"] for one in world.prometheus.query(selector))
            assert world.prometheus.query(selector), variable["name"]


def test_every_rule_is_evaluated_and_every_record_has_a_value(world: World):
    empty = []
    for group in world.prometheus.api("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
            if rule["type"] == "recording" and not world.prometheus.query(rule["name"]):
                empty.append(rule["name"])
    assert empty == []
    drift = world.prometheus.query("relance:predictions:psi1h")
    assert len(drift) == 1 and float(drift[0]["value"][1]) < 0.25
    assert {one["metric"]["of"] for one in world.prometheus.query("relance:drift_psi:max > 0.2")} == {"classes", "confidence"}


def test_every_metric_asked_for_is_there(world: World):
    """Those that need a disaster are explained, all others come from the program itself."""
    families = set(re.findall(r"^# TYPE (\S+)", world.relance.metrics(), re.MULTILINE))
    recorded = {rule["record"] for file in RULES for group in yaml.safe_load(file.read_text())["groups"]
                for rule in group["rules"] if "record" in rule}
    expressions = [expr for file in FILES for _, expr in queries(file)]
    expressions += [rule["expr"] for file in RULES for group in yaml.safe_load(file.read_text())["groups"]
                    for rule in group["rules"]]
    triggers = of_kind("aks", "ScaledObject")["relance"]["spec"]["triggers"]
    expressions += [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"]
    described = set(re.findall(r'= (?:counter|gauge|histogram) "(\w+)"',
                               (REPO / "src/telemetry/metrics.rs").read_text()))
    # A client that goes at the right moment, a full disk, ten equal errors in a second, thousands of connections.
    rare = {"relance_abandoned_total", "relance_pictures_shed_total", "relance_log_lines_suppressed_total",
            "relance_connections_refused_total"}
    assert rare <= described
    for name in set().union(*map(metrics, expressions)):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in recorded or {name, base} & families or name in rare, name


def test_the_numbers_are_those_of_the_traffic(world: World):
    def value(expr: str) -> float:
        (one,) = world.prometheus.query(expr)
        return float(one["value"][1])

    world.traffic.stop()
    answered = 'sum(relance_http_requests_total{route="/predict",status="200"})'
    eventually("all is scraped", lambda: value(answered) == FIRST_ANSWERS + world.traffic.answered)
    assert value('count(relance_dependency_up == 0)') == 3, "Redis, Blob Storage and the collector are gone"
    assert value("sum(relance_backlog_records)") > 0 < value("sum(relance_shipped_records_total)")
    errors = world.prometheus.query('relance_http_requests_total{status=~"5.."}')
    assert errors == [], "stores that are away cost no request"
