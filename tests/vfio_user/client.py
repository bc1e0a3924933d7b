"""A vfio-user client that says exactly what a test wants said, and takes apart exactly what comes back.

It knows the protocol and nothing of hdvlab. Ref: vfio-user specification (QEMU, docs/interop/vfio-user.rst).
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS = 1, 2, 3, 4, 5, 6
GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET = 7, 8, 9, 10, 11, 12, 13
REGION_WRITE_MULTI, FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = 15, 16, 17, 18

COMMAND, REPLY, NO_REPLY, ERROR = 0x0, 0x1, 0x10, 0x20
CONFIG, ROM = 7, 6
INTX, MSI, MSIX, ERR, REQ = range(5)
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 0x10, 0x20
READABLE, WRITEABLE = 1, 2

#: What QEMU 11.1 proposes, and rust-vmm's client, which is cloud-hypervisor's.
QEMU: dict[str, Any] = {
    "pgsizes": 4096,
    "max_msg_fds": 16,
    "max_dma_maps": 65535,
    "max_data_xfer_size": 1048576,
    "migration": {"max_bitmap_size": 268435456, "pgsize": 4096},
    "write_multiple": True,
}
CLOUD_HYPERVISOR: dict[str, Any] = {
    "max_msg_fds": 1,
    "max_data_xfer_size": 1048576,
    "migration": {"pgsize": 4096},
}

#: Longest wait for what the server must say, seconds.
PATIENCE = 20.0
HEADER = struct.Struct("<HHIII")


class Closed(Exception):
    """The server hung up."""


@dataclass
class Message:
    """One message of the server. ``fds`` are the receiver's to close."""

    id: int
    command: int
    flags: int
    error: int
    payload: bytes
    fds: list[int] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        return self.flags & 0xF == REPLY

    @property
    def is_error(self) -> bool:
        return bool(self.flags & ERROR)

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


def frame(command: int, payload: bytes = b"", identity: int = 1, flags: int = COMMAND, error: int = 0) -> bytes:
    """A message as bytes."""
    return HEADER.pack(identity, command, HEADER.size + len(payload), flags, error) + payload


