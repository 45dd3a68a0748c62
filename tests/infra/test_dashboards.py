"""The dashboards are what Grafana takes, and nothing on them is misplaced or out of date."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import FILES, GRAFANA, board, panels

each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def lost(here: object, there: object, path: str = "") -> list[str]:
    """What is in one document and not, or otherwise, in the other."""
    if isinstance(here, dict) and isinstance(there, dict):
        return [at for key in here for at in (lost(here[key], there[key], f"{path}.{key}") if key in there
                                              else [f"{path}.{key}"])]
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        return [at for n, pair in enumerate(zip(here, there)) for at in lost(*pair, f"{path}[{n}]")]
    return [] if here == there else [path]


def as_grafana_reads(document: dict) -> dict:
    """There and back through the types that Grafana publishes; they drop what they do not know."""
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


@each
def test_every_field_is_one_of_grafanas(file: Path):
    document = board(file)
    assert lost(document, as_grafana_reads(document)) == []


def test_a_wrong_field_would_be_found():
    document = board(FILES[0])
    first = next(panel for panel in document["panels"] if panel["type"] == "stat")
    first["fieldConfig"]["defaults"]["units"] = "s"
    first["options"]["graphModes"] = "area"
    found = lost(document, as_grafana_reads(document))
    assert [re.sub(r".*\.", "", path) for path in sorted(found)] == ["units", "graphModes"]


@each
def test_panels_have_a_place_of_their_own(file: Path):
    all_panels = board(file)["panels"]
    numbers = [panel["id"] for panel in all_panels]
    assert len(set(numbers)) == len(numbers)
    for panel in all_panels:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["w"] > 0 and place["h"] > 0 and place["x"] + place["w"] <= 24, panel["title"]
    for one, other in itertools.combinations(all_panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] \
            or b["y"] + b["h"] <= a["y"]
        assert apart, (one["title"], other["title"])


@each
def test_panels_say_what_they_show_and_ask_the_chosen_source(file: Path):
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(file):
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == chosen and panel["targets"]
        assert all(target["datasource"] == chosen for target in panel["targets"]), panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


@each
def test_variables_are_defined_and_used(file: Path):
    document = board(file)
    names = [variable["name"] for variable in document["templating"]["list"]]
    assert names[:2] == ["datasource", "instance"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panels(file), document["templating"]])))
    assert used - {"__rate_interval", "__all", "__auto"} <= set(names) | {"__rate_interval"}
    assert set(names) <= used | {panel.get("repeat") for panel in panels(file)}


def test_dashboards_have_names_of_their_own():
    documents = [board(file) for file in FILES]
    assert [document["uid"] for document in documents] == ["relance-model", "relance-service", "relance-stores"]
    assert len({document["title"] for document in documents}) == 3


def test_the_files_are_what_the_script_makes():
    script = GRAFANA / "make-dashboards"
    loader = importlib.machinery.SourceFileLoader("make_dashboards", str(script))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_dashboards", loader))
    loader.exec_module(module)
    made = module.files()
    assert sorted(made) == FILES
    for file, text in made.items():
        assert file.read_text() == text, "run infra/local/grafana/make-dashboards"


def test_grafana_finds_them_and_prometheus():
    provisioning = GRAFANA / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/relance.yml").read_text())["providers"]
    assert source["type"] == "prometheus" and source["isDefault"]
    # The command in the document mounts the folders where Grafana looks, and says which machine is `prometheus`.
    page = (GRAFANA.parents[2] / "docs/dashboards.md").read_text()
    host = re.fullmatch(r"http://([a-z]+):9090", source["url"])[1]
    assert f"grafana/dashboards:{provider['options']['path']}:ro" in page
    assert "grafana/provisioning:/etc/grafana/provisioning:ro" in page and f"--add-host {host}:" in page
