"""Freed memory stays in the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource
import torch
import memory

{call}
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, 1, 1), torch.nn.ReLU(), torch.nn.Conv2d(32, 8, 3, 1, 1))
pictures = torch.rand(8, 3, 256, 256)

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for step in range(10):
    if step == 4:
        before = pages()
    network(pictures).sum().backward()
print(pages() - before)
"""


# 32 MB that now and then come only after the fourth step, once
LATE_PAGES = 8192


def pages_of_six_steps(call: str) -> int:
    """Pages that the kernel gives to a training that has had all it needs before."""
    command = [sys.executable, "-c", PROGRAM.format(call=call)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_a_step_takes_no_memory_from_the_kernel() -> None:
    kept, usual = pages_of_six_steps("assert memory.keep_freed_memory()"), pages_of_six_steps("")
    assert usual > 100_000
    assert kept < 1000 + LATE_PAGES
