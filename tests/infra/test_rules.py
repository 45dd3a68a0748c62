"""The recording rules and alerts: what they say is well-formed, and each alert fires when it should and only then."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from manifests import KUBERNETES, REPO

RULES = sorted((REPO / "infra/local/prometheus").glob("*.rules.yml"))
CASES = sorted((Path(__file__).parent / "rules").glob("*.test.yml"))


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    if not shutil.which("promtool"):
        pytest.fail("promtool is missing; scripts/install-tools test installs it", pytrace=False)
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)


def rules(kind: str) -> dict[str, dict]:
    """Rules of one kind, `record` or `alert`, by name."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    found = [rule for group in groups for rule in group["rules"] if kind in rule]
    assert len({rule[kind] for rule in found}) == len(found), "a name twice"
    return {rule[kind]: rule for rule in found}


def test_promtool_takes_the_rules():
    done = promtool("check", "rules", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(RULES) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_alerts_fire_when_they_should(case: Path):
    done = promtool("test", "rules", case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_firing_and_silent():
    """In the cases above there is one in which it fires at one time and not at another."""
    proven = set()
    for case in CASES:
        for test in yaml.safe_load(case.read_text())["tests"]:
            times = [{re.search(r'alertname="(\w+)"', sample["labels"])[1] for sample in query["exp_samples"]}
                     for query in test["promql_expr_test"] if "ALERTS" in query["expr"]]
            proven |= set().union(*times) - (set.intersection(*times) if len(times) > 1 else set().union(*times))
    assert proven == rules("alert").keys()


def test_alerts_say_how_urgent_they_are_and_what_to_do():
    page = (REPO / "docs/dashboards.md").read_text()
    for name, rule in rules("alert").items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert f"| `{name}` |" in page, f"{name} is not in docs/dashboards.md"


def test_recorded_names_exist():
    recorded = rules("record").keys()
    for name, rule in (rules("alert") | rules("record")).items():
        for used in re.findall(r"\brelance:[a-z0-9_:]+", rule["expr"]):
            assert used in recorded, f"{name} asks for {used}"


def test_the_cluster_has_the_same_rules():
    path = KUBERNETES / "components/monitoring/make-rules"
    loader = importlib.machinery.SourceFileLoader("make_rules", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_rules", loader))
    loader.exec_module(module)
    written = (path.parent / "rules.yaml").read_text()
    assert written == module.manifest(), f"run {path.relative_to(REPO)}"
    assert yaml.safe_load(written)["spec"]["groups"] == [
        group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
