"""The real service, started as a container of App Service would start it: by its environment alone."""

import os
import re
import subprocess
import threading
import urllib.request
from pathlib import Path

REPO = Path(__file__).parents[2]
BINARY = REPO / "target" / "release" / "relance"
SAMPLE = REPO / "models" / "samples" / "aberta-1.jpg"
PATIENCE = 30

# The tests talk to this machine only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Service:
    def __init__(self, settings):
        assert BINARY.is_file(), f"there is no {BINARY}; build it first: cargo build --release"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "ORT_DYLIB_PATH", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [BINARY, "serve"], cwd=REPO, env=kept | settings, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        self.log = []
        self.url = ""
        self.started = threading.Event()
        threading.Thread(target=self._read_log, daemon=True).start()
        self.started.wait(PATIENCE)
        if not self.url:
            self.stop()
            raise AssertionError("the service did not start:\n" + "".join(self.log))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)
            if ready := re.search(r"ready on (http://[\w.:]+)", line):
                self.url = ready[1]
                self.started.set()
        self.started.set()

    def stop(self):
        self.process.kill()
        self.process.wait()
