"""The service does what its description says, whatever is sent."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from service import PATIENCE, REPO, Service, http

CONFIG = Path(__file__).parent / "schemathesis.toml"
SCHEMATHESIS = REPO / ".tools/contract/bin/st"
USER, PASSWORD = "ana", "a-password"
LEAST_CASES = 5_000


def readable(report: str) -> str:
    """The report without the bytes of pictures."""
    return "\n".join(line[:400] for line in report.splitlines())[-20_000:]


def test_the_service_keeps_to_its_description(tmp_path: Path) -> None:
    assert SCHEMATHESIS.is_file(), f"there is no {SCHEMATHESIS}: scripts/install-tools test"
    service = Service(tmp_path, API_USERNAME=USER, API_PASSWORD=PASSWORD)
    try:
        command = [
            SCHEMATHESIS, "--config-file", CONFIG, "run", f"{service.url}/openapi.json", "--auth", f"{USER}:{PASSWORD}",
            "--continue-on-failure", "--max-examples", "450", "--seed", "1", "--request-timeout", str(PATIENCE),
        ]
        environment = {**os.environ, "PYTHONPATH": str(CONFIG.parent)}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert ran.returncode == 0, readable(ran.stdout + ran.stderr)
        generated = re.search(r"([\d,]+) generated", ran.stdout)
        assert generated and int(generated[1].replace(",", "")) >= LEAST_CASES, readable(ran.stdout)
        assert http.open(f"{service.url}/health/ready", timeout=PATIENCE).status == 200
        assert not [line for line in service.log if "panicked" in line]
    finally:
        service.stop()
