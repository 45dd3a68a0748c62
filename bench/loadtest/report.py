"""Tables for people, and the same figures for programs."""

import math

from loadtest.outcome import Outcome

HEALTH_MS = 100
STEADY = 0.95

# Answers a second that comparable services in Flask, in clusters on Azure, have published for as many users.
PUBLISHED = {"1000": 476, "2500": 1195, "7500": 1000}


def figure(value: float | None, digits: int = 0) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:,.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def targets(outcomes: dict[str, Outcome]) -> list[tuple[str, str, bool]]:
    """What was to be reached: (target, measured, whether)."""
    judged = []
    for name, one in outcomes.items():
        judged.append((f"{name}: no failures but refusals with Retry-After", figure(one.failures), one.failures == 0))
        health = one.health_quantile(0.99)
        judged.append((f"{name}: p99 of /health ≤ {HEALTH_MS} ms", f"{figure(health, 1)} ms", health <= HEALTH_MS))
        if (lost := one.lost) is not None:
            judged.append((f"{name}: no answer without its record", figure(lost), lost == 0))
            judged.append((f"{name}: no known picture classified again", figure(one.again), one.again == 0))
        if published := PUBLISHED.get(name):
            judged.append((f"{name}: more than {published} answers/s", figure(one.rate), one.rate > published))
    if "2500" in outcomes:
        base = outcomes["2500"].rate
        for name in ("5000", "7500"):
            if name in outcomes:
                ratio = outcomes[name].rate / base if base else 0.0
                judged.append((f"{name}: at least {STEADY} × the answers/s of 2500", figure(ratio, 2), ratio >= STEADY))
    return judged


def markdown(outcomes: dict[str, Outcome], about: dict, target: str) -> str:
    """The whole report."""
    judged = targets(outcomes)
    parts = [
        "# Load test",
        f"{target}. Load from {about['cpu']}, {about['cpus']} CPUs, load before {about['load_before']:.1f}, "
        f"commit {about['commit']}, {about['date']}.",
        _overview(outcomes),
        "Answers/s: of all kinds, while all users were there. Times are in ms; those of `/predict` on Locust's clock, "
        "which runs slow when the machine has no time left for it; `/health` is asked by a process of its own.",
        table(["Target", "Measured", ""], [[what, was, "met" if ok else "missed"] for what, was, ok in judged]),
    ]
    for one in outcomes.values():
        parts += _details(one)
    return "\n\n".join(parts) + "\n"


def _overview(outcomes: dict[str, Outcome]) -> str:
    head = ["Users", "Asked for at most/s", "Answers/s", "Refused", "Failures"]
    head += ["/predict p50", "/predict p99", "/health p99", "What limits"]
    rows = [
        [
            f"{one.scenario.users:,}",
            "no limit" if math.isinf(one.scenario.most) else figure(one.scenario.most),
            figure(one.rate),
            figure(one.refusals),
            figure(one.failures),
            figure(one.answer_quantile(0.5)),
            figure(one.answer_quantile(0.99)),
            figure(one.health_quantile(0.99), 1),
            one.limit,
        ]
        for one in outcomes.values()
    ]
    return table(head, rows)


def _details(one: Outcome) -> list[str]:
    parts = [f"## {one.name}", "Locust:"]
    rows = [
        [row.name, figure(row.requests), figure(row.failures), *(figure(row.quantile(q)) for q in (0.5, 0.95, 0.99))]
        for row in one.rows
    ]
    parts.append(table(["Request", "Requests", "Failures", "p50", "p95", "p99"], rows))
    if one.errors:
        errors = [[e["name"], e["error"].replace("|", "\\|"), figure(e["occurrences"])] for e in one.errors]
        parts.append(table(["Failure", "Error", "Times"], errors))
    parts += ["The service's metrics:", _metrics(one)]
    if one.facts:
        parts.append(table(["What else was counted", ""], [[k, figure(v)] for k, v in sorted(one.facts.items())]))
    if one.cpu:
        cpu = ", ".join(f"{name} {figure(one.cpu[name], 2)}" for name in ("service", "locust", "others", "idle"))
        parts.append(f"CPUs of {figure(one.cpu['cpus'])} on this machine, while all users were there: {cpu}.")
    return parts


def _metrics(one: Outcome) -> str:
    if one.metrics is None:
        return f"Not read: {one.no_metrics}"
    seen, seconds = one.metrics, one.scenario.seconds
    rows = []
    name = "relance_http_request_seconds"
    for (route,), count in sorted(seen.by(name + "_count", "route").items()):
        quantiles = [1e3 * seen.quantile(q, name, route=route) for q in (0.5, 0.95, 0.99)]
        rows.append([route, figure(count), figure(count / seconds), *(figure(value, 1) for value in quantiles)])
    statuses = seen.by("relance_http_requests_total", "route", "status")
    sources = seen.by("relance_results_total", "source")
    listed = lambda found: ", ".join(f"{' '.join(key)}: {figure(n)}" for key, n in sorted(found.items())) or "none"
    agreement = f"`POST /predict` answered, as the service counts: {figure(one.counted_by_service)}; as Locust counts: "
    agreement += f"{figure(one.predictions)}."
    if one.records is not None:
        agreement += f" Records in the database: {figure(one.records)}, lost: {figure(one.lost)}."
    return "\n\n".join(
        [
            table(["Route", "Requests", "Each s", "p50", "p95", "p99"], rows),
            f"Routes and statuses: {listed(statuses)}.",
            f"Where results came from: {listed(sources)}.",
            agreement,
            f"Memory at the end: {figure(seen.now('process_resident_memory_bytes') / 2**20)} MB; CPU time: "
            f"{figure(seen.value('process_cpu_seconds_total'), 1)} s.",
        ]
    )


def plain(one: Outcome) -> dict:
    """The figures of one scenario for programs; null where there is none."""
    known = lambda value: None if value is None or not math.isfinite(value) else round(value, 3)
    return {
        "users": one.scenario.users,
        "rate": one.scenario.rate,
        "seconds": one.scenario.seconds,
        "wait": one.scenario.wait,
        "mix": dict(one.scenario.mix),
        "answers_per_second": known(one.rate),
        "answers": one.answers,
        "predictions": one.predictions,
        "refusals": one.refusals,
        "failures": one.failures,
        "errors": one.errors,
        "predict_ms": {f"p{100 * q:g}": known(one.answer_quantile(q)) for q in (0.5, 0.95, 0.99)},
        "health_ms": {f"p{100 * q:g}": known(one.health_quantile(q)) for q in (0.5, 0.95, 0.99)},
        "health_requests": len(one.probe),
        "health_failures": sum(status != 200 for *_, status in one.probe),
        "counted_by_service": one.counted_by_service,
        "no_metrics": one.no_metrics,
        "records": one.records,
        "lost": one.lost,
        "cpu": {name: known(value) for name, value in one.cpu.items()},
        "limit": one.limit,
        "facts": one.facts,
        "requests": {
            row.name: {
                "requests": row.requests,
                "failures": row.failures,
                **{f"p{100 * q:g}_ms": known(row.quantile(q)) for q in (0.5, 0.95, 0.99)},
            }
            for row in one.rows
        },
    }
