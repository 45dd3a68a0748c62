"""Runs a load scenario with Locust against a local instance that it starts, or against HOST_URL.

usage: bench/loadtest SCENARIO   (one of bench/loadtest/scenarios.py, or `all`)

Locust needs an environment of its own: run it as `make loadtest`. Variables: HOST_URL and, for a service of several
instances, METRICS_URLS (the /metrics of each, comma separated); API_USERNAME and API_PASSWORD, or API_KEY; DURATION,
WAIT and PROCESSES to change the scenario. Reports go to the folder --out: HTML, Markdown and JSON.

Exits with 1 if a request failed, none was answered, an answer lacks its record or /metrics does not confirm it, and
with 2 if it could not run.
"""

import argparse
import hashlib
import json
import os
import resource
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common  # noqa: E402
from loadtest import exposition, report, web  # noqa: E402
from loadtest.outcome import Outcome  # noqa: E402
from loadtest.processors import Sample, watch  # noqa: E402
from loadtest.scenarios import ALL, SCENARIOS, STOP_TIMEOUT, Scenario, find  # noqa: E402

# Locust's workers have other files open than connections, and so has the service.
SPARE_FILES = 500
# A hundred thousand new pictures and the records of a million requests.
FREE_BYTES = 6 << 30
# How long Locust may take to start, to let the last requests end, and to write its report.
MARGIN = 90


class CannotRun(Exception):
    """One sentence that says what to mend."""


def options() -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="bench/loadtest", description=__doc__, formatter_class=about)
    parser.add_argument("scenario", choices=[*SCENARIOS, "all"])
    parser.add_argument("--program", type=Path, default=common.ROOT / "target/release/relance")
    parser.add_argument("--locust", type=Path, default=common.ROOT / ".tools/locust/bin/locust")
    parser.add_argument("--out", type=Path, default=common.ROOT / "target/loadtest", help="folder for the reports")
    return parser.parse_args()


def processes() -> int:
    """How many workers Locust has: one for each CPU unless told otherwise."""
    text = os.environ.get("PROCESSES") or str(len(os.sched_getaffinity(0)))
    if not text.isdecimal() or int(text) < 1:
        raise CannotRun(f"PROCESSES is {text!r}; accepted are whole numbers from 1 up")
    return int(text)


