"""What stands in for the machine while a copy of a device rehearses: nothing that the device does gets past it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, GuestMemoryError, HdvError, HResult, StateError, check
from hdvlab.hdv import Aperture, Doorbell, Section
from hdvlab.hdv.memory import numbers

_PAGE = 4096


class CannotRehearseError(StateError):
    """There is no copy of it to try an access on (``E_NOTIMPL``); the message says what stands in the way."""

    default_hresult = HResult.E_NOTIMPL


@dataclass(frozen=True)
class Effect:
    """One thing that the device would have done to the world around it.

    Attributes
    ----------
    kind : str
        ``dma_read``, ``dma_write``, ``interrupt``, ``line``, ``doorbell``, ``section``, ``aperture``, ``timer``,
        ``thread`` or ``wake``.
    text : str
        The rest, for people.
    address : int or None
        Guest-physical, of DMA and messages.
    data : bytes
        What was read or would be written.
    """

    kind: str
    text: str
    address: int | None = None
    data: bytes = b""


class Stage:
    """The machine around a copy of a device.

    Parameters
    ----------
    read_memory : callable
        ``read_memory(address, size)``: guest RAM, without a row. HdvError outside it.
    bus_master : bool
        Whether the driver has enabled DMA and messages.
    has_lines : bool
        Whether the machine has interrupt lines.
    stopping : bool
        Whether the device is on its way to stop.
    """

    def __init__(
        self, read_memory: Callable[[int, int], bytes], *, bus_master: bool, has_lines: bool, stopping: bool
    ) -> None:
        self._read_memory = read_memory
        self._bus_master = bus_master
        self._has_lines = has_lines
        self._pages: dict[int, bytearray] = {}
        self._raw: list[tuple[int, bytes, bytearray]] = []
        self.effects: list[Effect] = []
        self.refused: list[str] = []
        self.stopping = threading.Event()
        if stopping:
            self.stopping.set()

    def note(self, kind: str, text: str, address: int | None = None, data: bytes = b"") -> None:
        """Something would have happened."""
        self.effects.append(Effect(kind, text, address, bytes(data)))

    def refuse(self, what: str) -> CannotRehearseError:
        """The error for a thing that the copy has not got; the rehearsal as a whole fails with it."""
        if what not in self.refused:
            self.refused.append(what)
        return CannotRehearseError(what)

    def no_copy(self, what: str) -> Refused:
        """What stands for a thing that has no copy; the rehearsal fails when it is used."""
        return Refused(self, what)

    # ---- guest memory ------------------------------------------------------------------------------------------

    def _present(self, address: int, size: int, operation: str) -> bytes:
        if not self._bus_master:
            text = "the driver has not enabled bus mastering (command register bit 2) (E_ACCESSDENIED)"
            raise GuestMemoryError(text, HResult.E_ACCESSDENIED, operation)
        if not 0 <= address < 1 << 64:
            raise GuestMemoryError(f"{address:#x} is no guest-physical address of 64 bits", None, operation)
        if not 0 <= size < 1 << 32:
            raise AccessError(f"{size} bytes; one transfer has 0 to 4,294,967,295", None, operation)
        if address + size > 1 << 64:
            raise GuestMemoryError("the range wraps at 2^64", HResult.ERROR_ARITHMETIC_OVERFLOW, operation)
        try:
            data = bytearray(self._read_memory(address, size)) if size else bytearray()
        except HdvError:
            raise GuestMemoryError("the range is not wholly guest RAM", HResult.ERROR_NOACCESS, operation) from None
        for number, start, stop in _parts(address, size):
            if number in self._pages:
                place = number * _PAGE + start - address
                data[place : place + stop - start] = self._pages[number][start:stop]
        return bytes(data)

    def dma_read(self, address: int, size: int) -> bytes:
        """Guest RAM as it is now, with what this rehearsal has written."""
        address, size = numbers(address=address, size=size)
        data = self._present(address, size, f"HdvReadGuestMemory {address:#x}+{size:#x}")
        self.note("dma_read", f"{size:,} bytes", address, data)
        return data

    def dma_write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Into the overlay; guest RAM stays as it is."""
        given = bytes(memoryview(data).cast("B"))
        (address,) = numbers(address=address)
        self._present(address, len(given), f"HdvWriteGuestMemory {address:#x}+{len(given):#x}")
        for number, start, stop in _parts(address, len(given)):
            if number not in self._pages:
                self._pages[number] = bytearray(_PAGE)
                with contextlib.suppress(HdvError):  # its end may lie outside RAM
                    self._pages[number][:] = self._read_memory(number * _PAGE, _PAGE)
            place = number * _PAGE + start - address
            self._pages[number][start:stop] = given[place : place + stop - start]
        self.note("dma_write", f"{len(given):,} bytes", address, given)

    def aperture(self, address: int, size: int, write_protected: bool = False) -> StagedAperture:
        """A window on the same memory."""
        address, size = numbers(address=address, size=size)
        self._present(address, size, f"HdvCreateGuestMemoryAperture {address:#x}+{size:#x}")
        self.note("aperture", f"{size:,} bytes would be mapped", address)
        return StagedAperture(self, address, size, write_protected)

    def raw(self, address: int, size: int) -> bytearray:
        """Memory for :attr:`Aperture.raw`; what is written there is found at the end."""
        data = self._present(address, size, "Aperture")
        copy = bytearray(data)
        self._raw.append((address, data, copy))
        return copy

    def finish(self) -> None:
        """Note what was written without a call."""
        for address, before, after in self._raw:
            changed = [place for place, byte in enumerate(before) if after[place] != byte]
            if changed:
                first, last = changed[0], changed[-1] + 1
                text = f"{last - first:,} bytes, through an aperture"
                self.note("dma_write", text, address + first, bytes(after[first:last]))
        self._raw.clear()

    # ---- interrupts --------------------------------------------------------------------------------------------

    def interrupt(self, file: Any, vector: int) -> bool:
        """As :meth:`Device.interrupt`, without a message."""
        address, data = ffi.new("uint64_t *"), ffi.new("uint32_t *")
        hresult = lib.hdvlab_register_file_rehearse_interrupt(file, vector, address, data)
        if hresult & 0xFFFFFFFF == HResult.ERROR_INVALID_STATE:
            self.note("interrupt", f"vector {vector}: goes nowhere, the driver has enabled neither MSI-X nor MSI")
            return False
        if hresult < 0:
            self.note("interrupt", f"vector {vector}: refused, there is none, or the driver was not granted it")
        check(hresult, f"interrupt({vector})", "no such vector, or the driver was not granted it")
        if hresult == 0:
            self.note("interrupt", f"vector {vector}: masked, it would be pending")
        elif not self._bus_master:
            self.note("interrupt", f"vector {vector}: goes nowhere, bus mastering is off")
            return False
        else:
            message = int(data[0])
            self.note("interrupt", f"vector {vector}: would be delivered, data {message:#x}", int(address[0]),
                      message.to_bytes(4, "little"))  # fmt: skip
        return True

    def set_interrupt_line(self, asserted: bool) -> bool:
        """As :meth:`Device.set_interrupt_line`."""
        if self._has_lines:
            self.note("line", "would be raised" if asserted else "would be lowered")
        else:
            self.note("line", "this machine has none")
        return self._has_lines

    # ---- work, doorbells, sections -----------------------------------------------------------------------------

    def after(self, seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A timer that is not started."""
        self.note("timer", f"after {seconds:g} s {_call(function, arguments)}; not started here")
        return StagedTimer(self, _call(function, arguments), False)

    def spawn(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A thread that is not started."""
        self.note("thread", f"{_call(function, arguments)}; not started here")
        return StagedThread(self, _call(function, arguments), False)

    def doorbell(self, bar: int, offset: int, value: int | None, size: int | None) -> StagedDoorbell:
        """One that never rings."""
        which = "" if value is None else f", value {value:#x}"
        self.note("doorbell", f"would be registered at bar{bar}+{offset:#x}{which}")
        return StagedDoorbell()

    def section(self, bar: int, offset: int, size: int) -> StagedSection:
        """Memory that no guest sees."""
        self.note("section", f"{size:,} bytes of bar{bar} from {offset:#x} on would be backed by memory")
        return StagedSection(StagedMemory(size))


def _parts(address: int, size: int) -> list[tuple[int, int, int]]:
    """Pages of a range: number, first and last byte in it."""
    found = []
    end = address + size
    while address < end:
        number, start = divmod(address, _PAGE)
        stop = min(_PAGE, start + end - address)
        found.append((number, start, stop))
        address += stop - start
    return found


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__).replace("<locals>.", "")
    return f"{name}({', '.join(f'{one!r:.40}' for one in arguments)})"


