"""Calls the `docker` command. `make test-container` needs it; without it the tests fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

IMAGE = os.environ.get("RELANCE_IMAGE", "relance")
PATIENCE = 120


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """One command; fails with what it says on standard error."""
    if not shutil.which("docker"):
        pytest.fail("there is no docker command: these tests need a Docker engine", pytrace=False)
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: {done.stderr.strip()}", pytrace=False)
    return done


def need_image() -> None:
    """Fails if there is no engine or no image."""
    docker("info")
    if docker("image", "inspect", IMAGE, check=False).returncode:
        pytest.fail(f"there is no image {IMAGE}: docker build -t {IMAGE} .", pytrace=False)


def inspect(thing: str) -> dict:
    return json.loads(docker("inspect", thing).stdout)[0]


def logs(container: str) -> str:
    done = docker("logs", container)
    return done.stdout + done.stderr


def wait_healthy(container: str) -> None:
    """Waits until the container's own health check succeeds."""
    end = time.monotonic() + PATIENCE
    while True:
        state = inspect(container)["State"]
        if state["Running"] and state["Health"]["Status"] == "healthy":
            return
        if not state["Running"] or time.monotonic() > end:
            pytest.fail(f"not healthy: {state}\n{logs(container)[-4000:]}", pytrace=False)
        time.sleep(0.2)
