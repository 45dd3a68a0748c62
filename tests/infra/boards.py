"""The dashboards of infra/local/grafana and the queries in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Iterator

from manifests import REPO

GRAFANA = REPO / "infra/local/grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
# What Grafana would put in. The window is long enough for all that the tests make happen.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def board(file: Path) -> dict:
    return json.loads(file.read_text())


def panels(file: Path) -> list[dict]:
    """All but the headings."""
    return [panel for panel in board(file)["panels"] if panel["type"] != "row"]


def queries(file: Path) -> Iterator[tuple[str, str]]:
    """Each query as Prometheus gets it, with the place that it is at."""
    for panel in panels(file):
        for target in panel["targets"]:
            expr = target["expr"]
            for variable, value in VARIABLES.items():
                expr = expr.replace(variable, value)
            repeated = ["decode", "inference", "preprocess", "queue"] if "$stage" in expr else [""]
            for stage in repeated:
                one = expr.replace("$stage", stage)
                assert "$" not in one, one
                yield f"{file.stem}: {panel['title']}: {target['legendFormat']} {stage}", one


def metrics(expr: str) -> set[str]:
    """Names of metrics in an expression: those of the program, and those that rules record."""
    bare = re.sub(r'"[^"]*"', "", expr)
    return set(re.findall(r"\b(?:(?:relance|process)_[a-z0-9_]+|relance:[a-z0-9_:]+)", bare))