class StagedAperture(Aperture):
    """A window on guest RAM as the stage has it."""

    def __init__(self, stage: Stage, address: int, size: int, write_protected: bool) -> None:
        self._stage = stage
        self._mapped = True
        self.address, self.size, self.write_protected = address, size, write_protected

    def read(self, offset: int, size: int) -> bytes:
        return self._stage.dma_read(self._at(offset, size), size)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        address = self._at(offset, memoryview(data).nbytes)
        if self.write_protected:
            raise GuestMemoryError("the aperture is write-protected (E_ACCESSDENIED)", HResult.E_ACCESSDENIED)
        self._stage.dma_write(address, data)

    @property
    def raw(self) -> memoryview:
        self._at(0, 0)
        view = memoryview(self._stage.raw(self.address, self.size))
        return view.toreadonly() if self.write_protected else view

    def close(self) -> None:
        self._mapped = None


class StagedMemory(bytearray):
    """A copy of memory that was mapped."""

    def flush(self, *_: int) -> None:
        """Nothing: there is no file."""

    def close(self) -> None:
        """Nothing."""

    def size(self) -> int:
        """Bytes."""
        return len(self)


class StagedSection(Section):
    """A section whose memory is the copy's own."""

    def __init__(self, memory: StagedMemory) -> None:
        self.memory: Any = memory
        self.size = len(memory)

    def close(self) -> None:
        """Nothing."""


