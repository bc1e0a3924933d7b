"""What would this access do? Tried on a copy of the device, which has no machine around it: nothing changes."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.device.alone import Alone
from hdvlab.device.device import Device
from hdvlab.device.interrupt import read_interrupt_state
from hdvlab.device.rehearsed import AttributeChange, RegisterChange, Rehearsal
from hdvlab.device.stage import CannotRehearseError, Stage
from hdvlab.device.twin import copy_attributes, leaves
from hdvlab.errors import AccessError, GuestInterrupted, HResult, StateError, check
from hdvlab.hdv import Doorbell, Section
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.hdv.constants import PAGE_SIZE, DoorbellFlags
from hdvlab.pci import MsixCapability

#: Seconds that the handlers may take; what waits for a thread or timer waits for ever, for none is started.
PATIENCE = 5.0
#: Copies that a thread is still in, which does not end.
_left: list[Device] = []
#: Seconds for a handler to end that is stopped from outside.
_GRACE = 1.0


def rehearse(
    device: Device,
    bar: int,
    offset: int,
    size: int,
    value: int | None = None,
    *,
    read_memory: Callable[[int, int], bytes],
    bus_master: bool = True,
    has_lines: bool = False,
    patience: float | None = None,
) -> Rehearsal:
    """What a read, or with ``value`` a write, of the guest's would do now. Nothing changes and no row is left.

    The device is held for as long as the copy takes; its handlers run on the copy, in a thread of their own.

    Parameters
    ----------
    device : Device
        Which; not from its own code.
    bar, offset, size : int
        The place, and how many bytes.
    value : int, optional
        What is written.
    read_memory : callable
        ``read_memory(address, size)``: guest RAM, without a row.
    bus_master : bool
        Whether the driver has enabled DMA and messages.
    has_lines : bool
        Whether the machine has interrupt lines.
    patience : float, optional
        Seconds that the handlers may take; 5.

    Raises
    ------
    CannotRehearseError
        Its code uses something that cannot be copied, or waits for what is not started.
    AccessError
        Not 1, 2, 4 or 8 bytes, outside the BAR, or a value that does not fit.
    """
    _check(device, bar, offset, size, value)
    if (elsewhere := _elsewhere(device, bar, offset, size, value)) is not None:
        return elsewhere
    stopping = device._work is not None and device._work.stopping.is_set()
    stage = Stage(read_memory, bus_master=bus_master, has_lines=has_lines, stopping=stopping)
    twin, build = _copy(device, stage)
    try:
        build()
        twin.bind_handlers()
        return _tried(twin, stage, bar, offset, size, value, PATIENCE if patience is None else patience)
    finally:
        if twin not in _left:
            vars(twin).clear()  # its register file goes with it


def _check(device: Device, bar: int, offset: int, size: int, value: int | None) -> None:
    bars = device.description.bars
    if size not in (1, 2, 4, 8):
        raise AccessError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
    if bar not in bars or not 0 <= offset <= bars[bar].bar_size - size:
        raise AccessError(f"bar{bar}+{offset:#x}/{size} is outside the BARs of {device.name}")
    if value is not None and not 0 <= value < 1 << 8 * size:
        raise AccessError(f"{value:#x} does not fit {size} bytes")


def _elsewhere(device: Device, bar: int, offset: int, size: int, value: int | None) -> Rehearsal | None:
    """An access that the device's callbacks never see: one to a section's pages, or one that rings a doorbell."""
    for opened in list(device._opened):
        if isinstance(opened, Section) and opened._open:
            _, where, page = opened._key
            inside = offset - page * PAGE_SIZE
            if where == bar and 0 <= inside < opened.size:
                data = opened.memory[inside : inside + size]
                note = "a section backs this place: the access reaches its memory, and calls nobody"
                before = int.from_bytes(data, "little")
                return Rehearsal(device.name, bar, offset, size, value, before, notes=(note,))
        elif isinstance(opened, Doorbell) and opened._open and value is not None:
            _, where, place, wanted, flags = opened._key
            if where == bar and place == offset and _rings(flags, wanted, size, value):
                note = "a doorbell is registered here: the write would ring it, and calls nobody"
                return Rehearsal(device.name, bar, offset, size, value, 0, notes=(note,))
    return None


def _rings(flags: int, wanted: int, size: int, value: int) -> bool:
    any_value = int(DoorbellFlags.TRIGGER_ANY_VALUE)
    return flags & ~any_value in (0, size.bit_length()) and (bool(flags & any_value) or wanted == value)


def _copy(device: Device, stage: Stage) -> tuple[Device, Callable[[], None]]:
    """A device of the same class that has had no ``__init__``, with the same registers; and what builds the rest."""
    twin = Device.__new__(type(device))
    twin._name, twin._stage, twin._restricted = device.name, stage, False
    advice = "Try again when that has ended"
    try:
        with Alone(device, "rehearsed", "cannot be copied now", advice):
            check(lib.hdvlab_register_file_copy(device._file, twin._file), f"copy {device.name}")
            build = copy_attributes(device, twin, stage)
    except (StateError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise CannotRehearseError(
            f"{device.name} cannot be copied: {type(error).__name__}: {error}. An attribute of it that refuses to be "
            "copied can have a method in_rehearsal(self, stage), which returns what stands for it"
        ) from None
    return twin, build


def _tried(
    twin: Device, stage: Stage, bar: int, offset: int, size: int, value: int | None, patience: float
) -> Rehearsal:
    registers, config, attributes = _values(twin), twin.config, leaves(_own(twin))
    answer = ffi.new("uint64_t *", value or 0)
    hresult = 0

    def access() -> None:
        nonlocal hresult
        hresult = lib.hdvlab_register_file_rehearse(twin._file, value is not None, bar, offset, size, answer)
        reraise_interrupt()

    _Actor(twin, access).play(patience)
    stage.finish()
    if stage.refused:
        raise CannotRehearseError(f"what {twin.name} would do is not known: {'; '.join(stage.refused)}")
    _note_unmasked(twin, stage, bar)
    changed = tuple(
        RegisterChange(where, register.name, registers[number], now, register.describe(registers[number]),
                       register.describe(now))
        for number, ((where, register), now) in enumerate(zip(twin.description.registers, _values(twin), strict=True))
        if now != registers[number]
    )  # fmt: skip
    after = leaves(_own(twin))
    names = dict.fromkeys([*attributes, *after])
    different = tuple(
        AttributeChange(name, attributes.get(name, ""), after.get(name, ""))
        for name in names
        if attributes.get(name) != after.get(name)
    )
    notes = [f"config space changes at {place:#x}" for place in _different(config, twin.config)]
    if value is None and hresult < 0:
        notes.append("it is answered all ones")
    elif hresult < 0:
        notes.append("it would be dropped")
    faults = tuple((fault.operation, fault.message, fault.text) for fault in twin.faults)
    answered = int(answer[0]) if value is None else 0
    return Rehearsal(
        twin.name, bar, offset, size, value, answered, hresult, changed, tuple(stage.effects), different, faults,
        tuple(notes),
    )  # fmt: skip


def _values(twin: Device) -> list[int]:
    return [int(twin._values[number]) for number in range(len(twin.description.registers))]


def _own(twin: Device) -> dict[str, Any]:
    """The author's attributes."""
    return {name: value for name, value in vars(twin).items() if name not in _FRAME and not name.startswith("bar")}


