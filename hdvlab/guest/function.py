"""A PCI function as a driver sees it: config space, BARs, message-signalled interrupts.

Ref: PCI Local Bus 3.0, sections 6.2 (config space), 6.8 (MSI, MSI-X).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from types import FrameType

from hdvlab.errors import AccessError, AccessWarning, HResult, StateError
from hdvlab.guest.bus import INTERRUPT_ADDRESS, Bus
from hdvlab.guest.register import GuestBar
from hdvlab.hdv.callbacks import reraise_interrupt, take_failure
from hdvlab.pci import CapabilityId, Command, walk
from hdvlab.registers import RegisterMap
from hdvlab.trace.schema import Origin

_WHY = {
    HResult.ERROR_NOACCESS: "nothing decodes that address: memory decode (COMMAND bit 1) is off, the BAR is not "
    "placed, or what was there is gone: the device, or the end of a section's file",
    HResult.ERROR_NOT_FOUND: "no register claims that offset",
    HResult.E_ACCESSDENIED: "the register is read-only, so the write was dropped",
    HResult.E_INVALIDARG: "the register does not take accesses of that size or place",
    HResult.ERROR_INVALID_STATE: "the device is not running, or this is its own handler",
    HResult.ERROR_POSSIBLE_DEADLOCK: "the device is held inside its own callback by a breakpoint; peek looks at it, "
    "and %hdv continue lets it go on",
    HResult.ERROR_TIMEOUT: "its process does not answer within the broker's budget",
    HResult.HCS_E_SERVICE_DISCONNECT: "its process is gone; serve it again there, then plug it in again here",
    HResult.HCS_E_PROTOCOL_ERROR: "its process was cut off, because it sent what is no message",
}


def _depth() -> int:
    """Stack level, for a warning that the caller gives, of the line that made the access."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hdvlab."):
        frame, depth = frame.f_back, depth + 1
    return depth


