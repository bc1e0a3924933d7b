"""The language of conditions: text to a tree of nodes.

::

    condition   = and-part { "or" and-part }
    and-part    = not-part { "and" not-part }
    not-part    = "not" not-part | "(" condition ")" | event
    event       = { word } [ place ] [ test ]              at least one of them
    word        = origin | kind | group of kinds | "read" | "write" | "access" | "failed" | "pending" | device
    place       = register | register "." field            CTRL, blink.CTRL, bar0.CTRL.EN, blink.bar0.CTRL
                | [ device "." ] ( "barN" | "config" ) [ "+" range ]
                | ("dma" | "config") [ "+" ] range         the "+" is the row filter's, too
                | column
    range       = number [ ".." number ]                   the last byte is inside
    test        = ("==" | "!=" | "<" | "<=" | ">" | ">=" | "&") (number | time | name)
                  a name is what the field calls a value, or an HRESULT: status == E_UNEXPECTED
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hdvlab.errors import UsageError
from hdvlab.trace.schema import KIND_GROUPS, Kind, Origin

_TOKEN = re.compile(
    r"\s*(?:(?P<time>\d[\d_]*(?:\.\d+)?(?:ns|us|ms|s)\b)"
    r"|(?P<number>0[xX][0-9a-fA-F_]+\b|0[bB][01_]+\b|\d[\d_]*\b)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<sign>==|!=|<=|>=|\.\.|[<>&()+-]))"
)
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TESTS = ("==", "!=", "<", "<=", ">", ">=", "&")
_JOINTS = ("and", "or", "not")
_VERBS = ("read", "write", "access")
_ENDINGS = ("failed", "pending")
_SPACE = re.compile(r"(?:(?P<device>\w+)\.)?(?:bar(?P<bar>[0-5])|(?P<config>config))$")

#: Columns that a condition may name; their numbers are compared as the frame has them.
COLUMNS = ("value", "address", "size", "dur_ns", "t_ns", "status", "cause", "pc")


@dataclass(frozen=True)
class Test:
    """A comparison: ``number``, or the name of a field's value in ``meaning``."""

    sign: str
    number: int
    meaning: str = ""


@dataclass(frozen=True)
class Event:
    """What a row is. None and empty: whatever.

    ``name`` is a register, a field or a device, which only a trace can tell; ``first`` and ``last`` are addresses, in
    ``bar`` where that is 0 to 5.
    """

    text: str
    kind: str = ""
    verb: str = ""
    origin: str = ""
    ending: str = ""
    names: tuple[str, ...] = ()
    bar: int | None = None
    first: int | None = None
    last: int | None = None
    column: str = ""
    test: Test | None = None


@dataclass(frozen=True)
class Not:
    """The other rows."""

    part: Node


@dataclass(frozen=True)
class Both:
    """Rows of one and of the other."""

    one: Node
    other: Node


@dataclass(frozen=True)
class Either:
    """Rows of one or of the other."""

    one: Node
    other: Node


Node = Event | Not | Both | Either


class Parser:
    """One text, read once from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._wrong(f"{text[place:].split()[0]!r} is no word of a condition")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind], match.start(kind)))
            place = match.end()
        self._at = 0

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"condition {self.text!r}: {why}; write for example 'write CTRL.EN==1' or 'not interrupt'")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at][:2] if self._at < len(self._tokens) else ("", "")

    def _take(self, *wanted: str) -> str:
        """The next token if it is one of ``wanted``, else empty."""
        token = self._peek()[1]
        if token and token in wanted:
            self._at += 1
            return token
        return ""

    def parse(self) -> Node:
        """The whole text.

        Raises
        ------
        UsageError
            It is no condition; the message says where.
        """
        if not self._tokens:
            raise self._wrong("it is empty")
        node = self._either()
        if self._at < len(self._tokens):
            raise self._wrong(f"{self._peek()[1]!r} does not belong there")
        return node

    def _either(self) -> Node:
        node = self._both()
        while self._take("or"):
            node = Either(node, self._both())
        return node

    def _both(self) -> Node:
        node = self._negated()
        while self._take("and"):
            node = Both(node, self._negated())
        return node

    def _negated(self) -> Node:
        if self._take("not"):
            return Not(self._negated())
        if self._take("("):
            node = self._either()
            if not self._take(")"):
                raise self._wrong("a ( is not closed")
            return node
        return self._event()

    def _event(self) -> Event:
        given: dict[str, object] = {}
        names: list[str] = []
        began = self._at
        while True:
            kind, token = self._peek()
            if kind == "number":
                self._range(given)
            elif kind == "name" and token not in _JOINTS:
                self._at += 1
                self._word(token, given, names)
            else:
                break
        if self._peek()[1] in _TESTS:
            given["test"] = self._test()
        if self._at == began:
            raise self._wrong(f"{token!r} does not belong there" if token else "something is missing at its end")
        if given.get("column") and "test" not in given:
            raise self._wrong(f"{given['column']} is a column; compare it: {given['column']} == 1")
        text = self.text[self._tokens[began][2] : self._end()].strip()
        return Event(text, names=tuple(names), **given)  # type: ignore[arg-type]

    def _end(self) -> int:
        return self._tokens[self._at][2] if self._at < len(self._tokens) else len(self.text)

    def _word(self, token: str, given: dict[str, object], names: list[str]) -> None:
        if (match := _SPACE.fullmatch(token)) is not None:
            if match["device"]:
                names.append(match["device"])
            self._set(given, *(("kind", "config") if match["config"] else ("bar", int(match["bar"]))))
            self._offset(given)
        elif token in _VERBS:
            self._set(given, "verb", token)
        elif token in KIND_GROUPS or (token in Kind.__members__ and token != "none"):
            self._set(given, "kind", token)
            self._offset(given)
        elif token in Origin.__members__:
            self._set(given, "origin", token)
        elif token in _ENDINGS:
            self._set(given, "ending", token)
        elif token in COLUMNS:
            self._set(given, "column", token)
        else:
            names.append(token)

    def _offset(self, given: dict[str, object]) -> None:
        if self._take("+"):
            self._range(given)

    def _range(self, given: dict[str, object]) -> None:
        self._set(given, "first", self._number())
        given["last"] = self._number() if self._take("..") else given["first"]

    def _set(self, given: dict[str, object], what: str, value: object) -> None:
        if given.get(what, value) != value:
            raise self._wrong(f"{given[what]} and {value} at once; say 'or', or 'and' between two conditions")
        given[what] = value

    def _number(self) -> int:
        kind, token = self._peek()
        if kind != "number":
            raise self._wrong(f"a number is needed{f' before {token!r}' if token else ' at its end'}")
        self._at += 1
        return int(token.replace("_", ""), 0) if token.strip("0_") else 0

    def _test(self) -> Test:
        sign = self._take(*_TESTS)
        is_negative = bool(self._take("-"))
        kind, token = self._peek()
        if kind == "number":
            number = self._number()
            return Test(sign, -number if is_negative else number)
        if kind == "time" and not is_negative:
            self._at += 1
            unit = re.sub(r"[\d._]", "", token)
            return Test(sign, round(float(token[: -len(unit)].replace("_", "")) * _UNITS[unit]))
        if kind == "name" and sign in ("==", "!=") and not is_negative:
            self._at += 1
            return Test(sign, 0, token)
        raise self._wrong(f"{sign} needs a number behind it")