def allow_files(needed: int) -> None:
    """Raises the limit on open files of this process and those that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        most = max(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return
    except (ValueError, PermissionError):
        pass
    raise CannotRun(
        f"this needs {needed:,} open files and the limit is {hard:,}: raise it (`ulimit -Hn`, LimitNOFILE=, "
        "--ulimit nofile=) or choose fewer users"
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def check_target(url: str) -> None:
    """Fails unless the service is there and lets us in."""
    try:
        web.get(f"{url}/models")
    except urllib.error.HTTPError as error:
        hint = "; set API_USERNAME and API_PASSWORD, or API_KEY" if error.code == 401 else ""
        raise CannotRun(f"{url}/models answers {error.code}{hint}") from None
    except (OSError, ValueError) as error:
        raise CannotRun(f"{url} does not answer: {error}") from None


def load(
    given: argparse.Namespace, name: str, scenario: Scenario, url: str, pid: int | None
) -> tuple[dict, list, list[Sample]]:
    """Runs Locust, and the probe beside it; what both tell, and who used the processors."""
    facts = given.out / f"{name}.locust.json"
    facts.unlink(missing_ok=True)
    port = str(free_port())
    command = [given.locust, "-f", common.ROOT / "locustfile.py", "--headless", "--host", url, "--only-summary"]
    command += ["--processes", str(processes()), "--master-bind-host", "127.0.0.1"]
    command += ["--master-bind-port", port, "--master-port", port]
    command += ["--html", given.out / f"{name}.html", "--stop-timeout", str(STOP_TIMEOUT), "--exit-code-on-error", "0"]
    env = {**os.environ, "SCENARIO": name, "LOADTEST_FACTS": str(facts), "PYTHONUNBUFFERED": "1"}
    log = given.out / f"{name}.log"
    probe = [sys.executable, Path(__file__).with_name("probe.py"), url]
    with (
        log.open("wb") as out,
        subprocess.Popen(probe, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as prober,
    ):
        locust = subprocess.Popen(
            command, cwd=common.ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            samples = watch(locust, pid, scenario.seconds + MARGIN)
        except subprocess.TimeoutExpired:
            raise CannotRun(f"Locust did not end; {log} has what it said") from None
        finally:
            if locust.poll() is None:
                # The group is Locust and its workers, nothing else.
                os.killpg(locust.pid, 9)
                locust.wait()
            told, _ = prober.communicate()
    found = json.loads(facts.read_text()) if facts.is_file() else {}
    if locust.returncode or not found.get("stats"):
        # The last lines are its tables.
        said = [line for line in log.read_text().splitlines() if "ERROR" in line or "Error" in line]
        raise CannotRun("\n".join([f"no request was sent; Locust ended with {locust.returncode}, see {log}", *said]))
    return found, json.loads(told), samples


def measure(given: argparse.Namespace, name: str, url: str, metrics: list[str], pid: int | None) -> Outcome:
    """One scenario against a service that is there."""
    scenario = find(name, seconds=os.environ.get("DURATION"), wait=os.environ.get("WAIT"))
    files = SPARE_FILES + (scenario.users if pid else -(-scenario.users // processes()))
    allow_files(files)
    check_target(url)
    before, why = None, None
    try:
        before = exposition.read(metrics)
    except exposition.Unreadable as error:
        why = str(error)
    told, probe, samples = load(given, name, scenario, url, pid)
    outcome = Outcome(name, scenario, told, probe, samples, no_metrics=why)
    if before is not None:
        try:
            outcome.metrics = exposition.Difference(before, exposition.read(metrics))
            outcome.metrics.check()
            if len(outcome.instances) > len(metrics):
                raise exposition.Unreadable(f"{len(outcome.instances)} instances answered; give METRICS_URLS of all")
        except exposition.Unreadable as error:
            outcome.metrics, outcome.no_metrics = None, str(error)
    return outcome


def settings() -> dict[str, str]:
    """Of an instance of our own: no limit for each client, and credentials, as a service in the open has.

    Requests get more time, because a load generator that shares the processors may take seconds to send a body that
    it has begun. How long a picture may wait for a worker stays as it is.
    """
    ours = {"RATE_LIMIT_PER_MINUTE": "0", "REQUEST_TIMEOUT_MS": "60000", "INSTANCE_NAME": "loadtest"}
    if not os.environ.get("API_USERNAME"):
        key = os.environ.setdefault("API_KEY", secrets.token_urlsafe(24))
        ours["API_KEYS"] = f"loadtest:{hashlib.sha256(key.encode()).hexdigest()}"
    return ours


def local(given: argparse.Namespace, name: str) -> Outcome:
    """One scenario against a new instance on this machine."""
    if not given.program.is_file():
        raise CannotRun(f"there is no {given.program}: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="relance-loadtest-") as temporary:
        if SCENARIOS[name].users >= 1000 and shutil.disk_usage(temporary).free < FREE_BYTES:
            raise CannotRun(f"{temporary} has less than {FREE_BYTES >> 30} GiB free; set TMPDIR to a disk that has")
        allow_files(SCENARIOS[name].users + SPARE_FILES)
        with common.Service(given.program, Path(temporary), **settings()) as service:
            outcome = measure(given, name, service.url, [f"{service.url}/metrics"], service.pid)
        with sqlite3.connect(service.data / "data" / "relance.db") as database:
            outcome.records = database.execute("SELECT count(*) FROM requests").fetchone()[0]
        database.close()
        return outcome


def main() -> int:
    given = options()
    url = os.environ.get("HOST_URL", "").rstrip("/")
    metrics = (os.environ.get("METRICS_URLS") or f"{url}/metrics").split(",")
    names = ALL if given.scenario == "all" else (given.scenario,)
    about = common.conditions()
    target = url or "An instance on this machine"
    outcomes: dict[str, Outcome] = {}
    try:
        if "@" in urlsplit(url).netloc:
            raise CannotRun("HOST_URL holds credentials; give them as API_USERNAME and API_PASSWORD, or API_KEY")
        if not given.locust.is_file():
            raise CannotRun(f"there is no {given.locust}: scripts/install-tools loadtest")
        given.out.mkdir(parents=True, exist_ok=True)
        for name in names:
            print(f"{name}: {find(name).users:,} users …", flush=True)
            outcomes[name] = measure(given, name, url, metrics, None) if url else local(given, name)
            text = report.markdown(outcomes, about, target)
            (given.out / "summary.md").write_text(text)
            plain = {"conditions": about, "scenarios": {key: report.plain(one) for key, one in outcomes.items()}}
            (given.out / "summary.json").write_text(json.dumps(plain, indent=1) + "\n")
    except (CannotRun, ValueError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    print(text)
    print(f"In {given.out}: summary.md, summary.json, and Locust's report of each scenario as HTML.")
    good = all(
        one.answers and not one.failures and not one.lost and one.counted_by_service in (None, one.predictions)
        for one in outcomes.values()
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
