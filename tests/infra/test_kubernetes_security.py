"""checkov has nothing to say about the manifests that infra/kubernetes/checkov.yaml does not explain."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict

import pytest
import yaml

from manifests import KUBERNETES, OVERLAYS, REPO, container, rendered

CHECKOV = REPO / ".tools/checkov/bin/checkov"


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The checks that fail, by file: the overlays', and one of a pod that is as careless as can be."""
    if not CHECKOV.is_file():
        pytest.fail("checkov is missing; scripts/install-tools test installs it", pytrace=False)
    folder = tmp_path_factory.mktemp("manifests")
    for overlay in OVERLAYS:
        (folder / f"{overlay}.yaml").write_text(rendered(overlay))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "careless", "namespace": "relance"},
           "spec": {"containers": [{**container("kind"), "securityContext": {"privileged": True}}]}}
    (folder / "careless.yaml").write_text(yaml.safe_dump(pod))
    command = [CHECKOV, "--framework", "kubernetes", "--directory", folder, "--skip-download", "--output", "json"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout)
    assert report["summary"]["parsing_errors"] == 0 and report["summary"]["passed"] > 150, report["summary"]
    checks = defaultdict(set)
    for check in report["results"]["failed_checks"]:
        checks[check["file_path"].strip("/")].add(check["check_id"])
    return checks


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_what_is_explained_is_found(overlay: str, failed: dict[str, set[str]]):
    explained = set(yaml.safe_load((KUBERNETES / "checkov.yaml").read_text())["skip-check"])
    assert failed[f"{overlay}.yaml"] == explained


def test_a_careless_pod_would_be_found(failed: dict[str, set[str]]):
    assert {"CKV_K8S_16", "CKV_K8S_22"} <= failed["careless.yaml"], "privileged, and a root that can be written"
