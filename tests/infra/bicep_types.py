"""Checks every resource that infra/azure deploys against Azure's own types.

usage: python tests/infra/bicep_types.py CLONE

CLONE is a clone (a bare one will do) of the repository Azure/bicep-types-az, which is too large to be part of the
tests. Names, types, allowed values and required members are compared, with the values of dev and prod.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

from bicep_render import Deployment, Known, parameters

AZURE = Path(__file__).parents[2] / "infra" / "azure"
REQUIRED, READ_ONLY = 1, 2
# Members that Bicep takes away: they say where a resource is, not what it is.
PLACE = ("parent", "scope")


class Types:
    def __init__(self, clone):
        self.clone = clone
        self.paths = self._git("ls-tree", "-r", "--name-only", "HEAD").split()
        self.files = {}

    def _git(self, *arguments):
        return subprocess.run(["git", "-C", self.clone, *arguments], check=True, capture_output=True, text=True).stdout

    def body(self, name, version):
        """The file of types and the type of a resource's body."""
        ending = f"/{name.split('/')[0]}/{version}/types.json".lower()
        for path in self.paths:
            if path.endswith(ending):
                if path not in self.files:
                    self.files[path] = json.loads(self._git("show", f"HEAD:{path}"))
                types = self.files[path]
                for found in types:
                    if found["$type"] == "ResourceType" and found["name"].lower() == f"{name}@{version}".lower():
                        return types, self.at(types, found["body"])
        return None, None

    @staticmethod
    def at(types, reference):
        return types[int(reference["$ref"].removeprefix("#/"))]


def faults(types, wanted, value, where):
    """What is wrong with a value, as sentences."""
    if isinstance(value, Known) or value is None:
        return []
    match wanted["$type"]:
        case "AnyType":
            return []
        case "StringType":
            if not isinstance(value, str):
                return [f"{where}: {value!r} is no text"]
            pattern = wanted.get("pattern")
            return [f"{where}: {value!r} does not match {pattern}"] if pattern and not re.search(pattern, value) else []
        case "StringLiteralType":
            return [] if value == wanted["value"] else [f"{where}: {value!r} is not {wanted['value']!r}"]
        case "IntegerType":
            return [] if isinstance(value, int) and not isinstance(value, bool) else [f"{where}: {value!r} is no number"]
        case "BooleanType":
            return [] if isinstance(value, bool) else [f"{where}: {value!r} is no bool"]
        case "UnionType":
            options = [types[int(o["$ref"].removeprefix("#/"))] for o in wanted["elements"]]
            # An open list of values ends in "any text"; what is not in the list is suspicious all the same.
            literals = [o["value"] for o in options if o["$type"] == "StringLiteralType"]
            if literals and isinstance(value, str):
                return [] if value in literals else [f"{where}: {value!r} is not one of {literals}"]
            found = [faults(types, option, value, where) for option in options]
            return [] if any(not f for f in found) else found[0]
        case "ArrayType":
            if not isinstance(value, list):
                return [f"{where}: {value!r} is no array"]
            item = Types.at(types, wanted["itemType"])
            return [f for i, v in enumerate(value) for f in faults(types, item, v, f"{where}[{i}]")]
        case "ObjectType":
            return _object(types, wanted["properties"] or {}, wanted.get("additionalProperties"), value, where)
        case "DiscriminatedObjectType":
            chosen = value.get(wanted["discriminator"]) if isinstance(value, dict) else None
            if chosen not in wanted["elements"]:
                return [f"{where}: {wanted['discriminator']} {chosen!r} is not one of {list(wanted['elements'])}"]
            element = Types.at(types, wanted["elements"][chosen])
            properties = wanted["baseProperties"] | element["properties"]
            return _object(types, properties, element.get("additionalProperties"), value, where)
    return [f"{where}: a type of the kind {wanted['$type']} is not known here"]


def _object(types, properties, others, value, where):
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    found = [
        f"{where}: {name} is missing"
        for name, p in properties.items()
        if p["flags"] & REQUIRED and name not in value
    ]
    for name, part in value.items():
        inner = f"{where}.{name}"
        if name in properties:
            if properties[name]["flags"] & READ_ONLY:
                found.append(f"{inner} is read-only")
            else:
                found += faults(types, Types.at(types, properties[name]["type"]), part, inner)
        elif others:
            found += faults(types, Types.at(types, others), part, inner)
        else:
            found.append(f"{inner}: there is no such member; there are {sorted(properties)}")
    return found


def main(clone):
    types, checked, found = Types(clone), set(), []
    secrets = {"API_PASSWORD": "p", "API_KEYS": "k:0", "ALERT_EMAIL": "a@example.org", "DEPLOYER_PRINCIPAL_ID": "d"}
    environments = itertools.product(("dev", "prod"), ({}, secrets))
    for name, environment in environments:
        template, values = parameters(AZURE / f"{name}.bicepparam", environment)
        for resource in Deployment(template, values).all_resources():
            file, body = types.body(resource.type, resource.version)
            where = f"{resource.file}: {resource.symbol}"
            if body is None:
                found.append(f"{where}: {resource.type}@{resource.version} is not known")
                continue
            checked.add((resource.file, resource.symbol))
            value = {k: v for k, v in resource.body.items() if k not in PLACE}
            found += faults(file, body, value, where)
    for fault in sorted(set(found)):
        print(fault)
    print(f"{len(checked)} resources checked, {len(set(found))} faults")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
