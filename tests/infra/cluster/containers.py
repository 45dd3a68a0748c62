"""compose.yaml, run by `docker compose` or the older `docker-compose`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from .docker import IMAGE, docker, inspect, logs, need_image, wait_healthy
from .load import REPO, Answer, Front
from .processes import free_port

PROJECT = "relance-test"
# What is published, and what nginx and Prometheus need.
SERVICES = ["nginx", "prometheus"]


class Containers:
    """All of compose.yaml but Grafana, with empty volumes."""

    def __init__(self) -> None:
        need_image()
        v2 = docker("compose", "version", check=False).returncode == 0
        if not v2 and not shutil.which("docker-compose"):
            pytest.fail("there is neither docker compose nor docker-compose", pytrace=False)
        self._command = ["docker", "compose"] if v2 else ["docker-compose"]
        self.prometheus = free_port()
        self.front = Front(free_port())
        self.answers: list[Answer] = []
        self.unclaimed = 0
        self._compose("down", "--volumes", "--remove-orphans")
        try:
            self._compose("up", "-d", *SERVICES)
            self._containers = {"relance-1": self.service("relance-1"), "relance-2": self.service("relance-2")}
            more = self.service("relance-more")
            self._containers[inspect(more)["Config"]["Hostname"]] = more
            wait_healthy(self.service("nginx"))
        except BaseException:
            self.close()
            raise
        self.instances = list(self._containers)

    def close(self) -> None:
        self._compose("down", "--volumes", "--timeout", "5")

    def service(self, name: str) -> str:
        """Identifier of the container of a service that has one."""
        [container] = self.running("--filter", f"label=com.docker.compose.service={name}")
        return container

    def running(self, *filters: str) -> list[str]:
        """Identifiers of its containers."""
        project = f"label=com.docker.compose.project={PROJECT}"
        return docker("ps", "-q", "--filter", project, *filters).stdout.split()

    def kill(self, name: str) -> None:
        docker("kill", self._containers[name])

    def terminate(self, name: str) -> int:
        docker("stop", "--time", "40", self._containers[name])
        return inspect(self._containers[name])["State"]["ExitCode"]

    def start(self, name: str) -> None:
        docker("start", self._containers[name])
        wait_healthy(self._containers[name])

    def sql(self, query: str) -> list[str]:
        psql = ["psql", "-XAt", "-h", "127.0.0.1", "-U", "relance", "-d", "relance", "-c", query]
        return docker("exec", "-e", "PGPASSWORD=relance", self.service("postgres"), *psql).stdout.split()

    def recorded(self) -> list[str]:
        return self.sql("select request_id from relance_requests")

    def access_log(self) -> list[dict]:
        return [json.loads(line) for line in logs(self.service("nginx")).splitlines() if line.startswith("{")]

    def _compose(self, *arguments: str) -> None:
        settings = {
            "PORT": str(self.front.port),
            "PROMETHEUS_PORT": str(self.prometheus),
            "RATE_LIMIT_PER_MINUTE": "0",
            "MAX_QUEUE_MS": "5000",  # A test machine that has other work must not look like a cluster that is too busy.
            "RELANCE_IMAGE": IMAGE,
            "POSTGRES_PASSWORD": "relance",
        }
        command = [*self._command, "--project-name", PROJECT, "--file", str(REPO / "compose.yaml"), *arguments]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"{' '.join(command)}: {done.stderr[-4000:]}", pytrace=False)
