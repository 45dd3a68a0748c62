"""What the measurements share: programs, the service as a process, the load, medians and tables."""

import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
# That keep it busy, with pictures that are new and with one that is known.
CONNECTIONS = {"unique": 16, "cached": 64}

# So that what was started is ended.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def built(folder: Path) -> dict[str, Path]:
    """Builds the service and the programs of bench/, and copies them, so that all repeats run the same ones."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--message-format=json"]
    command += ["--bin", "relance", "--bench", "limit", "--bench", "load"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = {}
    for message in map(json.loads, lines):
        if message.get("executable"):
            name = message["target"]["name"]
            programs[name] = Path(shutil.copy(message["executable"], folder / name))
    return programs


def pictures(size: str) -> list[str]:
    """The pictures of a size; made first if they are not there."""
    folder = ROOT / "bench" / "pictures" / size
    if not list(folder.glob("*.jpg")):
        subprocess.run([ROOT / ".venv/bin/python", ROOT / "bench/pictures.py"], check=True)
    return sorted(str(path) for path in folder.glob("*.jpg"))


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program: the model and library of this repository, no rate limit, then `settings`."""
    ours = {
        "MODEL": ROOT / "models/bottle-n.onnx",
        "ORT_DYLIB_PATH": ROOT / "lib/libonnxruntime.so",
        "RATE_LIMIT_PER_MINUTE": 0,
    }
    return {**os.environ, **{name: str(value) for name, value in {**ours, **settings}.items()}}


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, those that have ended included."""
    ticks = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(") ", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))
        except OSError:
            continue
    return ticks / TICKS


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Memory of a process and its descendants: VmRSS is now, VmHWM the most there was."""
    kilobytes = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
    return kilobytes / 1024


def fill_page_cache(folder: Path) -> None:
    """Leaves no memory free, as on a machine that has been up for a while: reads a large file with nothing in it.

    A virtual machine may have to get each free page from its host first, which makes new files ten times as dear.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree:"))
    with tempfile.NamedTemporaryFile(prefix="nothing-", dir=folder, delete=False) as file:
        file.truncate(free)
        while file.read(1 << 24):
            pass


class Service:
    """The service on a free port, with an empty data folder.

    The folder stays until `folder` goes: for minutes after files were deleted, ext4 is slow to make new ones.
    """

    def __init__(self, program: Path, folder: Path, before=None, **settings: str) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="data-", dir=folder))
        self.log = self.data / "log"
        env = environment(HOST="127.0.0.1", PORT="0", DATA_DIR=self.data / "data", DRAIN_DELAY_MS="0", **settings)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "serve"], cwd=ROOT, env=env, stdout=log, stderr=log, preexec_fn=before or many_files
            )
        self.pid = self.process.pid
        self.url = self._address()

    def _address(self) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            log = self.log.read_text()
            if "ready on http://" in log:
                return "http://" + log.split("ready on http://")[1].split()[0].strip("\x1b[0m")
            time.sleep(0.02)
        raise SystemExit(f"the service did not start:\n{self.log.read_text()}")

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def many_files() -> None:
    """Allows as many connections as the system lets a process have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def has_setting(program: Path, name: str) -> bool:
    """Whether the service knows a setting."""
    text = subprocess.run([program, "serve", "--help"], check=True, capture_output=True, text=True).stdout
    return f"[env: {name}=" in text


def wrk(
    url: str, files: list[str], *, pid: int, seconds: int, connections: int, unique: bool, body: str = "form"
) -> dict:
    """Loads `url` with as many requests as it answers, and tells what the process tree of `pid` used for them."""
    run = str(time.monotonic_ns())
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "20s", "-s", ROOT / "bench/predict.lua"]
    command += [url, "--", "unique" if unique else "same", body, run, *files]
    cpu, own = cpu_seconds(pid), resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(pid) - cpu
    load = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    good = max(result["requests"] - result["refused"], 1)
    return {
        **result,
        "per_second": good / result["seconds"],
        "cpu_ms": 1e3 * used / good,
        "rss_mb": memory_mb(pid),
        "errors": result["refused"] + result["broken"],
        "load_cpu_share": (load.ru_utime + load.ru_stime - own.ru_utime - own.ru_stime) / result["seconds"],
    }


def spread(values: list[float], digits: int | None = None) -> str:
    """Median, least and most."""
    middle = statistics.median(values)
    if digits is None:
        digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Prints a table in Markdown."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    print(line(head))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        print(line(row))


def conditions() -> dict:
    """Where this was measured, and what else ran."""
    cpu = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src", "Cargo.lock"], cwd=ROOT).returncode
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "commit": commit.strip() + ("+changes" if changed else ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def introduce(about: dict) -> None:
    """Says in one line where the figures come from."""
    print(f"{about['cpu']}, {about['cpus']} CPUs, load before {about['load_before']:.1f}, commit {about['commit']}\n")


def save(path: str | None, result: dict) -> None:
    """Writes all figures as JSON."""
    if path:
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