class Function:
    """One PCI function.

    Parameters
    ----------
    bus : Bus
        The machine.
    slot : int
        Device number on bus 0; the function number is 0.
    name : str
        For messages.
    maps : mapping of int to RegisterMap
        Register descriptions per BAR, where there are any.
    origin : Origin
        Who accesses; a person's failed accesses warn, a guest's are only rows.
    source_of : callable, optional
        Gives a Python frame's current line a number for the ``pc`` column.
    """

    def __init__(
        self,
        bus: Bus,
        slot: int,
        name: str = "",
        maps: Mapping[int, RegisterMap] | None = None,
        origin: Origin = Origin.guest,
        source_of: Callable[[FrameType], int] | None = None,
    ) -> None:
        self.bus = bus
        self.slot = slot
        self.name = name or f"00:{slot:02x}.0"
        self.maps = dict(maps or {})
        self.origin = origin
        self.source_of = source_of
        self.bars: dict[int, GuestBar] = {}
        self.keeps: object = None
        """What must live as long as somebody uses this."""
        self.vectors: list[int] = []
        """CPU vectors, in the order of the function's own, once :meth:`enable_interrupts` gave them."""

    # ---- accesses, each with the line that made it -------------------------------------------------------------

    def pc_of(self, frame: FrameType | None) -> int:
        """Number of the line that an access comes from: of the first frame outside this package."""
        if self.source_of is None:
            return 0
        while frame is not None and frame.f_globals.get("__name__", "").startswith("hdvlab.guest."):
            frame = frame.f_back
        return self.source_of(frame) if frame is not None else 0

    def failed(self, hresult: int, what: object, verb: str) -> None:
        """An access ended with a failed HRESULT: the guest goes on as on hardware; a person is told why.

        Raises
        ------
        StateError
            The machine is off.
        """
        reraise_interrupt()
        failure = take_failure(hresult)
        code = HResult(hresult & 0xFFFFFFFF) if hresult & 0xFFFFFFFF in HResult._value2member_map_ else None
        if code is HResult.E_HANDLE:
            raise StateError("the machine is off; start it first", None, f"{verb} of {what}")
        if self.origin is Origin.user:
            why = _WHY.get(code, "see the row's status") if code is not None else "see the row's status"
            if failure:
                why = f"its handler failed: {failure}; lab.faults has the traceback"
            answer = "answered all ones" if verb == "read" else "had no effect"
            symbol = HResult.symbol_of(hresult)
            warnings.warn(f"{verb} of {what} {answer}: {why} ({symbol})", AccessWarning, stacklevel=_depth())

    def config_read(self, offset: int, size: int = 4) -> int:
        """Read 1, 2 or 4 bytes of config space."""
        self._check_config(offset, size)
        pc = self.pc_of(sys._getframe(1))
        value, hresult = self.bus.config_read(self.slot, offset, size, self.origin, pc)
        if hresult < 0:
            self.failed(hresult, f"{self.name} config+{offset:#x}", "read")
        return value

    def config_write(self, offset: int, value: int, size: int = 4) -> None:
        """Write 1, 2 or 4 bytes of config space."""
        self._check_config(offset, size)
        if not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} bytes")
        pc = self.pc_of(sys._getframe(1))
        hresult = self.bus.config_write(self.slot, offset, size, value, self.origin, pc)
        if hresult < 0:
            self.failed(hresult, f"{self.name} config+{offset:#x}", "write")

    @staticmethod
    def _check_config(offset: int, size: int) -> None:
        if size not in (1, 2, 4) or not 0 <= offset < 4096 or offset % 4 + size > 4:
            raise AccessError(
                f"a config access has 1, 2 or 4 bytes within one dword below 0x1000, not {offset:#x}/{size}"
            )

    # ---- what drivers do with config space ---------------------------------------------------------------------

    def config(self, size: int = 256) -> bytes:
        """Config space, read dword by dword: each is an access."""
        return b"".join(self.config_read(offset, 4).to_bytes(4, "little") for offset in range(0, size, 4))

    @property
    def command(self) -> Command:
        """The command register, one access."""
        return Command(self.config_read(4, 2))

    @command.setter
    def command(self, value: Command | int) -> None:
        self.config_write(4, int(value), 2)

    def enable(self, memory: bool = True, bus_master: bool = True) -> None:
        """Switch memory decode and bus mastering on or off: one read and one write of the command register."""
        command = self.command & ~(Command.MEMORY_SPACE | Command.BUS_MASTER)
        wanted = (Command.MEMORY_SPACE if memory else 0) | (Command.BUS_MASTER if bus_master else 0)
        self.command = Command(int(command) | int(wanted))

    def find_capability(self, capability_id: int) -> int:
        """Config offset of a capability, found by walking the list; 0 when there is none."""
        if not self.config_read(6, 2) & 0x10:
            return 0
        seen: set[int] = set()
        place = self.config_read(0x34, 1) & 0xFC
        while place >= 0x40 and place not in seen:
            seen.add(place)
            if self.config_read(place, 1) == capability_id:
                return place
            place = self.config_read(place + 1, 1) & 0xFC
        return 0

    def enable_interrupts(self, vectors: list[int]) -> None:
        """Program MSI-X, else MSI, so that the function's vector ``i`` reaches CPU vector ``vectors[i]``.

        Raises
        ------
        StateError
            The function has neither capability.
        """
        msix = self.find_capability(CapabilityId.MSI_X)
        if msix:
            self._enable_msix(msix, vectors)
        else:
            msi = self.find_capability(CapabilityId.MSI)
            if not msi:
                raise StateError(f"{self.name} has neither MSI nor MSI-X")
            self._enable_msi(msi, vectors)
        self.vectors = vectors

    def _enable_msi(self, place: int, vectors: list[int]) -> None:
        control = self.config_read(place + 2, 2)
        granted = len(vectors).bit_length() - 1
        if 1 << granted != len(vectors) or len(vectors) > 1 << (control >> 1 & 7):
            raise AccessError(f"MSI takes 1 to {1 << (control >> 1 & 7)} vectors, a power of two, not {len(vectors)}")
        if vectors[0] % len(vectors) or vectors != list(range(vectors[0], vectors[0] + len(vectors))):
            raise AccessError("MSI vectors are consecutive and start at a multiple of their number")
        self.config_write(place + 4, INTERRUPT_ADDRESS)
        data = place + 8
        if control & 0x80:
            self.config_write(place + 8, 0)
            data = place + 12
        self.config_write(data, vectors[0], 2)
        self.config_write(place + 2, control & ~0x70 | granted << 4 | 1, 2)

    def _enable_msix(self, place: int, vectors: list[int]) -> None:
        control = self.config_read(place + 2, 2)
        count = (control & 0x7FF) + 1
        if not 0 < len(vectors) <= count:
            raise AccessError(f"{self.name} has {count} MSI-X vectors, not {len(vectors)}")
        table = self.config_read(place + 4)
        bar = self.bars[table & 7]
        self.config_write(place + 2, control | 0xC000, 2)  # enabled, all masked while the table is written
        for number, vector in enumerate(vectors):
            entry = (table & ~7) + 16 * number
            for offset, value in ((0, INTERRUPT_ADDRESS), (4, 0), (8, vector), (12, 0)):
                bar.write(entry + offset, value)
        self.config_write(place + 2, control & ~0x4000 | 0x8000, 2)

    def capabilities(self) -> list[str]:
        """The capabilities' names and places, decoded from config space."""
        return [str(entry) for entry in walk(self.config())]

    def map_bar(self, index: int, address: int, size: int) -> GuestBar:
        """Note where a BAR was placed; ``function.bar0`` is it from then on."""
        registers = self.maps.get(index) or RegisterMap((), size, f"bar{index}")
        bar = self.bars[index] = GuestBar(self, index, address, size, registers)
        vars(self)[f"bar{index}"] = bar
        return bar

    def __getattr__(self, name: str) -> GuestBar:
        known = ", ".join(f"bar{index}" for index in vars(self).get("bars", {})) or "no BARs"
        raise AttributeError(f"{name}; {vars(self).get('name', 'the function')} has {known}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(f"bar{index}" for index in self.bars)]

    def __repr__(self) -> str:
        return f"<{self.name} at 00:{self.slot:02x}.0>"
