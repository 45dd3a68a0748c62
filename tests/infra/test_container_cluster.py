"""compose.yaml. Run by `make test-container`."""

from __future__ import annotations

import json
import urllib.request
from typing import Iterator

import pytest

pytest.register_assert_rewrite("cluster.load", "cluster.promises")

from cluster.containers import Containers
from cluster.docker import inspect, wait_healthy
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
        assert {"relance-1:9100", "relance-2:9100"} < {target["labels"]["instance"] for target in up()}

    def test_all_are_healthy_with_no_rights_and_reached_from_this_machine_only(self, cluster):
        running = cluster.running()
        assert len(running) == 8
        for container in running:
            about = inspect(container)
            if "Health" in about["State"]:
                wait_healthy(container)
            name, host = about["Name"], about["HostConfig"]
            for bindings in (host["PortBindings"] or {}).values():
                assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, name
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], name
            assert "no-new-privileges:true" in host["SecurityOpt"], name
            assert host["Memory"] > 0 and host["PidsLimit"] > 0, name
