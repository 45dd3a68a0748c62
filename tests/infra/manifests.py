"""What kustomize makes of infra/kubernetes, and what the program says of itself."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
KUBERNETES = REPO / "infra/kubernetes"
OVERLAYS = ("aks", "kind")

Manifest = dict


@functools.cache
def rendered(overlay: str) -> str:
    """The manifests of an overlay, by kubectl's own kustomize."""
    own = REPO / ".tools/kubectl/kubectl"
    kubectl = own if own.is_file() else shutil.which("kubectl")
    if not kubectl:
        pytest.fail("kubectl is missing; scripts/install-tools test installs it", pytrace=False)
    command = [kubectl, "kustomize", KUBERNETES / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True)
    # Warnings tell of fields that kustomize has given up.
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@functools.cache
def objects(overlay: str) -> list[Manifest]:
    """To look at; who changes one takes a copy."""
    return list(yaml.load_all(rendered(overlay), Loader=yaml.CSafeLoader))


def of_kind(overlay: str, kind: str) -> dict[str, Manifest]:
    """Objects of one kind by name."""
    return {o["metadata"]["name"]: o for o in objects(overlay) if o["kind"] == kind}


def workload(overlay: str) -> Manifest:
    return of_kind(overlay, "StatefulSet")["relance"]


def pod(overlay: str) -> Manifest:
    """The pod's specification."""
    return workload(overlay)["spec"]["template"]["spec"]


def container(overlay: str) -> Manifest:
    (only,) = pod(overlay)["containers"]
    return only


def config(overlay: str) -> dict[str, str]:
    """Settings that the pod gets from its ConfigMap."""
    names = [source["configMapRef"]["name"] for source in container(overlay)["envFrom"]]
    maps = of_kind(overlay, "ConfigMap")
    return {key: value for name in names for key, value in maps[name]["data"].items()}


def settings() -> dict[str, str]:
    """Every setting of the program with its default, from the README's table, which is generated from the program."""
    readme = (REPO / "README.md").read_text()
    table = readme.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| `--[a-z-]+` \| (.*?) \|", table, re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def in_force(overlay: str, setting: str) -> int:
    """A number as the pod has it: from the manifests, else the program's default."""
    return int(config(overlay).get(setting, settings()[setting]))


def openapi_paths() -> set[str]:
    return set(json.loads((REPO / "openapi/openapi.json").read_text())["paths"])


def quantity(text: str) -> float:
    """Bytes or CPUs of a Kubernetes quantity."""
    number, unit = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|Ti)?", str(text)).groups()
    return float(number) * {None: 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}[unit]
