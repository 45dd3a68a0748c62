"""What telemetry costs: CPU time of one request with and without traces, in turn.

A sink beside the service takes the spans. Several rounds, each with all variants one after the other, so that what
the machine does meanwhile meets all alike; ratios are taken within a round.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--before", type=Path, help="another build of the service, to compare with")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    about = common.conditions()
    common.introduce(about)
    sink = subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        figures = rounds(given, endpoint)
    finally:
        sink.kill()
    print_table(figures, given)
    common.save(given.json, {"conditions": about, "figures": figures})


def rounds(given: argparse.Namespace, endpoint: str) -> dict:
    files = common.pictures("640x480")
    figures: dict[str, dict[str, list[dict]]] = {}
    with tempfile.TemporaryDirectory(prefix="relance-bench-") as temporary:
        folder = Path(temporary)
        program = common.built(folder)["relance"]
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        variants = {
            "off": (program, {}),
            "off again": (program, {}),
            "ratio 0.1": (program, {**traced, "TRACE_SAMPLE_RATIO": "0.1"}),
            "ratio 1": (program, {**traced, "TRACE_SAMPLE_RATIO": "1"}),
            "no limit": (program, {**traced, "TRACE_SAMPLE_RATIO": "1", "TRACE_MAX_PER_SECOND": "0"}),
        }
        if given.before:
            variants["before"] = (given.before, {})
        for number in range(given.rounds):
            names = list(variants)
            # Another one begins each round.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                binary, settings = variants[name]
                with common.Service(binary, folder, **settings) as service:
                    for kind, connections in {"cached": 32, "unique": 16}.items():
                        for seconds in (1, given.seconds):  # the first warms up
                            figure = common.wrk(
                                f"{service.url}/predict",
                                files,
                                pid=service.pid,
                                seconds=seconds,
                                connections=connections,
                                unique=kind == "unique",
                            )
                        figures.setdefault(kind, {}).setdefault(name, []).append(figure)
    return figures


def print_table(figures: dict, given: argparse.Namespace) -> None:
    rows = []
    for kind, variants in figures.items():
        base = [figure["cpu_ms"] for figure in variants["off"]]
        for name, repeats in variants.items():
            cpu = [figure["cpu_ms"] for figure in repeats]
            ratios = [one / other for one, other in zip(cpu, base)]
            rate = statistics.median(figure["per_second"] for figure in repeats)
            rows.append([kind, name, common.spread(cpu, 4), common.spread(ratios, 3), f"{rate:.0f}"])
    common.table(["pictures", "traces", "CPU-ms", "CPU ratio to off", "req/s"], rows)
    print(f"\nMedian (least–most) of {given.rounds} rounds of {given.seconds} s.")


if __name__ == "__main__":
    main()
