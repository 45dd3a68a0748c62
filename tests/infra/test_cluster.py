"""A cluster of processes behind nginx, with the configuration that compose.yaml uses."""

from __future__ import annotations

from typing import Iterator

import pytest

pytest.register_assert_rewrite("cluster.load", "cluster.promises")

from cluster.processes import Processes
from cluster.promises import Promises


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    cluster = Processes()
    yield cluster
    cluster.close()


class TestProcesses(Promises):
    pass
