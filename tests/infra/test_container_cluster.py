"""compose.yaml. Run by `make test-container`."""

from __future__ import annotations

import json
import urllib.request
from typing import Iterator

import pytest

pytest.register_assert_rewrite("cluster.load", "cluster.promises")

from cluster.containers import Containers
from cluster.docker import docker, inspect
from cluster.promises import Promises, eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[Containers]:
    cluster = Containers()
    yield cluster
    cluster.close()


class TestContainers(Promises):
    def test_prometheus_finds_every_instance(self, cluster):
        def targets() -> list[dict]:
            address = f"http://127.0.0.1:{cluster.prometheus}/api/v1/targets?state=active"
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]["activeTargets"]

        up = lambda: [t for t in targets() if t["labels"]["job"] == "relance" and t["health"] == "up"]
        eventually(lambda: len(up()) == 3, "three instances that are up")
        assert {"relance-1:5000", "relance-2:5000"} < {target["labels"]["instance"] for target in up()}

    def test_only_this_machine_can_reach_it_and_nothing_has_rights(self, cluster):
        label = "label=com.docker.compose.project=relance-test"
        for container in docker("ps", "-q", "--filter", label).stdout.split():
            about = inspect(container)
            name, host = about["Name"], about["HostConfig"]
            for bindings in (host["PortBindings"] or {}).values():
                assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, name
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], name
            assert "no-new-privileges:true" in host["SecurityOpt"], name
            assert host["Memory"] > 0 and host["PidsLimit"] > 0, name
