"""The few kinds of panels that the dashboards are made of, as Grafana's JSON."""

from __future__ import annotations

from itertools import count

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


def query(expr: str, legend: str = "", *, instant: bool = False, form: str = "time_series") -> dict:
    """A PromQL query; `legend` may name labels, as in `{{route}}`."""
    return {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend or "__auto", "instant": instant,
            "range": not instant, "format": form}


def panel(kind: str, title: str, about: str, queries: list[dict], *, unit: str = "short", size: tuple[int, int] = (8, 8),
          defaults: dict | None = None, options: dict | None = None, **more: object) -> dict:
    """A panel of `size` (columns of 24, rows) without a place yet."""
    targets = [{**target, "refId": chr(ord("A") + n)} for n, target in enumerate(queries)]
    return {"type": kind, "title": title, "description": about, "datasource": DATASOURCE, "targets": targets,
            "gridPos": {"w": size[0], "h": size[1]}, "options": options or {},
            "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": []}, **more}


def steps(*bounds: tuple[float | None, str]) -> dict:
    """Colours from each bound upwards."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in bounds]}


def stat(title: str, about: str, expr: str, *, unit: str = "short", size: tuple[int, int] = (4, 4),
         thresholds: dict | None = None, legend: str = "", mappings: list | None = None) -> dict:
    """One number, or one for each series."""
    defaults = {"thresholds": thresholds or steps((None, "text")), "color": {"mode": "thresholds"},
                "mappings": mappings or []}
    options = {"reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}, "colorMode": "value",
               "graphMode": "area", "textMode": "auto", "orientation": "auto", "justifyMode": "auto"}
    return panel("stat", title, about, [query(expr, legend)], unit=unit, size=size, defaults=defaults, options=options)


def graph(title: str, about: str, queries: list[dict], *, stack: str = "none", bound: float | None = None,
          most: float | None = None, **more: object) -> dict:
    """Lines over time: stacked (`normal`, `percent`) or not, with a line at `bound`, up to `most`."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10 if stack == "none" else 40, "showPoints": "never",
              "stacking": {"mode": stack, "group": "A"},
              "thresholdsStyle": {"mode": "off" if bound is None else "dashed"}}
    defaults: dict = {"custom": custom, "min": 0, "color": {"mode": "palette-classic"}}
    if bound is not None:
        defaults["thresholds"] = steps((None, "text"), (bound, "red"))
    if most is not None:
        defaults["max"] = most
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, about, queries, defaults=defaults, options=options, **more)


def latency(series: str, selector: str, by: str = "") -> list[dict]:
    """Mean, median, p95, p99 and largest of a histogram in seconds; `by` is a label to tell apart."""
    window = f"{{{selector}}}[$__rate_interval]"
    group, legend = (f"by ({by}) ", f"{{{{{by}}}}} ") if by else ("", "")
    buckets = f"sum by ({', '.join(filter(None, (by, 'le')))}) (rate({series}_bucket{window}))"
    mean = f"sum {group}(rate({series}_sum{window})) / (sum {group}(rate({series}_count{window})) > 0)"
    names = {0.5: "p50", 0.95: "p95", 0.99: "p99", 1: "max"}
    return [query(mean, f"{legend}mean")] + [
        query(f"histogram_quantile({q}, {buckets}) >= 0", f"{legend}{name}") for q, name in names.items()]


def placed(rows: dict[str, list[dict]]) -> list[dict]:
    """The panels under a heading for each row, from left to right and from top to bottom."""
    numbers, out, y = count(1), [], 0
    for title, panels in rows.items():
        out.append({"type": "row", "title": title, "collapsed": False, "panels": [], "id": next(numbers),
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y, x, height = y + 1, 0, 0
        for one in panels:
            size = one["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            out.append({**one, "id": next(numbers), "gridPos": {"x": x, "y": y, **size}})
            x, height = x + size["w"], max(height, size["h"])
        y += height
    return out


def choice(name: str, label: str, values: str, **more: object) -> dict:
    """A variable with the values of a label; all of them unless some are chosen."""
    return {"type": "query", "name": name, "label": label, "datasource": DATASOURCE, "query": values, "refresh": 2,
            "multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}, "sort": 1, "hide": 0,
            **more}


def dashboard(uid: str, title: str, about: str, rows: dict[str, list[dict]], *choices: dict, since: str) -> dict:
    """A dashboard for any Prometheus data source, with links to the others."""
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1,
              "hide": 0, "multi": False, "includeAll": False}
    link = {"title": "relance", "type": "dashboards", "tags": ["relance"], "asDropdown": False, "includeVars": True,
            "keepTime": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}
    return {"uid": uid, "title": title, "description": about, "tags": ["relance"], "schemaVersion": 41, "version": 1,
            "editable": True, "graphTooltip": 1, "timezone": "browser", "refresh": "30s", "links": [link],
            "time": {"from": since, "to": "now"}, "templating": {"list": [source, *choices]},
            "panels": placed(rows)}
