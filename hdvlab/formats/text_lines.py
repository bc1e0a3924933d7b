"""A text log, plain or gzip, as blocks of whole lines: bounded memory, and every damage told where it stands.

Ref: RFC 1952 (gzip) for the signature, members, and the checksum behind each member.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO, Final

from hdvlab.errors import HResult, TraceError
from hdvlab.trace.tables import BadLine

#: Longest line that is read, in bytes. A kernel trace line is made in one buffer of at most 8 KiB (``trace_seq``).
MAX_LINE: Final = 65_536

#: How much of a line that cannot be read is kept, in bytes.
KEPT: Final = 1_000

#: How much text the format is found from, in bytes.
HEAD: Final = 65_536

_GZIP: Final = b"\x1f\x8b"
_READ: Final = 1 << 18
_TEXT: Final = 1 << 20


@dataclass(frozen=True)
class Block:
    """Whole lines, each with its newline; ``number`` is the first line's, from 1."""

    data: bytes
    number: int


@dataclass(frozen=True)
class CutLine:
    """The text behind the last newline."""

    data: bytes
    number: int


def bad_line(number: int, data: bytes, reason: str) -> BadLine:
    """A line that could not be read, its first :data:`KEPT` bytes as text (bytes that are not UTF-8 as ``\\xNN``)."""
    if len(data) > KEPT:
        reason = f"{reason} (first {KEPT:,} bytes of the line kept)"
    return BadLine(number, data[:KEPT].rstrip(b"\r\n").decode("utf-8", "backslashreplace"), reason)


def too_long(length: int) -> str:
    """What is wrong with a line of ``length`` bytes."""
    return f"the line is {length:,} bytes long, the longest that is read is {MAX_LINE:,}"


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file opened for reading; what prevents it is a ``TraceError`` that says what to do."""
    try:
        stream = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        message = "there is no such file; check the path"
        raise TraceError(message, HResult.ERROR_NOT_FOUND, f"read {path}") from error
    except PermissionError as error:
        message = "this file may not be read; change its permissions"
        raise TraceError(message, HResult.E_ACCESSDENIED, f"read {path}") from error
    except (OSError, ValueError) as error:
        raise TraceError(f"this cannot be opened as a file: {error}", operation=f"read {path}") from error
    with stream:
        yield stream


class TextLines:
    """The lines of a binary stream, decompressed if it begins with the gzip signature.

    Iterate once. Never more than about 2 MiB of text is held, whatever the stream is.

    Parameters
    ----------
    stream : binary file
        Read from its current position, forwards only; not closed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._damage = ""
        self._texts = self._text(stream)
        self._ahead: list[bytes] = []
        while sum(map(len, self._ahead)) < HEAD and (text := next(self._texts, b"")):
            self._ahead.append(text)
        self.head = b"".join(self._ahead)[:HEAD]
        """The first bytes of the text, at most :data:`HEAD`."""

    @property
    def damage(self) -> str:
        """What stopped the reading before the end of the text; empty where nothing did (so far)."""
        return self._damage

    def __iter__(self) -> Iterator[Block | CutLine | BadLine]:
        """Blocks in order; a line longer than a block, and damage of the stream itself, come as a ``BadLine``."""
        number, rest, passed = 1, b"", 0
        for text in self._pieces():
            if passed:
                newline = text.find(b"\n")
                if newline < 0:
                    passed += len(text)
                    continue
                yield bad_line(number, rest, too_long(passed + newline))
                number, rest, passed, text = number + 1, b"", 0, text[newline + 1 :]
            text = rest + text
            end = text.rfind(b"\n") + 1
            if end:
                yield Block(text[:end], number)
                number += text.count(b"\n", 0, end)
            rest = text[end:]
            if len(rest) > MAX_LINE:
                rest, passed = rest[: KEPT + 1], len(rest)
        if passed:
            yield bad_line(number, rest, f"{too_long(passed)}, and the file ends in the middle of it")
        elif rest:
            yield CutLine(rest, number)
        if self._damage:
            yield BadLine(number + bool(rest), "", self._damage)

    def _pieces(self) -> Iterator[bytes]:
        while self._ahead:
            yield self._ahead.pop(0)
        yield from self._texts

    def _text(self, stream: BinaryIO) -> Iterator[bytes]:
        raw = self._raw(stream)
        first = next(raw, b"")
        if first[:2] != _GZIP:
            while first:
                yield first
                first = next(raw, b"")
            return
        yield from self._members(first, raw)

    def _raw(self, stream: BinaryIO) -> Iterator[bytes]:
        while True:
            try:
                data = stream.read(_READ)
            except OSError as error:
                self._damage = f"the file cannot be read any further: {error.strerror or error}"
                return
            if not data:
                return
            yield data

    def _members(self, data: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        """The text of one gzip member after another, as far as it can be decompressed."""
        while data[:2] == _GZIP:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                if not data and not (data := next(raw, b"")):
                    # A read error has said so itself.
                    self._damage = self._damage or "the gzip data ends too early: what was behind it is missing"
                    return
                before = member.copy()
                try:
                    text = member.decompress(data, _TEXT)
                except zlib.error as error:
                    yield from _up_to_damage(before, data)
                    self._damage = f"the gzip data is damaged, what is behind it is missing ({error})"
                    return
                data = member.unused_data if member.eof else member.unconsumed_tail
                if text:
                    yield text
            if len(data) < 2:
                data += next(raw, b"")
            while data and not (data := data.lstrip(b"\0")):  # gzip allows zero padding behind a member
                data = next(raw, b"")
        if data:
            self._damage = "the gzip data is followed by something else, which is not read"


def _up_to_damage(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What a damaged piece gives before its damage: zlib keeps back the text of a call that fails, so single bytes."""
    texts = bytearray()
    with suppress(zlib.error):
        for place in range(len(data)):
            texts += member.decompress(data[place : place + 1])
            if len(texts) >= _TEXT:
                yield bytes(texts)
                texts.clear()
    yield bytes(texts)