class StagedDoorbell(Doorbell):
    """A doorbell that never rings."""

    def __init__(self) -> None:
        """There is nothing behind it."""

    @property
    def row(self) -> int:
        """-1: nobody rang."""
        return -1

    def wait(self, timeout: float | None = None) -> int:
        """0: nobody rings here."""
        return 0

    def close(self) -> None:
        """Nothing."""


class StagedThread:
    """A thread that the copy asks about and cannot do anything to."""

    daemon = True
    ident = None

    def __init__(self, stage: Stage, name: str, alive: bool) -> None:
        self._stage, self.name, self._alive = stage, name, alive

    def is_alive(self) -> bool:
        """Whether the real one was alive when the copy was made; what a rehearsal starts does not run."""
        return self._alive

    def join(self, timeout: float | None = None) -> None:
        """Refused: nobody runs that could end."""
        if self._alive:
            raise self._stage.refuse(f"it waits for thread {self.name}, which a copy has not got")


class StagedTimer(StagedThread):
    """A timer that can be cancelled, which is noted."""

    def cancel(self) -> None:
        """Note it."""
        self._stage.note("timer", f"{self.name} would be cancelled")
        self._alive = False


class Refused:
    """In the place of something that has no copy; using it ends the rehearsal with a sentence that says what it was."""

    def __init__(self, stage: Stage, what: str) -> None:
        object.__setattr__(self, "_told", (stage, what))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        stage, what = object.__getattribute__(self, "_told")
        raise stage.refuse(f"its code uses {what}, of which a rehearsal has no copy")

    __call__ = __enter__ = __exit__ = __len__ = __iter__ = __next__ = __contains__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = __setattr__ = __int__ = __index__ = _refuse

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # somebody only looks what it is
            raise AttributeError(name)
        return self._refuse()

    def __repr__(self) -> str:
        return f"<no copy of {object.__getattribute__(self, '_told')[1]}>"
