"""Works out what a Bicep file would deploy: every resource with its values, as Azure would get it.

What only Azure knows, such as the identifier or the host name of a resource, is a `Known` placeholder.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from bicep import BicepError, Call, Loop, Member, Name, Operation, Text, When, read

TYPES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


class Known(str):
    """A value that Azure makes: a text that says where it comes from. Its members are such values too."""


@dataclass
class Resource:
    file: str
    symbol: str
    type: str
    version: str
    body: dict


class Deployment:
    """One Bicep file with values for its parameters."""

    def __init__(self, path, given, environment=None):
        self.file = read(path)
        self.path = Path(path)
        self.environment = environment or {}
        self.declared = {d.name: d for d in self.file.declarations if d.kind != "output"}
        self.values = {}
        self.modules = {}
        self.resources = []
        self._parameters(given)
        for declaration in self.file.declarations:
            if declaration.kind == "resource" and not declaration.existing:
                self._deploy(declaration)
            elif declaration.kind == "module":
                self._module(declaration)
        self.outputs = {n: self._output(d) for n, d in self.file.of("output").items()}

    def all_resources(self):
        """Resources of this file and of its modules."""
        inner = (m.all_resources() for m in self.modules.values() if m)
        return self.resources + [resource for resources in inner for resource in resources]

    def _parameters(self, given):
        declared = self.file.of("param")
        for name in given.keys() - declared.keys():
            raise BicepError(f"{self.path.name} has no parameter {name}")
        for name, parameter in declared.items():
            if name in given:
                value = given[name]
            elif parameter.has_value:
                value = self._value(parameter.value, {})
            else:
                raise BicepError(f"{self.path.name} needs the parameter {name}")
            # In a .bicepparam file the types are those of the Bicep file.
            if parameter.type:
                self._fits(parameter, value)
            self.values[name] = value

    def _fits(self, declaration, value):
        where = f"{self.path.name}: {declaration.kind} {declaration.name}"
        wanted = TYPES[declaration.type]
        # In Python, true is an int; what Azure makes may be a number.
        right = isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool))
        if not right and not (isinstance(value, Known) and wanted in (str, int)):
            raise BicepError(f"{where} is {declaration.type}, but got {value!r}")
        rules = declaration.decorators
        if "allowed" in rules and value not in rules["allowed"]:
            raise BicepError(f"{where}: {value!r} is not one of {rules['allowed']}")
        if "minValue" in rules and value < rules["minValue"]:
            raise BicepError(f"{where}: {value} is less than {rules['minValue']}")
        if "maxValue" in rules and value > rules["maxValue"]:
            raise BicepError(f"{where}: {value} is more than {rules['maxValue']}")

    def _output(self, declaration):
        value = self._value(declaration.value, {})
        self._fits(declaration, value)
        return value

    def _deploy(self, declaration):
        kind, version = declaration.type.split("@")
        for body in self._bodies(declaration.value):
            body = {k: v for k, v in body.items() if k != "dependsOn"}
            self.resources.append(Resource(self.path.name, declaration.name, kind, version, body))

    def _bodies(self, value):
        if isinstance(value, When):
            return self._bodies(value.body) if self._value(value.condition, {}) else []
        value = self._value(value, {})
        return value if isinstance(value, list) else [value]

    def _module(self, declaration):
        bodies = self._bodies(declaration.value)
        path = self.path.parent / declaration.type
        self.modules[declaration.name] = Deployment(path, bodies[0].get("params", {})) if bodies else None

    def _symbol(self, name, line):
        if name in self.values:
            return self.values[name]
        declaration = self.declared.get(name)
        if declaration is None:
            raise BicepError(f"{self.path.name}:{line}: there is no {name}")
        if declaration.kind == "var":
            self.values[name] = self._value(declaration.value, {})
            return self.values[name]
        if declaration.kind == "module" and name not in self.modules:
            self._module(declaration)
        return declaration

    def _value(self, node, scope):
        match node:
            case Name():
                return scope[node.name] if node.name in scope else self._symbol(node.name, node.line)
            case Text():
                return self._text([self._value(part, scope) for part in node.parts])
            case Member():
                return self._member(node, scope)
            case Call():
                return self._call(node, [self._value(a, scope) for a in node.arguments])
            case Operation():
                return self._operation(node, scope)
            case Loop():
                return self._loop(node, scope)
            case dict():
                return {self._value(k, scope): self._value(v, scope) for k, v in node.items()}
            case list():
                return [self._value(item, scope) for item in node]
            case _:
                return node

    def _text(self, values):
        for value in values:
            if not isinstance(value, (str, int)):
                raise BicepError(f"{self.path.name}: {value!r} cannot be part of a text")
        text = "".join(_printed(v) for v in values)
        return Known(text) if any(isinstance(v, Known) for v in values) else text

    def _loop(self, node, scope):
        found = []
        for index, item in enumerate(self._value(node.over, scope)):
            inner = scope | dict(zip(node.names, (item, index), strict=False))
            found.append(self._value(node.body, inner))
        return found

    def _member(self, node, scope):
        of = self._value(node.of, scope)
        name = node.name if isinstance(node.name, str) else self._value(node.name, scope)
        where = f"{self.path.name}:{node.line}"
        if isinstance(of, Known):
            return Known(f"{of}.{name}")
        if isinstance(of, (dict, list)):
            try:
                return of[name]
            except (KeyError, IndexError) as error:
                raise BicepError(f"{where}: there is no {name} in {of}") from error
        if getattr(of, "kind", "") == "module":
            if name != "outputs":
                raise BicepError(f"{where}: a module has outputs, and no {name}")
            if self.modules[of.name] is None:
                raise BicepError(f"{where}: {of.name} is not deployed, so it has no outputs")
            return self.modules[of.name].outputs
        if getattr(of, "kind", "") == "resource":
            return self._of_resource(of, name)
        raise BicepError(f"{where}: {of!r} has no members")

    def _of_resource(self, declaration, name):
        if isinstance(declaration.value, Loop):
            return Known(f"<{self.path.stem}.{declaration.name}.{name}>")
        if name == "name":
            value = declaration.value.body if isinstance(declaration.value, When) else declaration.value
            return self._value(value["name"], {})
        return Known(f"<{self.path.stem}.{declaration.name}.{name}>")

    def _operation(self, node, scope):
        operator, operands = node.operator, node.operands
        first = self._value(operands[0], scope)
        if operator in ("?", "&&", "||", "not") and not isinstance(first, bool):
            raise BicepError(f"{self.path.name}: {first!r} is no bool")
        match operator:
            case "?":
                return self._value(operands[1] if first else operands[2], scope)
            case "&&":
                return first and self._value(operands[1], scope)
            case "||":
                return first or self._value(operands[1], scope)
            case "not":
                return not first
            case "minus":
                return -first
            case "==":
                return first == self._value(operands[1], scope)
            case ">":
                return first > self._value(operands[1], scope)
            case "<":
                return first < self._value(operands[1], scope)
        raise BicepError(f"{self.path.name}: {operator} is not known here")

    def _call(self, node, given):
        match node.function, given:
            case "empty", [value]:
                return not value
            case "bool", ["true" | "false" as text]:
                return text == "true"
            case "int", [str() as text]:
                return int(text)
            case "string", [value]:
                return Known(value) if isinstance(value, Known) else _printed(value)
            case "take", [text, count]:
                return text[:count]
            case "replace", [text, old, new]:
                return text.replace(old, new)
            case "concat", [*lists]:
                return [item for items in lists for item in items]
            case "union", [*objects]:
                return {k: v for object in objects for k, v in object.items()}
            case "items", [object]:
                return [{"key": k, "value": object[k]} for k in sorted(object)]
            case "uniqueString", [*_]:
                return "abcdefghijklm"
            case "guid", [*parts]:
                return Known("guid(" + ", ".join(parts) + ")")
            case "utcNow", ["yyyy-MM-01"]:
                return "2026-12-01"
            case "subscriptionResourceId", [kind, name]:
                return Known(f"<subscription>/{kind}/{name}")
            case ("resourceGroup" | "subscription" | "environment") as name, []:
                return Known(f"<{name}>")
            case "readEnvironmentVariable", [name, default]:
                return self.environment.get(name, default)
            case "loadTextContent", [path]:
                return (self.path.parent / path).read_text()
            case "loadJsonContent", [path]:
                return json.loads((self.path.parent / path).read_text())
        raise BicepError(f"{self.path.name}:{node.line}: {node.function}({given}) is not known here")


def _printed(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def parameters(path, environment=None):
    """Values of a .bicepparam file, and the Bicep file that they are for."""
    file = Deployment(path, {}, environment)
    return file.path.parent / file.file.using, file.values


def references(node, bound=frozenset()):
    """Every (name, line) that an expression refers to, in all its branches."""
    match node:
        case Name():
            return set() if node.name in bound else {(node.name, node.line)}
        case Loop():
            return references(node.over, bound) | references(node.body, bound | set(node.names))
        case When():
            return references(node.condition, bound) | references(node.body, bound)
        case Text():
            inner = node.parts
        case Call():
            inner = node.arguments
        case Operation():
            inner = node.operands
        case Member():
            inner = [node.of] + ([] if isinstance(node.name, str) else [node.name])
        case dict():
            inner = [*node.keys(), *node.values()]
        case list():
            inner = node
        case _:
            return set()
    return set().union(*(references(part, bound) for part in inner))


def members(node):
    """Every Member in an expression."""
    match node:
        case Member():
            return [node, *members(node.of)]
        case Loop():
            inner = [node.over, node.body]
        case When():
            inner = [node.condition, node.body]
        case Text():
            inner = node.parts
        case Call():
            inner = node.arguments
        case Operation():
            inner = node.operands
        case dict():
            inner = [*node.keys(), *node.values()]
        case list():
            inner = node
        case _:
            return []
    return [member for part in inner for member in members(part)]
