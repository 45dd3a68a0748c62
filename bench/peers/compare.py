"""relance beside other ways to serve the same model, each with two workers.

Same pictures (640×480, all different), same preparation, same model, 32 connections that ask as fast as they
are answered. Each starts alone, shows that it finds the right classes, and is measured; then the next. CPU
time and memory are those of the whole process tree.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import common
from common import ROOT, spread

BIN = HERE / ".venv/bin"
CONNECTIONS = 32
# Command lines, where it is not the service itself; PORT stands for the port.
PEERS = {
    "relance": None,
    "Flask + Ultralytics": [BIN / "gunicorn", "-w2", "-b127.0.0.1:PORT", "--log-level=error", "flask_ultralytics:app"],
    "FastAPI + ONNX Runtime": [
        *[BIN / "uvicorn", "--workers=2", "--port=PORT", "--loop=uvloop", "--http=httptools"],
        *["--log-level=error", "--no-access-log", "fastapi_onnx:app"],
    ],
    "LitServe": [BIN / "python", "litserve_onnx.py"],
    "BentoML": [BIN / "bentoml", "serve", "bentoml_onnx:Peer", "--host=127.0.0.1", "--port=PORT"],
    "Mosec": [BIN / "python", "mosec_onnx.py", "--address=127.0.0.1", "--port=PORT", "--timeout=60000"],
}
FORMS = {"BentoML"}  # takes files in forms only


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short repeat")
    parser.add_argument("--repeats", type=int, help="default: 3, or 1 with --quick")
    parser.add_argument("--seconds", type=int, help="of each measurement; default: 8, or 4 with --quick")
    parser.add_argument("--only", choices=PEERS, action="append", help="may be repeated")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 3)
    given.seconds = given.seconds or (4 if given.quick else 8)
    return given


class Peer:
    """A server other than relance, in a process group of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        env = common.environment(PORT=port, OMP_NUM_THREADS="1", BENTOML_DO_NOT_TRACK="true", BENTOML_HOME=folder)
        env["PATH"] = f"{BIN}:{env['PATH']}"
        if name == "Flask + Ultralytics":  # torch and ultralytics are those of the tests
            env["PYTHONPATH"] = str(next((ROOT / ".venv/lib").glob("python3*/site-packages")))
        command = [str(part).replace("PORT", port) for part in PEERS[name]]
        self.log = folder / f"{name.split()[0]}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=HERE, env=env, stdout=log, stderr=log, start_new_session=True, preexec_fn=common.many_files
            )
        self.pid, self.url = self.process.pid, f"http://127.0.0.1:{port}"

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def ask(url: str, picture: Path, body: str) -> str:
    """The class that a server finds."""
    data, kind = picture.read_bytes(), "image/jpeg"
    if body == "form":
        head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        data, kind = head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
    request = urllib.request.Request(f"{url}/predict", data, {"Content-Type": kind})
    return json.load(urllib.request.urlopen(request, timeout=10))["prediction"]


def wait(server, picture: Path, body: str) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            ask(server.url, picture, body)
            return
        except OSError as error:
            if time.monotonic() > end or server.process.poll() is not None:
                raise SystemExit(f"no answer: {error}\n{server.log.read_text()[-3000:]}") from error
            time.sleep(0.2)


def measure(name: str, programs: dict[str, Path], folder: Path, seconds: int) -> dict:
    body = "form" if name in FORMS else "body"
    samples = sorted((ROOT / "models/samples").glob("*.jpg"))
    server = Peer(name, folder) if PEERS[name] else common.Service(programs["relance"], folder, WORKERS="2")
    with server:
        wait(server, samples[0], body)
        wrong = [sample.name for sample in samples if ask(server.url, sample, body) != sample.stem.split("-")[0]]
        if wrong:
            raise SystemExit(f"{name} finds another class in {', '.join(wrong)}")
        for time in (2, seconds):  # the first warms up
            result = common.wrk(
                f"{server.url}/predict",
                common.pictures("640x480"),
                pid=server.pid,
                seconds=time,
                connections=CONNECTIONS,
                unique=True,
                body=body,
            )
    return result


def main() -> None:
    given = options()
    result = {"conditions": common.conditions(), "seconds": given.seconds, "repeats": {}}
    common.introduce(result["conditions"])
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        programs = common.built(Path(temporary))
        for _ in range(given.repeats):
            for name in given.only or PEERS:
                repeat = measure(name, programs, Path(temporary), given.seconds)
                result["repeats"].setdefault(name, []).append(repeat)
    first = next(iter(result["repeats"].values()))
    rows = []
    for name, repeats in result["repeats"].items():
        column = lambda field: [repeat[field] for repeat in repeats]
        ratios = [one["cpu_ms"] / base["cpu_ms"] for one, base in zip(repeats, first)]
        rows.append([
            *[name, spread(column("per_second")), spread(column("cpu_ms")), spread(ratios)],
            *[spread(column("rss_mb"), 0), spread(column("p50_ms"), 0), spread(column("p99_ms"), 0)],
            *[f"{sum(column('requests'))}", f"{sum(column('errors'))}"],
        ])
    head = ["server", "req/s", "CPU-ms", "CPU ratio", "RSS MB", "p50 ms", "p99 ms", "pictures", "errors"]
    common.table(head, rows)
    print(f"\nMedian (least–most) of {given.repeats} repeats of {given.seconds} s; the ratio is to {next(iter(result['repeats']))}.")
    common.save(given.json, result)


if __name__ == "__main__":
    main()
