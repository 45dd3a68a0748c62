"""The parts of compose.yaml as processes on free ports, with nginx's configuration from there."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from .load import REPO, Answer, Front

BINARY = Path(os.environ.get("RELANCE_BINARY", REPO / "target/release/relance"))
MODEL = REPO / "tests/fixtures/models/yolov8n-cls-nc10-64.onnx"
AZURITE = REPO / ".tools/azurite/node_modules/.bin/azurite-blob"
# The key that everyone's emulator has.
BLOB_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PATIENCE = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def installed(name: str) -> str:
    # Debian keeps PostgreSQL's programs out of PATH, and nginx out of that of most users.
    newest_first = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    folders = [os.environ["PATH"], "/usr/sbin", *newest_first]
    return shutil.which(name, path=":".join(folders)) or pytest.fail(
        f"{name} is not installed: scripts/install-tools test", pytrace=False
    )


class Processes:
    """nginx, three instances, Redis, PostgreSQL and Azurite, all of them real."""

    instances = ["relance-1", "relance-2", "relance-3"]

    def __init__(self) -> None:
        if not BINARY.is_file():
            pytest.fail(f"there is no {BINARY}; build it first: cargo build --release", pytrace=False)
        if not AZURITE.exists():
            pytest.fail(f"there is no {AZURITE}: scripts/install-tools test", pytrace=False)
        self.answers: list[Answer] = []
        self.unclaimed = 0
        self._folder = Path(tempfile.mkdtemp(prefix="relance-cluster-"))
        self._folder.chmod(0o755)  # PostgreSQL and nginx's workers are other users when root starts them.
        self._running: dict[str, subprocess.Popen] = {}
        self._ports = {name: free_port() for name in [*self.instances, "nginx", "redis", "postgres", "azurite"]}
        self.front = Front(self._ports["nginx"])
        try:
            self._start_stores()
            for name in self.instances:
                self._spawn_instance(name)
            for name in self.instances:
                self._wait_ready(name)
            self._start_nginx()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        # PostgreSQL's children end only if it tells them to.
        for name, process in self._running.items():
            process.send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def terminate(self, name: str) -> int:
        process = self._running.pop(name)
        process.terminate()
        return process.wait(PATIENCE)

    def start(self, name: str) -> None:
        self._spawn_instance(name)
        self._wait_ready(name)

    def sql(self, query: str) -> list[str]:
        command = [installed("psql"), "-XAt", "-h", str(self._folder), "-p", str(self._ports["postgres"])]
        command += ["-U", "relance", "-d", "postgres", "-c", query]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def recorded(self) -> list[str]:
        return self.sql("select request_id from relance_requests")

    def access_log(self) -> list[dict]:
        lines = (self._folder / "nginx.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _spawn(self, name: str, command: list, **options) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
            )

    def _wait(self, name: str, is_there) -> None:
        end = time.monotonic() + PATIENCE
        while not is_there():
            if self._running[name].poll() is not None or time.monotonic() > end:
                log = (self._folder / f"{name}.log").read_text()
                pytest.fail(f"{name} did not start:\n{log[-4000:]}", pytrace=False)
            time.sleep(0.05)

    def _listens(self, name: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._ports[name])) == 0

    def _start_stores(self) -> None:
        ports = self._ports
        redis = [installed("redis-server"), "--bind", "127.0.0.1", "--port", ports["redis"], "--save", ""]
        self._spawn("redis", redis, cwd=self._folder)
        azurite = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", ports["azurite"], "--inMemoryPersistence"]
        self._spawn("azurite", [*azurite, "--silent", "--disableTelemetry", "--skipApiVersionCheck"], cwd=self._folder)
        self._start_postgres()
        self._wait("redis", lambda: self._listens("redis"))
        self._wait("azurite", lambda: self._listens("azurite"))
        setup = [installed("node"), REPO / "infra/local/azurite/create-container.js"]
        subprocess.run(setup, check=True, env={**os.environ, **self._blob()}, stdout=subprocess.DEVNULL)

    def _start_postgres(self) -> None:
        data = self._folder / "postgres"
        data.mkdir(mode=0o700)
        user = []
        if os.geteuid() == 0:
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(data, "postgres", "postgres")
        options = ["--auth=trust", "--username=relance", "--encoding=UTF8", "--locale=C", "--no-sync"]
        initdb = [*user, installed("initdb"), *options, "--pgdata", str(data)]
        subprocess.run(initdb, check=True, cwd="/", stdout=subprocess.DEVNULL)
        # Its socket is in a folder that it may write, and the clients may find.
        os.chmod(self._folder, 0o1777)
        server = [*user, installed("postgres"), "-D", data, "-p", self._ports["postgres"], "-c", "fsync=off"]
        for option in ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"):
            server += ["-c", option]
        self._spawn("postgres", server, cwd="/")
        ready = [installed("pg_isready"), "-q", "-h", str(self._folder), "-p", str(self._ports["postgres"])]
        self._wait("postgres", lambda: subprocess.run(ready).returncode == 0)

    def _start_nginx(self) -> None:
        home = self._folder / "nginx"
        shutil.copytree(REPO / "infra/local/nginx", home)
        config = (home / "nginx.conf").read_text()
        assert config.count("listen 8080;") == 1
        (home / "nginx.conf").write_text(config.replace("listen 8080;", f"listen 127.0.0.1:{self.front.port};"))
        line = (home / "servers.conf").read_text().splitlines(keepends=True)[-1]
        assert line.count("server relance:5000 ") == 1
        servers = [line.replace("relance:5000", f"127.0.0.1:{self._ports[name]}") for name in self.instances]
        (home / "servers.conf").write_text("".join(servers))
        self._spawn("nginx", [installed("nginx"), "-p", home, "-e", "stderr", "-c", home / "nginx.conf"])
        self._wait("nginx", lambda: self._listens("nginx"))

    def _blob(self) -> dict[str, str]:
        endpoint = f"http://127.0.0.1:{self._ports['azurite']}/devstoreaccount1"
        return {"AZURE_STORAGE_BLOB_ENDPOINT": endpoint, "AZURE_STORAGE_KEY": BLOB_KEY}

    def _spawn_instance(self, name: str) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "ORT_DYLIB_PATH") if key in os.environ}
        settings = {
            "INSTANCE_NAME": name,
            "PORT": str(self._ports[name]),
            "DATA_DIR": str(self._folder / name),
            "MODEL": str(MODEL),
            "WORKERS": "1",
            "TRUSTED_PROXIES": "1",
            "RATE_LIMIT_PER_MINUTE": "0",
            "MAX_QUEUE_MS": "5000",  # A test machine that has other work must not look like a cluster that is too busy.
            "DRAIN_DELAY_MS": "500",
            "FLUSH_TIMEOUT_MS": "1000",  # What is not in the stores by then must get there after the restart.
            "REDIS_URL": f"redis://127.0.0.1:{self._ports['redis']}",
            "DATABASE_URL": f"postgres://relance@127.0.0.1:{self._ports['postgres']}/postgres",
            **self._blob(),
        }
        self._spawn(name, [BINARY, "serve"], cwd=REPO, env={**kept, **settings})

    def _wait_ready(self, name: str) -> None:
        def is_ready() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self._ports[name], timeout=5)
            try:
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()

        self._wait(name, is_ready)
