"""Asks for /health ten times a second over new connections, as a load balancer would, until its input ends.

A process of its own: Locust's clock includes the time for which its own Python keeps an answer waiting.
Prints [[seconds since the start, milliseconds, status], …]; status 0 means no answer.
"""

import http.client
import json
import os
import select
import sys
import time
from urllib.parse import urlsplit

INTERVAL = 0.1
PATIENCE = 30


def ask(url: str) -> int:
    """The status of one request over a new connection."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path.rstrip("/") + "/health")
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main() -> None:
    # On a machine of its own it would not wait for the processor either.
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        pass
    results = []
    start = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0, start + INTERVAL * len(results) - time.monotonic()))[0]:
        before = time.monotonic()
        status = ask(sys.argv[1])
        results.append([before - start, (time.monotonic() - before) * 1e3, status])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
