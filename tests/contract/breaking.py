"""Finds changes of an OpenAPI description that break clients written for the one before.

usage: breaking.py BEFORE AFTER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


def breaks(before: Json, after: Json) -> list[str]:
    """What a client of `before` can no longer rely on, each in a sentence."""
    found = []
    for path, operations in before["paths"].items():
        for method in METHODS & operations.keys():
            name = f"{method.upper()} {path}"
            new = after["paths"].get(path, {}).get(method)
            if new is None:
                found.append(f"{name} is gone")
                continue
            old = operations[method]
            found += [f"{name}: {what}" for what in Comparison(before, after).operation(old, new)]
    return found


class Comparison:
    """Compares parts of two descriptions, following their references."""

    def __init__(self, before: Json, after: Json) -> None:
        self.before, self.after = before, after
        self.seen: set[tuple[str, str, bool]] = set()

    def operation(self, old: Json, new: Json) -> Iterator[str]:
        yield from self.parameters(old, new)
        yield from self.body(old.get("requestBody"), new.get("requestBody"))
        for status, response in old["responses"].items():
            if status not in new["responses"]:
                # A failure that no longer happens breaks nobody.
                if status.startswith(("2", "3")):
                    yield f"no longer answers {status}"
                continue
            yield from self.content(response, new["responses"][status], f"the {status} answer", sent=False)

    def parameters(self, old: Json, new: Json) -> Iterator[str]:
        key = lambda parameter: (parameter["in"], parameter["name"])
        known = {key(each): each for each in old.get("parameters", [])}
        now = {key(each): each for each in new.get("parameters", [])}
        for (where, name), parameter in known.items():
            if (where, name) not in now:
                yield f"no longer takes the {where} parameter {name}"
                continue
            schemas = parameter["schema"], now[where, name]["schema"]
            yield from self.schema(*schemas, f"the parameter {name}", sent=True)
        for (where, name), parameter in now.items():
            was = known.get((where, name), {}).get("required", False)
            if parameter.get("required") and not was:
                yield f"now needs the {where} parameter {name}"

    def body(self, old: Json | None, new: Json | None) -> Iterator[str]:
        if new and new.get("required") and not (old and old.get("required")):
            yield "now needs a body"
        if old and not new:
            yield "no longer takes a body"
        elif old and new:
            yield from self.content(old, new, "the body", sent=True)

    def content(self, old: Json, new: Json, where: str, sent: bool) -> Iterator[str]:
        for kind, media in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{where} can no longer be {kind}"
                continue
            schemas = media.get("schema", {}), new["content"][kind].get("schema", {})
            yield from self.schema(*schemas, where, sent)

    def schema(self, old: Json, new: Json, where: str, sent: bool) -> Iterator[str]:
        """Clients send what `old` allows, or read what it promises."""
        visit = (json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True), sent)
        if visit in self.seen:
            return
        self.seen.add(visit)
        old, new = resolve(self.before, old), resolve(self.after, new)
        yield from self.types(old, new, where, sent)
        yield from self.fields(old, new, where, sent)
        if "items" in old and "items" in new:
            yield from self.schema(old["items"], new["items"], f"{where}[]", sent)
        for key in ("oneOf", "anyOf", "allOf"):
            for number, (one, other) in enumerate(zip(old.get(key, []), new.get(key, []))):
                yield from self.schema(one, other, f"{where} ({key} {number})", sent)
            if sent and len(new.get(key, [])) < len(old.get(key, [])):
                yield f"{where} allows fewer forms"

    def types(self, old: Json, new: Json, where: str, sent: bool) -> Iterator[str]:
        for key, whole in (("type", as_set), ("enum", as_set)):
            if key not in old and key not in new:
                continue
            was, now = whole(old.get(key)), whole(new.get(key))
            if sent and now and (not was or was - now):
                yield f"{where} no longer takes {key} {text(was - now or was)}"
            if not sent and was and (not now or now - was):
                yield f"{where} may now have {key} {text(now - was or now)}"
        if not sent:
            return
        for key, narrows in (
            ("minimum", lambda was, now: was is None or now > was),
            ("maximum", lambda was, now: was is None or now < was),
            ("minLength", lambda was, now: now > (was or 0)),
            ("maxLength", lambda was, now: was is None or now < was),
            ("pattern", lambda was, now: was != now),
        ):
            if new.get(key) is not None and narrows(old.get(key), new[key]):
                yield f"{where} has the {key} {new[key]}, not {old.get(key)}"

    def fields(self, old: Json, new: Json, where: str, sent: bool) -> Iterator[str]:
        known, now = old.get("properties", {}), new.get("properties", {})
        for name, schema in known.items():
            if name not in now:
                yield f"{where} no longer has the field {name}"
                continue
            yield from self.schema(schema, now[name], f"{where}.{name}", sent)
        must, had_to = set(new.get("required", [])), set(old.get("required", []))
        for name in must - had_to if sent else set():
            yield f"{where} now needs the field {name}"
        for name in had_to - must & known.keys() if not sent else set():
            yield f"{where} may now lack the field {name}"


def resolve(description: Json, schema: Json) -> Json:
    """The schema that a reference points to."""
    while "$ref" in schema:
        target: Any = description
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target
    return schema


def as_set(value: Any) -> set[Any]:
    """A type may be one or a list of them."""
    if value is None:
        return set()
    return set(value) if isinstance(value, list) else {value}


def text(values: set[Any]) -> str:
    return ", ".join(sorted(map(str, values))) or "any"


def main() -> None:
    before, after = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    found = breaks(before, after)
    print("\n".join(found) or "nothing breaks")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
