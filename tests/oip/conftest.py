"""Instances for the tests of the inference protocol."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Iterator

import pytest

from instance import KEY, PASSWORD, USER, Instance


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance for all tests that change nothing of it."""
    instance = Instance(tmp_path_factory.mktemp("service") / "data")
    yield instance
    instance.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts instances with settings of their own; `data` keeps a folder from one to the next."""
    running: list[Instance] = []

    def begin(data: str = "data", **settings: str) -> Instance:
        running.append(Instance(tmp_path / data, **settings))
        return running[-1]

    yield begin
    for instance in running:
        instance.stop()


@pytest.fixture
def guarded(start: Any) -> Instance:
    """An instance that needs credentials: basic ones, or a key of the client `ci`."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return start(API_USERNAME=USER, API_PASSWORD=PASSWORD, API_KEYS=f"ci:{digest}")
