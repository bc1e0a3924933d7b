"""Commands and how they fail.

Ref: NVM Express Base Specification 1.4c, sections 4.2 (submission queue entry) and 4.6 (completion queue entry).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from hdvlab.devices.nvme.spec import AdminOpcode, NvmOpcode, Status

_SQE = struct.Struct("<BBHIIIQQQ6I")
_CQE = struct.Struct("<IIHHHH")


class Command(NamedTuple):
    """A submission queue entry, fields as the standard names them."""

    opcode: int
    flags: int
    cid: int
    nsid: int
    cdw2: int
    cdw3: int
    mptr: int
    prp1: int
    prp2: int
    cdw10: int
    cdw11: int
    cdw12: int
    cdw13: int
    cdw14: int
    cdw15: int

    @property
    def slba(self) -> int:
        """First logical block of an NVM command."""
        return self.cdw10 | self.cdw11 << 32

    @property
    def blocks(self) -> int:
        """Logical blocks of an NVM command; NLB counts from 0."""
        return (self.cdw12 & 0xFFFF) + 1

    def encode(self) -> bytes:
        """The 64 bytes."""
        return _SQE.pack(*self)


class Completion(NamedTuple):
    """A completion queue entry; ``status`` is the 16-bit field with the phase tag in bit 0."""

    result: int
    reserved: int
    sq_head: int
    sq_id: int
    cid: int
    status: int

    def encode(self) -> bytes:
        """The 16 bytes."""
        return _CQE.pack(*self)

    @property
    def phase(self) -> int:
        """Phase tag."""
        return self.status & 1

    @property
    def code(self) -> int:
        """Status code type and status code, as in :class:`~hdvlab.devices.nvme.spec.Status`."""
        return self.status >> 1 & 0x7FF

    @property
    def do_not_retry(self) -> bool:
        """DNR."""
        return bool(self.status & 0x8000)

    @classmethod
    def decode(cls, data: bytes) -> Completion:
        """Read 16 bytes."""
        return cls._make(_CQE.unpack(data))


def decode_commands(data: bytes) -> Iterator[Command]:
    """The commands in some submission queue entries, 64 bytes each."""
    return map(Command._make, _SQE.iter_unpack(data))


class CommandError(Exception):
    """A command ends with a status other than success.

    Parameters
    ----------
    status : int
        Status code type and code, see :class:`~hdvlab.devices.nvme.spec.Status`.
    dnr : bool
        Do Not Retry: the same command would fail again.
    location : int
        Parameter error location of the error log: byte in bits 7:0, bit in 10:8; 0xFFFF = none.
    """

    def __init__(self, status: int, *, dnr: bool = True, location: int = 0xFFFF) -> None:
        super().__init__(status_name(status))
        self.status = int(status)
        self.dnr = dnr
        self.location = location


def status_name(status: int) -> str:
    """``unrecovered read error (281h)``."""
    known = Status._value2member_map_.get(status)
    return f"{known.name.lower().replace('_', ' ')} ({status:03x}h)" if isinstance(known, Status) else f"{status:03x}h"


def opcode_name(admin: bool, opcode: int) -> str:
    """``read`` or ``opcode 7fh``."""
    known = (AdminOpcode if admin else NvmOpcode)._value2member_map_.get(opcode)
    return known.name.lower().replace("_", " ") if known is not None else f"opcode {opcode:02x}h"
