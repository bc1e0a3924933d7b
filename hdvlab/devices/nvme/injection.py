"""Commands that are to fail, because somebody wants to see what the driver does."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hdvlab.devices.nvme.command import Command, CommandError, status_name
from hdvlab.devices.nvme.spec import AdminOpcode, NvmOpcode, Status
from hdvlab.errors import UsageError


@dataclass
class Injection:
    """``count`` commands of an opcode end with a status; ``left`` says how many still will."""

    admin: bool
    opcode: int
    status: int
    left: int
    retry: bool
    block: int | None
    """The logical block that must be among the command's; None = any."""

    def matches(self, admin: bool, command: Command) -> bool:
        """Whether a command is meant."""
        if not self.left or admin != self.admin or command.opcode != self.opcode:
            return False
        return self.block is None or command.slba <= self.block < command.slba + command.blocks

    def __str__(self) -> str:
        return f"{self.left} to end with {status_name(self.status)}"


class Injections:
    """The failures that are asked for. Asked by one thread, matched by another."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: list[Injection] = []

    def add(self, opcode: int | str, status: int | str, count: int, retry: bool, block: int | None) -> Injection:
        """See :meth:`hdvlab.devices.nvme.Nvme.fail`."""
        admin, number = parse_opcode(opcode)
        if count < 1:
            raise UsageError(f"count={count}; 1 command or more can fail")
        injection = Injection(admin, number, parse_status(status), count, retry, block)
        with self._guard:
            self._waiting.append(injection)
        return injection

    def clear(self) -> None:
        """Forget those that have not happened."""
        with self._guard:
            self._waiting.clear()

    def match(self, admin: bool, command: Command) -> CommandError | None:
        """The failure that a command is to have, if any; it is used up."""
        if not self._waiting:
            return None
        with self._guard:
            for injection in self._waiting:
                if injection.matches(admin, command):
                    injection.left -= 1
                    if not injection.left:
                        self._waiting.remove(injection)
                    return CommandError(injection.status, dnr=not injection.retry)
        return None


def parse_opcode(opcode: int | str) -> tuple[bool, int]:
    """Whether an opcode is an admin one, and its number. A plain number is an I/O command's."""
    if isinstance(opcode, AdminOpcode):
        return True, int(opcode)
    if isinstance(opcode, str):
        name = opcode.strip().upper().replace(" ", "_")
        for admin, kind in ((False, NvmOpcode), (True, AdminOpcode)):
            if name in kind.__members__:
                return admin, int(kind[name])
        known = ", ".join(name.lower() for kind in (NvmOpcode, AdminOpcode) for name in kind.__members__)
        raise UsageError(f"no opcode {opcode!r}; there is {known}, or a number")
    if not 0 <= opcode <= 0xFF:
        raise UsageError(f"opcode {opcode} does not fit 8 bits")
    return False, int(opcode)


def parse_status(status: int | str) -> int:
    """A status by number (status code type in bits 10:8, code in 7:0) or by name."""
    if isinstance(status, str):
        name = status.strip().upper().replace(" ", "_")
        if name not in Status.__members__:
            known = ", ".join(name.lower() for name in Status.__members__)
            raise UsageError(f"no status {status!r}; there is {known}, or a number such as 0x281")
        return int(Status[name])
    if not 0 < status <= 0x7FF:
        raise UsageError(f"status {status:#x} is no failure of 11 bits: type in bits 10:8, code in 7:0, such as 0x281")
    return int(status)
