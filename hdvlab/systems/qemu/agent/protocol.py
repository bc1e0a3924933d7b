"""Frames on the serial line between the host and the agent in the guest; ``agent.c`` is the other side.

::

    0   4  mark        f5 'h' 'd' 'v'
    4   1  kind        Kind
    5   1  check       over bytes 4 to 11 but this one; a mark in the noise is mostly found out here
    6   2  request     1 to 65535; 0 = none
    8   2  sequence    of the frames of this direction, from 0 at HELLO: a gap is a frame that was lost
    10  2  length      of the payload, at most 1024
    12  …  payload
        4  CRC-32      over everything between the mark and here

Numbers are little-endian. Bytes between frames (a kernel message, noise) are skipped; the side that sees some sends a
PING, and the sequence number of the PONG tells whether a frame was among them.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

#: What both sides call the protocol; the agent tells its own in HELLO.
VERSION = 1
#: Bytes of payload in a frame, at most.
CHUNK = 1024
#: Bytes of one request that may be on their way to the agent without its CREDIT. The 8250 driver in the guest keeps
#: 64 KiB that nobody has read yet: 12 requests stay below.
WINDOW = 4096
#: Requests in flight, at most.
REQUESTS = 12
#: Bytes of a shell command, at most: Linux takes no longer argument.
COMMAND_MAX = 128 * 1024 - 1

MARK = b"\xf5hdv"
HEADER = struct.Struct("<4sBBHHH")
FRAME_MAX = HEADER.size + CHUNK + 4


class Kind(enum.IntEnum):
    """What a frame is."""

    HELLO = 1  #: host: u32 nonce. Agent: u32 version, u32 nonce (0 = of itself, when it starts), u32 start, boot id.
    PING = 2
    PONG = 3  #: the PING's payload
    RUN = 4  #: u32 length of the command, which is the first of the DATA; what follows is its standard input
    PUT = 5  #: u32 mode, path
    GET = 6  #: path
    DATA = 7
    END = 8  #: host: no more DATA
    CREDIT = 9  #: u32 bytes of DATA that the agent has passed on
    SIGNAL = 10  #: u8 signal for a command's process group; ends a PUT or GET
    DONE = 11  #: u8 Outcome, u32 value, text
    LOST = 12  #: the agent missed a frame


class Outcome(enum.IntEnum):
    """How a request ended."""

    EXITED = 0  #: value: exit status
    SIGNALLED = 1  #: value: signal
    FAILED = 2  #: value: Linux' errno; the text is strerror's


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    request: int
    sequence: int
    payload: bytes


def _check(header: bytes | bytearray) -> int:
    total = 0xA5
    for index, byte in enumerate(header[4:], 4):
        total = (total << 1 & 0xFF | total >> 7) ^ (0 if index == 5 else byte)
    return total


def pack(kind: int, request: int, sequence: int, payload: bytes = b"") -> bytes:
    """A frame's bytes."""
    header = bytearray(HEADER.pack(MARK, kind, 0, request, sequence & 0xFFFF, len(payload)))
    header[5] = _check(header)
    body = bytes(header[4:]) + payload
    return MARK + body + struct.pack("<I", zlib.crc32(body))


class Parser:
    """Takes bytes as they come, gives frames.

    Attributes
    ----------
    skipped : int
        Bytes that were no frame, so far.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole with ``data``."""
        self._buffer += data
        buffer, frames, at = self._buffer, [], 0
        while True:
            found = buffer.find(MARK, at)
            if found < 0:  # the last 3 bytes may be a mark's first
                found = max(at, len(buffer) - len(MARK) + 1)
                self.skipped += found - at
                at = found
                break
            self.skipped += found - at
            at = found
            if len(buffer) - at < HEADER.size:
                break
            header = bytes(buffer[at : at + HEADER.size])
            _, kind, check, request, sequence, length = HEADER.unpack(header)
            end = at + HEADER.size + length + 4
            if length > CHUNK or check != _check(header):
                self.skipped += 1
                at += 1
                continue
            if len(buffer) < end:
                break
            body = bytes(buffer[at + 4 : end - 4])
            if zlib.crc32(body) != struct.unpack("<I", buffer[end - 4 : end])[0]:
                self.skipped += 1
                at += 1
                continue
            frames.append(Frame(kind, request, sequence, body[8:]))
            at = end
        del buffer[:at]
        return frames
