"""Who uses the processors of this machine, sampled while a load runs."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import common

INTERVAL = 1.0


@dataclass(frozen=True)
class Sample:
    """CPU-seconds spent so far, and the time of day at which they were read."""

    time: float
    service: float
    locust: float
    busy: float
    idle: float

    @classmethod
    def take(cls, service: int, locust: int) -> "Sample":
        """Of the process trees of two processes, and of the machine."""
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, idle, iowait, irq, softirq, steal = (int(field) / common.TICKS for field in fields)
        busy = user + nice + system + irq + softirq + steal
        return cls(time.time(), common.cpu_seconds(service), common.cpu_seconds(locust), busy, idle + iowait)


def watch(locust: subprocess.Popen, service: int | None, seconds: float) -> list[Sample]:
    """Waits for Locust to end, for `seconds` at most, and samples now and then if the service runs here."""
    samples = []
    end = time.monotonic() + seconds
    while True:
        if service:
            samples.append(Sample.take(service, locust.pid))
        try:
            locust.wait(min(INTERVAL, max(end - time.monotonic(), 0)))
            return samples
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                raise


def shares(samples: list[Sample], first: float, last: float) -> dict[str, float]:
    """CPUs in use by whom between two times of day, or the samples around them; empty without samples."""
    if len(samples) < 2:
        return {}
    begun = [sample for sample in samples[:-1] if sample.time <= first]
    start = begun[-1] if begun else samples[0]
    ended = [sample for sample in samples if sample.time >= last and sample.time > start.time]
    end = ended[0] if ended else samples[-1]
    used = {name: getattr(end, name) - getattr(start, name) for name in ("service", "locust", "busy", "idle")}
    used["others"] = max(used.pop("busy") - used["service"] - used["locust"], 0)
    seconds = end.time - start.time
    return {name: spent / seconds for name, spent in used.items()} | {"cpus": len(os.sched_getaffinity(0))}
