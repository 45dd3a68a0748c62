"""Reads the part of Bicep that infra/azure is written in, into a tree that tells names from text.

pycep, which also reads the files in the tests, returns both as the same strings; then nothing can be said about
whether a name exists. What this reader does not know is an error, never skipped.
"""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//[^\n]*)
      | (?P<newline>\n)
      | (?P<block>'''(?:.|\n)*?''')
      | (?P<number>\d+)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<operator>=>|==|!=|<=|>=|&&|\|\||\?\?|\.\?|[-+*/%<>!?:.,=@(){}\[\]|])
      | (?P<quote>')""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", "$": "$"}
PRECEDENCE = [["??"], ["||"], ["&&"], ["==", "!="], ["<", "<=", ">", ">="], ["+", "-"], ["*", "/", "%"]]


@dataclass(frozen=True)
class Name:
    """A symbol of the file: parameter, variable, resource, module or the item of a loop."""

    name: str
    line: int


@dataclass(frozen=True)
class Text:
    """A string with expressions in it: its pieces in order."""

    parts: tuple


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple
    line: int


@dataclass(frozen=True)
class Member:
    of: object
    name: object  # str, or an expression for `of[expression]`
    line: int


@dataclass(frozen=True)
class Operation:
    operator: str
    operands: tuple


@dataclass(frozen=True)
class Loop:
    names: tuple
    over: object
    body: object


@dataclass(frozen=True)
class When:
    condition: object
    body: object


@dataclass
class Declaration:
    kind: str  # param, var, resource, module, output
    name: str
    line: int
    type: str = ""  # of a param or output; of a resource TYPE@VERSION; of a module its path
    value: object = None
    has_value: bool = False
    existing: bool = False
    decorators: dict = field(default_factory=dict)


@dataclass
class File:
    path: Path
    declarations: list
    using: str = ""

    def of(self, kind):
        return {d.name: d for d in self.declarations if d.kind == kind}


class BicepError(Exception):
    """The file is not in the part of Bicep that is read here, or is wrong."""


@functools.cache
def read(path):
    return _Reader(Path(path)).file()


def tokens(text, where):
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise BicepError(f"{where}:{line}: cannot be read: {text[at:at + 30]!r}")
        kind, value = match.lastgroup, match.group()
        if kind == "quote":
            parts, end = _string(text, match.end(), f"{where}:{line}")
            found.append(("text", parts, line))
            at = end
            continue
        if kind == "block":
            found.append(("text", (value[3:-3].removeprefix("\n"),), line))
        elif kind != "space":
            found.append((kind, value, line))
        line += value.count("\n")
        at = match.end()
    found.append(("end", "", line))
    return found


def _string(text, at, where):
    """The pieces of a string: text, and the tokens of each `${...}`."""
    parts, plain = [], ""
    while True:
        if at >= len(text) or text[at] == "\n":
            raise BicepError(f"{where}: a string without its end")
        if text[at] == "'":
            return (*parts, plain) if plain or not parts else tuple(parts), at + 1
        if text[at] == "\\":
            if text[at + 1] not in ESCAPES:
                raise BicepError(f"{where}: unknown escape \\{text[at + 1]}")
            plain += ESCAPES[text[at + 1]]
            at += 2
        elif text.startswith("${", at):
            end, depth = at + 2, 1
            while depth:
                if text[end] == "'":
                    end = _string(text, end + 1, where)[1]
                    continue
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            if plain:
                parts.append(plain)
            plain = ""
            parts.append(tokens(text[at + 2 : end - 1], where))
            at = end
        else:
            plain += text[at]
            at += 1


class _Reader:
    def __init__(self, path, stream=None):
        self.path = path
        self.stream = stream if stream is not None else tokens(path.read_text(), path.name)
        self.at = 0

    # Tokens.

    def peek(self, value=None):
        kind, found, _ = self.stream[self.at]
        return (kind, found) if value is None else kind in ("operator", "name") and found == value

    def take(self, value=None, kind=None):
        found_kind, found, line = self.stream[self.at]
        if (value is not None and (found != value or found_kind == "text")) or (kind and found_kind != kind):
            raise BicepError(f"{self.path.name}:{line}: expected {value or kind}, found {found!r}")
        self.at += 1
        return found

    def line(self):
        return self.stream[self.at][2]

    def newlines(self):
        while self.stream[self.at][0] == "newline":
            self.at += 1

    # Declarations.

    def file(self):
        file, decorators = File(self.path, []), {}
        while True:
            self.newlines()
            if self.stream[self.at][0] == "end":
                break
            if self.peek("@"):
                self.take()
                name, arguments = self.take(kind="name"), ()
                if self.peek("."):
                    self.take()
                    name = self.take(kind="name")
                arguments = self.arguments()
                decorators[name] = arguments[0] if arguments else True
                continue
            line, word = self.line(), self.take(kind="name")
            if word == "targetScope":
                self.take("=")
                self.expression()
            elif word == "using":
                file.using = self.plain_text()
            else:
                declaration = self.declaration(word, line, typed=not file.using)
                declaration.decorators, decorators = decorators, {}
                file.declarations.append(declaration)
        names = [(d.kind == "output", d.name) for d in file.declarations]
        for name in names:
            if names.count(name) > 1:
                raise BicepError(f"{self.path.name}: {name[1]} is declared twice")
        return file

    def declaration(self, kind, line, typed):
        if kind not in ("param", "var", "resource", "module", "output"):
            raise BicepError(f"{self.path.name}:{line}: {kind} is not known here")
        declaration = Declaration(kind, self.take(kind="name"), line)
        if kind in ("resource", "module"):
            declaration.type = self.plain_text()
        elif kind == "output" or (kind == "param" and typed):
            declaration.type = self.take(kind="name")
        if self.peek("existing"):
            self.take()
            declaration.existing = True
        if kind != "param" or self.peek("="):
            self.take("=")
            declaration.value = self.when() if self.peek("if") else self.expression()
            declaration.has_value = True
        if self.stream[self.at][0] not in ("newline", "end"):
            raise BicepError(f"{self.path.name}:{self.line()}: something stands behind {declaration.name}")
        return declaration

    def when(self):
        self.take("if")
        self.take("(")
        condition = self.expression()
        self.take(")")
        return When(condition, self.expression())

    # Expressions.

    def expression(self):
        value = self.binary(0)
        if not self.peek("?"):
            return value
        self.take()
        self.newlines()
        yes = self.expression()
        self.newlines()
        self.take(":")
        self.newlines()
        return Operation("?", (value, yes, self.expression()))

    def binary(self, level):
        if level == len(PRECEDENCE):
            return self.unary()
        value = self.binary(level + 1)
        while self.peek()[0] == "operator" and self.peek()[1] in PRECEDENCE[level]:
            operator = self.take()
            value = Operation(operator, (value, self.binary(level + 1)))
        return value

    def unary(self):
        if self.peek("!") or self.peek("-"):
            operator = self.take()
            return Operation("not" if operator == "!" else "minus", (self.unary(),))
        return self.postfix(self.primary())

    def postfix(self, value):
        while True:
            line = self.line()
            if self.peek(".") or self.peek(".?"):
                self.take()
                value = Member(value, self.take(kind="name"), line)
            elif self.peek("["):
                self.take()
                value = Member(value, self.expression(), line)
                self.take("]")
            elif self.peek("!"):
                self.take()
            else:
                return value

    def primary(self):
        kind, found = self.peek()
        line = self.line()
        if kind == "number":
            return int(self.take())
        if kind == "text":
            parts = tuple(
                p if isinstance(p, str) else _Reader(self.path, p).whole() for p in self.take()
            )
            return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else Text(parts)
        if found == "(":
            self.take()
            value = self.expression()
            self.take(")")
            return value
        if found == "{":
            return self.object()
        if found == "[":
            return self.array()
        name = self.take(kind="name")
        if name in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[name]
        return Call(name, self.arguments(), line) if self.peek("(") else Name(name, line)

    def whole(self):
        value = self.expression()
        self.take(kind="end")
        return value

    def plain_text(self):
        parts = self.take(kind="text")
        if len(parts) != 1 or not isinstance(parts[0], str):
            raise BicepError(f"{self.path.name}:{self.line()}: plain text is needed here")
        return parts[0]

    def arguments(self):
        self.take("(")
        values = []
        self.newlines()
        while not self.peek(")"):
            values.append(self.expression())
            self.newlines()
            if self.peek(","):
                self.take()
                self.newlines()
        self.take(")")
        return tuple(values)

    def object(self):
        self.take("{")
        value = {}
        while True:
            self.separators()
            if self.peek("}"):
                self.take()
                return value
            kind, line = self.peek()[0], self.line()
            key = self.take(kind="name") if kind == "name" else self.primary()
            if key in value:
                raise BicepError(f"{self.path.name}:{line}: {key} stands twice in one object")
            self.take(":")
            value[key] = self.expression()

    def array(self):
        self.take("[")
        self.newlines()
        if self.peek("for"):
            return self.loop()
        values = []
        while True:
            self.separators()
            if self.peek("]"):
                self.take()
                return values
            values.append(self.expression())

    def separators(self):
        while self.stream[self.at][0] == "newline" or self.peek(","):
            self.at += 1

    def loop(self):
        self.take("for")
        names = []
        if self.peek("("):
            self.take()
            names = [self.take(kind="name")]
            self.take(",")
            names.append(self.take(kind="name"))
            self.take(")")
        else:
            names = [self.take(kind="name")]
        self.take("in")
        over = self.expression()
        self.take(":")
        body = self.when() if self.peek("if") else self.expression()
        self.newlines()
        self.take("]")
        return Loop(tuple(names), over, body)