class Refused(Exception):
    """An error reply."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


def document(capabilities: Mapping[str, Any] | None) -> bytes:
    """The JSON of a VERSION message, with its NUL; nothing for None."""
    if capabilities is None:
        return b""
    return json.dumps({"capabilities": capabilities}).encode() + b"\0"


class Client:
    """One end of a connection.

    Commands of the server that come while a reply is awaited are kept in ``asked``, after ``answer`` had them.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(PATIENCE)
        self.socket = connected
        self.last_id = 0x100
        self.asked: list[Message] = []
        self.answer: Callable[[Message], None] = lambda message: None

    def close(self) -> None:
        for message in self.asked:
            message.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- frames ------------------------------------------------------------------------------------------------

    def raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Bytes as they are; the descriptors go with the first of them."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.socket.sendmsg([data], rights)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def send(self, command: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = COMMAND) -> int:
        """One whole command; its id."""
        self.last_id = (self.last_id + 1) & 0xFFFF
        self.raw(frame(command, payload, self.last_id, flags), fds)
        return self.last_id

    def receive(self) -> Message:
        """The next message. As QEMU does, takes a header that comes in two parts for an error."""
        space = socket.CMSG_SPACE(64 * 4)
        header, controls, flags, _ = self.socket.recvmsg(HEADER.size, space, socket.MSG_CMSG_CLOEXEC)
        if not header:
            raise Closed
        assert not flags & socket.MSG_CTRUNC
        assert len(header) == HEADER.size, "QEMU: short read of header"
        identity, command, size, bits, error = HEADER.unpack(header)
        fds: list[int] = []
        for level, kind, data in controls:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds += array.array("i", data).tolist()
        assert size >= HEADER.size, "QEMU: bad header size"
        assert bits & 0xF in (COMMAND, REPLY), "QEMU: unknown message type"
        payload = b""
        while len(payload) < size - HEADER.size:
            part = self.socket.recv(size - HEADER.size - len(payload))
            if not part:
                raise Closed
            payload += part
        return Message(identity, command, bits, error, payload, fds)

    def reply_to(self, identity: int, command: int) -> Message:
        """The reply that must come next but for commands of the server."""
        while not (message := self.receive()).is_reply:
            self.asked.append(message)
            self.answer(message)
        assert (message.id, message.command) == (identity, command), "the reply to another command"
        assert message.flags & ~(REPLY | ERROR) == 0, f"flags of a reply: {message.flags:#x}"
        if message.is_error:
            assert message.payload == b"", "an error reply is the header only"
            assert message.fds == [], "an error reply has no descriptors"
        else:
            assert message.error == 0
        return message

    def ask(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Message:
        """Send a command, wait for its reply; raises :class:`Refused` for an error reply."""
        message = self.reply_to(self.send(command, payload, fds), command)
        if message.is_error:
            raise Refused(message.error)
        return message

    def asked_next(self) -> Message:
        """The next command of the server."""
        if self.asked:
            return self.asked.pop(0)
        message = self.receive()
        assert not message.is_reply, "a reply that nobody waits for"
        return message

    def respond(self, message: Message, payload: bytes = b"", error: int = 0) -> None:
        """Answer a command of the server."""
        flags = REPLY | (ERROR if error else 0)
        self.raw(frame(message.command, b"" if error else payload, message.id, flags, error))

    def hung_up(self) -> bool:
        """Whether the server has ended the connection, or does so now. What it says before that is thrown away."""
        try:
            while True:
                self.receive().close()
        except (Closed, ConnectionResetError):
            return True
        except TimeoutError:
            return False

    def is_alive(self) -> bool:
        """Whether the server still answers."""
        return len(self.ask(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).payload) == 16

    # ---- commands ----------------------------------------------------------------------------------------------

    def version(
        self, capabilities: Mapping[str, Any] | None = QEMU, minor: int = 0, major: int = 0
    ) -> tuple[int, int, dict[str, Any]]:
        """Negotiate; (major, minor, capabilities)."""
        payload = struct.pack("<HH", major, minor) + document(capabilities)
        reply = self.ask(VERSION, payload)
        assert reply.fds == []
        theirs, text = struct.unpack_from("<HH", reply.payload), reply.payload[4:]
        assert text.endswith(b"\0")
        assert text.count(b"\0") == 1
        return theirs[0], theirs[1], json.loads(text[:-1])["capabilities"]

    def dma_map(self, address: int, size: int, fd: int | None = None, offset: int = 0, flags: int = 3) -> None:
        payload = struct.pack("<IIQQQ", 32, flags, offset, address, size)
        assert self.ask(DMA_MAP, payload, [] if fd is None else [fd]).payload == b""

    def dma_unmap(self, address: int, size: int, flags: int = 0) -> None:
        payload = struct.pack("<IIQQ", 24, flags, address, size)
        # cloud-hypervisor reads exactly 40 bytes.
        assert self.ask(DMA_UNMAP, payload).payload == payload

    def info(self) -> tuple[int, int, int]:
        """(flags, regions, irqs)."""
        argsz, flags, regions, irqs = struct.unpack(
            "<IIII", self.ask(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)).payload
        )
        assert argsz == 16
        return flags, regions, irqs

    def region_info(self, index: int, argsz: int = 32) -> Message:
        return self.ask(GET_REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))

    def irq_info(self, index: int) -> tuple[int, int]:
        """(flags, count)."""
        reply = self.ask(GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0)).payload
        argsz, flags, echoed, count = struct.unpack("<IIII", reply)
        assert (argsz, echoed) == (16, index)
        return flags, count

    def set_irqs(
        self,
        flags: int,
        index: int,
        start: int = 0,
        count: int = 0,
        fds: Sequence[int] = (),
        data: bytes = b"",
        argsz: int | None = None,
    ) -> None:
        payload = struct.pack("<IIIII", 20 + len(data) if argsz is None else argsz, flags, index, start, count) + data
        assert self.ask(SET_IRQS, payload, fds).payload == b""

    def read(self, region: int, offset: int, count: int) -> bytes:
        request = struct.pack("<QII", offset, region, count)
        reply = self.ask(REGION_READ, request).payload
        assert reply[:16] == request
        assert len(reply) == 16 + count
        return reply[16:]

    def load(self, region: int, offset: int, size: int = 4) -> int:
        return int.from_bytes(self.read(region, offset, size), "little")

    def write(self, region: int, offset: int, data: bytes) -> None:
        request = struct.pack("<QII", offset, region, len(data))
        assert self.ask(REGION_WRITE, request + data).payload == request

    def store(self, region: int, offset: int, value: int, size: int = 4) -> None:
        self.write(region, offset, value.to_bytes(size, "little"))

    def post(self, region: int, offset: int, value: int, size: int = 4) -> None:
        """A posted write: no reply comes."""
        payload = struct.pack("<QII", offset, region, size) + value.to_bytes(size, "little")
        self.send(REGION_WRITE, payload, flags=NO_REPLY)

    def reset(self) -> None:
        assert self.ask(RESET).payload == b""

    def enable(self, command: int = 6) -> None:
        """Write the command register: memory decoding and bus mastering, unless told otherwise."""
        self.store(CONFIG, 4, command, 2)


