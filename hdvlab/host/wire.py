"""Messages between a device host and its clients: JSON objects, each behind its length, over a UNIX socket.

::

    request   {"id": 7, "request": "peek", "with": {...}}
    reply     {"id": 7, "result": ..., "generation": 3}   or   {"id": 7, "error": {...}, "generation": 3}
    event     {"event": "output", ...}                    from the host, whenever something happens

The length is 4 bytes, little-endian. Nothing that is received is ever executed or unpickled here.
"""

from __future__ import annotations

import base64
import builtins
import json
import socket
import struct
import threading
import traceback
from typing import Any

from hdvlab import errors
from hdvlab.errors import BackendError, DeviceError, HdvError, HResult

#: Changes when an older client or host would misunderstand a newer one.
PROTOCOL_VERSION = 1
#: Bytes of the largest message that is taken.
LARGEST = 64 << 20

_LENGTH = struct.Struct("<I")


class WireError(BackendError):
    """What came is no message; the connection is of no use any more (``HCS_E_PROTOCOL_ERROR``)."""

    default_hresult = HResult.HCS_E_PROTOCOL_ERROR


class GoneError(BackendError):
    """The other side is gone (``HCS_E_SERVICE_DISCONNECT``)."""

    default_hresult = HResult.HCS_E_SERVICE_DISCONNECT


class Channel:
    """One end of a connection. Several threads may send; one at a time receives."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._sending = threading.Lock()

    def send(self, *messages: dict[str, Any]) -> None:
        """Send messages one behind the other, each whole.

        Raises
        ------
        GoneError
            The other side is gone.
        UsageError
            A message is too large; nothing was sent.
        """
        parts = []
        for message in messages:
            data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            if len(data) > LARGEST:
                raise errors.UsageError(
                    f"a message of {len(data):,} bytes is too large; {LARGEST:,} is the most. Take it in parts"
                )
            parts += [_LENGTH.pack(len(data)), data]
        try:
            with self._sending:
                self._socket.sendall(b"".join(parts))
        except OSError as error:
            raise GoneError(f"the connection has ended: {error.strerror or error}") from error

    def receive(self) -> dict[str, Any] | None:
        """The next message; None where the other side has closed in good order.

        Raises
        ------
        WireError
            What came is no message.
        GoneError
            The connection broke, also within a message.
        """
        start = self._exactly(_LENGTH.size, may_end=True)
        if start is None:
            return None
        (length,) = _LENGTH.unpack(start)
        if not 2 <= length <= LARGEST:
            raise WireError(f"a message says that it has {length:,} bytes; 2 to {LARGEST:,} are taken")
        data = self._exactly(length)
        assert data is not None
        try:
            message = json.loads(data.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise WireError(f"a message is no JSON: {error}") from None
        if not isinstance(message, dict):
            raise WireError("a message is no JSON object")
        return message

    def _exactly(self, size: int, may_end: bool = False) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._socket.recv(min(size - len(data), 1 << 20))
            except OSError as error:
                raise GoneError(f"the connection has ended: {error.strerror or error}") from error
            if not part:
                if may_end and not data:
                    return None
                raise GoneError("the connection has ended within a message")
            data += part
        return bytes(data)

    def set_patience(self, seconds: float) -> None:
        """Give up sending to a side that does not receive after so long."""
        whole = int(seconds)
        value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def hang_up(self) -> None:
        """Wake whoever receives or sends: nothing more comes."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is over already

    def close(self) -> None:
        """Give the socket back; nobody may be receiving."""
        self._socket.close()


def packed(data: bytes) -> str:
    """Bytes as JSON carries them."""
    return base64.b64encode(data).decode("ascii")


def unpacked(text: str) -> bytes:
    """What :func:`packed` packed."""
    return base64.b64decode(text, validate=True)


def described_error(error: BaseException) -> dict[str, Any]:
    """An exception as JSON carries it: its name and message, and the traceback as text."""
    told: dict[str, Any] = {"type": type(error).__name__, "message": _message_of(error)}
    if isinstance(error, HdvError):
        # What an error of ours says is all there is to say; its base is known to every client.
        known = next(one.__name__ for one in type(error).__mro__ if getattr(errors, one.__name__, None) is one)
        told |= {"type": known, "message": error.message, "hresult": error.hresult, "operation": error.operation}
    else:
        told["text"] = "".join(traceback.format_exception(error))
    return told


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # an author's class, an author's __str__
        return f"<its text failed: {type(failure).__name__}>"


def rebuilt_error(told: dict[str, Any]) -> HdvError:
    """The exception that a description stands for; one that is none of ours becomes a DeviceError with its text."""
    known = getattr(errors, str(told.get("type")), None)
    if isinstance(known, type) and issubclass(known, HdvError):
        return known(str(told["message"]), told.get("hresult"), str(told.get("operation", "")))
    message = f"{told.get('type')}: {told.get('message')}"
    if text := told.get("text"):
        message += f"\n{text}"
    return DeviceError(message.rstrip())


def named_exception(kind: str, message: str) -> BaseException:
    """An exception of that name, for a fault that happened elsewhere: only its name and message are looked at."""
    known = getattr(builtins, kind, None) or getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            if str(made := known(message)) == message:
                return made
        except TypeError:  # it takes other arguments
            pass
    strange: BaseException = type(kind, (Exception,), {})(message)
    return strange
