"""The real program, started on a free port with a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("RELANCE_BINARY", REPO / "target/release/relance"))
FIXTURES = REPO / "tests/fixtures"
# Ten classes and an input of 64×64: quick, and not sure of anything.
SMALL_MODEL = FIXTURES / "models/yolov8n-cls-nc10-64.onnx"
PATIENCE = 30

# The tests talk to this machine only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Process:
    """A running instance with these settings and no others."""

    def __init__(self, settings: dict[str, str]):
        assert BINARY.is_file(), f"there is no {BINARY}; build it first: cargo build --release"
        # Of this process' environment it gets only what it cannot do without.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "ORT_DYLIB_PATH", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [BINARY, "serve"], cwd=REPO, env={**kept, **settings}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        self.log: list[str] = []
        self.url = self.grpc = ""
        started = threading.Event()
        threading.Thread(target=self._read_log, args=(started,), daemon=True).start()
        started.wait(PATIENCE)
        if not self.url:
            self.stop()
            raise AssertionError("the service did not start:\n" + "".join(self.log))

    def _read_log(self, started: threading.Event) -> None:
        for line in self.process.stderr or ():
            self.log.append(line)
            if ready := re.search(r"ready on (http://[\w.:\[\]-]+)", line):
                self.url = ready[1]
                grpc = re.search(r"\bgrpc=(\S+)", line)
                self.grpc = grpc[1] if grpc else ""
                started.set()
        started.set()

    def stop(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()


class Service(Process):
    """A running instance on a free port, with the small model, a folder of its own and no limit of requests."""

    def __init__(self, data: Path, **settings: str):
        usual = {"PORT": "0", "DATA_DIR": str(data), "MODEL": str(SMALL_MODEL), "RATE_LIMIT_PER_MINUTE": "0"}
        super().__init__({**usual, **settings})
