"""A device in a slot, as the person in the notebook handles it."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from hdvlab._core import lib
from hdvlab.device import CannotPeekError, Device, Pluggable, RemoteDevice
from hdvlab.device.pluggable import BarLayout
from hdvlab.device.rehearsal import rehearse
from hdvlab.device.rehearsed import Rehearsal
from hdvlab.device.stage import CannotRehearseError
from hdvlab.errors import AccessError, DeviceError, HdvError, HResult, StateError
from hdvlab.guest import Function, GuestBar
from hdvlab.hdv.callbacks import take_failure
from hdvlab.pci import BarDescription, CapabilityId, lspci, spec, walk
from hdvlab.registers import Field, NoSuchRegisterError, Register, RegisterMap
from hdvlab.trace.schema import Origin

if TYPE_CHECKING:
    import pandas as pd

    from hdvlab.lab.interface import AnyLab


class Plugged:
    """A plugged-in device: ``lab["blink"]``.

    ``device`` is the author's object. ``plugged.bar0.CTRL.read()`` and ``.write(1)`` go over the bus as a driver's
    would, with origin ``user``; :meth:`peek` looks without touching; :meth:`poke` goes past the bus to the device.
    """

    def __init__(
        self, lab: AnyLab, device: Pluggable, name: str, slot: int, configuration: Sequence[str], index: int
    ) -> None:
        self._lab = lab
        self.device = device
        self.name = name
        self.slot = slot
        self.configuration = tuple(configuration)
        self.index = index
        """Number in the trace's ``device`` column."""
        self.instance_id = device.instance_id if isinstance(device, RemoteDevice) else uuid.uuid4()
        self.handle: Any = None
        """``HDV_DEVICE`` while the machine is on."""
        self.function: Function | None = None
        """The user's side of it while the machine is on."""

    @property
    def address(self) -> str:
        """Bus address as ``lspci`` writes it."""
        return f"00:{self.slot:02x}.0"

    @property
    def maps(self) -> dict[int, RegisterMap]:
        """Register descriptions per BAR."""
        return {index: bar.map for index, bar in self.bars.items()}

    @property
    def bars(self) -> Mapping[int, BarLayout]:
        """BARs as the device describes them."""
        return self.device.description.bars

    def on(self) -> Function:
        """The function on the bus.

        Raises
        ------
        StateError
            The machine is off.
        """
        if self.function is None:
            raise StateError(f"{self.name}: the machine is off; start it: lab.start() or %hdv start")
        return self.function

    def power_on(self, function: Function) -> None:
        """The machine is on and the BARs are placed: ``plugged.bar0`` works from now on.

        Raises
        ------
        DeviceError
            The BARs that the guest found are not those that the device describes.
        """
        told = {index: bar.bar_size for index, bar in self.bars.items()}
        found = {index: bar.size for index, bar in function.bars.items()}
        if told != found:
            raise DeviceError(
                f"{self.name} is described with {_sizes(told)}, but its GetDetails has {_sizes(found)}; make them agree"
            )
        self.function = function
        for index, bar in function.bars.items():
            vars(self)[f"bar{index}"] = bar

    def described_anew(self) -> None:
        """Its registers are others, its BARs the same."""
        if self.function is not None:
            self.function.maps = self.maps
            for bar in list(self.function.bars.values()):
                vars(self)[f"bar{bar.index}"] = self.function.map_bar(bar.index, bar.address, bar.size)

    def wait_idle(self, seconds: float = 5.0) -> None:
        """Wait, stoppable with Ctrl-C, until no access is being served and nobody holds the device's lock.

        Raises
        ------
        StateError
            It is still busy after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        # One call that enters and leaves, so that Ctrl-C between two of them finds nothing held.
        while lib.hdvlab_device_wait_idle(self.handle, 50) == HResult.ERROR_BUSY.signed:
            if time.monotonic() > deadline:
                raise StateError(
                    f"{self.name} is busy: a handler does not return, or a thread holds its lock. "
                    "End the guest program or the thread; if that is not possible, restart the kernel"
                )

    def power_off(self) -> None:
        """The machine is off, or the device is out of it."""
        self.handle = self.function = None
        for index in self.maps:
            vars(self).pop(f"bar{index}", None)
        self.device.join_work()

    def __getattr__(self, name: str) -> GuestBar:
        if name.startswith("bar") and name[3:].isdigit() and int(name[3:]) in self.maps:
            self.on()
        raise AttributeError(f"{name}; {self.name} has {', '.join(f'bar{index}' for index in self.maps)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(f"bar{index}" for index in self.maps)]

    def find(self, name: str) -> tuple[int, Register]:
        """BAR and register of a name; BARs are searched in order.

        Raises
        ------
        NoSuchRegisterError
            None has it; the message names the nearest.
        """
        for index, registers in self.maps.items():
            if name in registers:
                return index, registers[name]
        names = dict.fromkeys(register.name for registers in self.maps.values() for register in registers)
        everything = [Register(8 * n, 64, name=name) for n, name in enumerate(names)]
        return 0, RegisterMap(everything, name=self.name)[name]

    def peek(self, bar: int, offset: int, size: int) -> int:
        """Stored bytes at a BAR offset, little-endian: no handler runs, nothing changes, no row."""
        return self.device.peek(bar, offset, size)

    def poke(self, bar: int, offset: int, size: int, value: int, pc: int | None = None) -> int:
        """Write past the bus to the device, whatever its command register says; the row's origin is ``user``.

        ``pc`` is the number of the source line for the row; that of whoever calls when not given.

        Returns
        -------
        int
            HRESULT, signed: what the device made of it.
        """
        self.on()
        if size in (1, 2, 4, 8) and not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} bytes", None, f"poke BAR{bar}+{offset:#x}")
        machine = self._lab.machine
        pc = self._line_outside() if pc is None else pc
        hresult = machine.device_access(self.handle, True, bar, offset, size, value, Origin.user, pc)[1]
        take_failure(hresult)  # it is in the faults; a later access is not to be explained by it
        return hresult

    def _line_outside(self) -> int:
        """The number of the line that called into hdvlab; 0 where none is known."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "hdvlab":
            frame = frame.f_back
        number = self.function.source_of if self.function is not None else None
        return 0 if frame is None or number is None else number(frame)

    def poke_field(self, register: Register, bar: int, field: Field | None, value: int, pc: int | None = None) -> int:
        """Poke a register or one field of it; the other bits keep their stored values, write-1 bits are written 0."""
        value = self._with_field(register, bar, field, value)
        return self.poke(bar, register.offset, register.size, value, pc)

    def _with_field(self, register: Register, bar: int, field: Field | None, value: int) -> int:
        if field is None:
            return value
        masks = register.masks
        stored = self.peek(bar, register.offset, register.size)
        return field.insert(stored & ~(masks.write_one_to_clear | masks.write_one_to_set), value)

    def rehearse(
        self, place: str | int, *, write: int | None = None, bar: int = 0, size: int | None = None
    ) -> Rehearsal:
        """What a read of ``place``, or writing ``write`` to it, would do, as a driver's. Nothing changes, no row.

        The device's handlers run on a copy of it, with guest RAM as it is now; what they do is told. See
        :func:`hdvlab.device.rehearsal.rehearse` for what can be copied.

        Parameters
        ----------
        place : str or int
            ``"CTRL"``, ``"bar0.CTRL"``, ``"CTRL.EN"`` (other bits keep their stored values), or an offset in ``bar``.
        write : int, optional
            What is written; a read when not given.
        size : int, optional
            Bytes of the access; the register's own, or 4.

        Raises
        ------
        CannotRehearseError
            It is compiled, or elsewhere; or its code uses what cannot be copied. The message says what.
        """
        register = field = None
        if isinstance(place, str):
            name, _, part = place.rpartition(".") if place.count(".") > place.startswith("bar") else (place, "", "")
            which, _, register_name = name.rpartition(".")
            bar, register = (int(which[3:]), self.maps[int(which[3:])][register_name]) if which else self.find(name)
            field = register.fields.get(part)
            if part and field is None:
                known = ", ".join(register.fields) or "none"
                raise NoSuchRegisterError(f"{register.name} has no field {part}; it has {known}")
        offset = register.offset if register is not None else int(place)
        size = size or (register.size if register is not None else 4)
        if write is not None and register is not None and size == register.size:
            write = self._with_field(register, bar, field, write)
        told = self.rehearse_access(bar, offset, size, write)
        whole = register is not None and size == register.size
        shown = told.answer if told.value is None else told.value
        named = place if isinstance(place, str) else f"bar{bar}+{offset:#x}"
        return replace(told, place=named, fields=register.describe(shown) if register is not None and whole else "")

    def rehearse_access(self, bar: int, offset: int, size: int, value: int | None = None) -> Rehearsal:
        """What an access to a place in a BAR would do; see :meth:`rehearse`."""
        self.on()
        if not hasattr(self.device, "rehearse_access") and not isinstance(self.device, Device):
            kind = "in another process" if isinstance(self.device, RemoteDevice) else "compiled"
            raise CannotRehearseError(
                f"{self.name} is {kind}: no copy of it can be made, so that what an access would do is not known "
                "before it is done. peek looks at it without touching where it can"
            )
        if isinstance(self.device, Device) and lib.hdvlab_device_inside(self.handle) == 0:
            raise StateError(f"{self.name} cannot be rehearsed from its own code")
        command = int.from_bytes(self._lab.machine.config_peek(self.slot)[4:6], "little")
        if not command & spec.Command.MEMORY_SPACE:
            ones = (1 << 8 * size) - 1
            note = "the driver has not enabled memory decoding (command register bit 1): the device is not asked"
            return Rehearsal(self.name, bar, offset, size, value, ones if value is None else 0, notes=(note,))
        if not isinstance(self.device, Device):
            hosted: Any = self.device
            told: Rehearsal = hosted.rehearse_access(bar, offset, size, value)
            return told
        return rehearse(
            self.device, bar, offset, size, value, read_memory=self._lab.machine.ram_read,
            bus_master=bool(command & spec.Command.BUS_MASTER), has_lines=self._lab.has_vm,
        )  # fmt: skip

    def registers(self) -> pd.DataFrame:
        """The registers and their stored values; looking changes nothing.

        Returns
        -------
        DataFrame
            Columns ``bar``, ``offset``, ``register``, ``access``, ``value`` (int; ``<NA>`` where the device cannot be
            looked at), ``fields`` (text), ``doc``; one row per register.
        """
        import pandas as pd

        rows = []
        for index, registers in self.maps.items():
            for register in registers:
                value = self.value_of(index, register)
                rows.append((index, register.offset, register.name, register.access.value,
                             pd.NA if value is None else value,
                             "" if value is None else register.describe(value), register.doc))  # fmt: skip
        columns = ["bar", "offset", "register", "access", "value", "fields", "doc"]
        known = not any(row[4] is pd.NA for row in rows)
        return pd.DataFrame(rows, columns=columns).astype({"value": "uint64" if known else "UInt64"})

    def value_of(self, bar: int, register: Register) -> int | None:
        """A register's stored value; None where the device has no way to look at it without touching it."""
        try:
            return self.peek(bar, register.offset, register.size)
        except CannotPeekError:
            return None
        except HdvError as error:
            if error.hresult == HResult.ERROR_NOT_FOUND:  # a compiled device that does not tell all
                return None
            raise

    def lspci(self, verbose: int = 0, hex_level: int = 0) -> str:
        """What ``lspci`` would print, from config space as the machine answers it; looking leaves no rows."""
        self.on()
        bars = [
            BarDescription(index, bar.bar_size, bar.bits, bar.prefetchable, self.place(index) or 0)
            for index, bar in self.bars.items()
        ]
        config = self._lab.machine.config_peek(self.slot)
        if all(entry.capability_id != CapabilityId.PCI_EXPRESS for entry in walk(config)):
            config = config[: spec.CONFIG_SIZE]  # no more can be read where PCI Express is not
        return lspci(config, self.address, verbose=verbose, hex_level=hex_level, bars=bars)

    def place(self, bar: int) -> int | None:
        """Guest-physical base of a BAR, from config space; None where it has none, or the device is off or gone."""
        if self.function is None:
            return None
        try:
            config, where = self._lab.machine.config_peek(self.slot), 0x10 + 4 * bar
        except HdvError as error:
            if error.hresult == HResult.ERROR_NOT_FOUND:  # its process has taken it away
                return None
            raise
        return int.from_bytes(config[where : where + self.bars[bar].bits // 8], "little") & ~0xF or None

    def __repr__(self) -> str:
        d = self.device
        state = "on" if self.function is not None else "off"
        return f"<{self.name} at {self.address}, {d.vendor_id:04x}:{d.device_id:04x}, {state}>"


def _sizes(bars: Mapping[int, int]) -> str:
    return ", ".join(f"bar{index} of {size:#x} bytes" for index, size in bars.items()) or "no BARs"