def caps_of(reply: bytes) -> tuple[tuple[int, ...], list[tuple[int, int, bytes]]]:
    """A region info reply's fixed fields (argsz, flags, index, cap_offset, size, offset), and its capabilities'
    (id, version, body)."""
    fixed = struct.unpack_from("<IIIIQQ", reply)
    found = []
    at = fixed[3]
    while at and len(reply) > 32:
        identity, version, following = struct.unpack_from("<HHI", reply, at)
        found.append((identity, version, reply[at + 8 : following or len(reply)]))
        at = following
    return fixed, found


def areas_of(body: bytes) -> list[tuple[int, int]]:
    """(offset, size) of each area of a sparse mmap capability."""
    count, _ = struct.unpack_from("<II", body)
    assert len(body) == 8 + 16 * count
    return list(struct.iter_unpack("<QQ", body[8:]))


def memory(size: int, sealed: bool = True) -> int:
    """Descriptor of fresh memory; sealed against shrinking as no VMM's is by itself, or not, as QEMU's."""
    fd = os.memfd_create("ram", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


class Ram:
    """Guest RAM that answers DMA messages as QEMU 11.1 does. Give ``client.answer = ram.answer(client)``."""

    def __init__(self, size: int, address: int = 0, error: int = 0) -> None:
        self.address, self.error = address, error
        self.bytes = bytearray(size)
        #: (command, address, count, had No_reply) of every message.
        self.messages: list[tuple[int, int, int, bool]] = []

    def answer(self, client: Client) -> Callable[[Message], None]:
        def respond(message: Message) -> None:
            assert message.command in (DMA_READ, DMA_WRITE)
            assert not message.fds
            address, count = struct.unpack_from("<QQ", message.payload)
            quiet = bool(message.flags & NO_REPLY)
            self.messages.append((message.command, address, count, quiet))
            at = address - self.address
            error = self.error
            if not error and not 0 <= at <= len(self.bytes) - count:
                error = errno.ENODEV
            head = message.payload[:16]
            if message.command == DMA_WRITE:
                assert len(message.payload) == 16 + count
                if not error:
                    self.bytes[at : at + count] = message.payload[16:]
                if not quiet:
                    client.respond(message, head, error)
            else:
                assert len(message.payload) == 16
                assert not quiet
                client.respond(message, head + bytes(self.bytes[at : at + count]), error)

        return respond


def expect(errno_number: int | Iterable[int], call: Callable[..., object], *arguments: Any, **named: Any) -> None:
    """The call is refused with that error number, or one of those."""
    wanted = {errno_number} if isinstance(errno_number, int) else set(errno_number)
    try:
        answered = call(*arguments, **named)
    except Refused as refused:
        assert refused.errno in wanted, errno.errorcode.get(refused.errno)  # noqa: PT017
        return
    raise AssertionError(f"not refused: {answered!r}")