_FRAME = frozenset(n for base in Device.__mro__ for n in vars(base).get("__annotations__", ())) - {"configuration"}


def _different(before: bytes, after: bytes) -> list[int]:
    return [place for place in range(0, len(before), 4) if before[place : place + 4] != after[place : place + 4]]


def _note_unmasked(twin: Device, stage: Stage, bar: int) -> None:
    """Vectors that were pending, and that the access has unmasked."""
    msix = next((one for one in twin.capabilities if isinstance(one, MsixCapability)), None)
    if msix is None or bar != msix.table_bar:
        return
    for vector in range(read_interrupt_state(twin._file, 0).vectors):
        state = read_interrupt_state(twin._file, vector)
        if state.pending and not state.masked:
            text = f"vector {vector}: was pending, would be delivered, data {state.data:#x}"
            stage.note("interrupt", text, state.address, state.data.to_bytes(4, "little"))


def _throw(thread: int, kind: type[BaseException] | None) -> None:
    value = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)


class _Last(BaseException):
    """Thrown by a thread into itself at its end."""


class _Actor:
    """The thread that the handlers run on, so that one that does not end can be given up."""

    def __init__(self, twin: Device, access: Callable[[], None]) -> None:
        self._twin = twin
        self._access = access
        self._done = threading.Event()
        self._thrown = False
        self._door = threading.Lock()
        """Held where something is thrown into the thread, or no longer may be."""
        self._thread = threading.Thread(target=self._run, name="hdvlab-rehearsal", daemon=True)

    def _run(self) -> None:
        with contextlib.suppress(GuestInterrupted, SystemExit):
            self._access()
        was_thrown = False
        while not self._done.is_set():
            with contextlib.suppress(GuestInterrupted, SystemExit), self._door:
                was_thrown = self._thrown
                if was_thrown:  # what is on its way would hit the interpreter's own code
                    _throw(threading.get_ident(), None)
                self._done.set()
        # CPython 3.11 goes on looking for the exception that was taken back, and with a profiler or debugger it does so
        # for ever; one that arrives ends that. As in guest/program.py.
        with contextlib.suppress(_Last):
            if was_thrown:
                _throw(threading.get_ident(), _Last)
            while was_thrown:
                pass

    def play(self, patience: float) -> None:
        """Run it; CannotRehearseError where it does not end."""
        self._thread.start()
        try:
            deadline = time.monotonic() + patience
            # Short waits: the interpreter answers Ctrl-C between them.
            while not (is_over := self._done.wait(0.05)) and time.monotonic() < deadline:
                pass
        except BaseException:
            self._stop()
            raise
        if is_over:
            self._thread.join()
            return
        self._stop()
        left = "" if self._done.is_set() else "; its thread goes on until this process ends"
        raise CannotRehearseError(
            f"a handler of {self._twin.name} did not end within {patience:g} s: it loops, or waits for a thread or "
            f"timer, of which a rehearsal starts none{left}",
            HResult.ERROR_TIMEOUT,
        )

    def _stop(self) -> None:
        for tries in range(10):
            with self._door:
                if not self._done.is_set() and self._thread.ident is not None:
                    self._thrown = True
                    _throw(self._thread.ident, GuestInterrupted if tries < 5 else SystemExit)
            if self._done.wait(_GRACE / 10):
                self._thread.join(_GRACE)
                return
        _left.append(self._twin)
