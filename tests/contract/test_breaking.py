"""The served description keeps what clients of the last release rely on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from breaking import breaks

OPENAPI = Path(__file__).resolve().parents[2] / "openapi"
CURRENT = json.loads((OPENAPI / "openapi.json").read_text())
STABLE = json.loads((OPENAPI / "stable.json").read_text())

Edit = Callable[[dict[str, Any]], Any]


def test_nothing_breaks_since_the_last_release() -> None:
    found = breaks(STABLE, CURRENT)
    hint = "if that is meant: cp openapi/openapi.json openapi/stable.json, and say so in the release notes"
    assert not found, "\n".join([*found, hint])


def prediction(description: dict[str, Any]) -> dict[str, Any]:
    return description["components"]["schemas"]["Prediction"]


def listing(description: dict[str, Any]) -> dict[str, Any]:
    return description["paths"]["/requests"]["get"]


BREAKING: dict[str, Edit] = {
    "GET /health is gone": lambda d: d["paths"].pop("/health"),
    "DELETE /requests/{request_id} is gone": lambda d: d["paths"]["/requests/{request_id}"].pop("delete"),
    "no longer has the field confidence": lambda d: prediction(d)["properties"].pop("confidence"),
    "may now lack the field prediction": lambda d: prediction(d)["required"].remove("prediction"),
    "may now have type string": lambda d: prediction(d)["properties"]["confidence"].update(type="string"),
    "no longer takes the query parameter cursor": lambda d: listing(d)["parameters"].remove(
        next(each for each in listing(d)["parameters"] if each["name"] == "cursor")
    ),
    "now needs the query parameter limit": lambda d: next(
        each for each in listing(d)["parameters"] if each["name"] == "limit"
    ).update(required=True),
    "has the maximum 5": lambda d: next(
        each for each in listing(d)["parameters"] if each["name"] == "limit"
    )["schema"].update(maximum=5),
    "the body can no longer be image/*": lambda d: d["paths"]["/predict"]["post"]["requestBody"]["content"].pop(
        "image/*"
    ),
    "no longer answers 200": lambda d: listing(d)["responses"].pop("200"),
    "now needs the field image_name": lambda d: d["components"]["schemas"]["PictureReference"]["required"].append(
        "image_name"
    ),
}


@pytest.mark.parametrize("what", BREAKING)
def test_a_break_is_found(what: str) -> None:
    changed = copy.deepcopy(CURRENT)
    BREAKING[what](changed)
    found = breaks(CURRENT, changed)
    assert any(what in each for each in found), found


COMPATIBLE: dict[str, Edit] = {
    "a new route": lambda d: d["paths"].update({"/new": {"get": {"responses": {}}}}),
    "a new field in an answer": lambda d: prediction(d)["properties"].update(new={"type": "string"}),
    "a new optional parameter": lambda d: listing(d)["parameters"].append(
        {"in": "query", "name": "new", "schema": {"type": "string"}}
    ),
    "another failure": lambda d: listing(d)["responses"].update({"418": {"description": "a teapot"}}),
    "a failure less": lambda d: listing(d)["responses"].pop("503"),
    "other words": lambda d: listing(d).update(summary="Other words"),
}


@pytest.mark.parametrize("what", COMPATIBLE)
def test_what_breaks_nobody_is_let_through(what: str) -> None:
    changed = copy.deepcopy(CURRENT)
    COMPATIBLE[what](changed)
    assert breaks(CURRENT, changed) == []
