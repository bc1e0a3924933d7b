"""What is put into a machine's slot, and into which: what ``plug`` is asked for, checked before anything happens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.device import Device, Pluggable
from hdvlab.errors import StateError, UsageError
from hdvlab.systems.embedded import SLOT_COUNT
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo

if TYPE_CHECKING:
    from hdvlab.lab.plugged import Plugged

_MADE_OF = {"CompiledDevice": "'./device.so'", "RemoteDevice": "Blink"}
_FIRST_SLOT = 1  # slot 0 is where a real machine has its host bridge
_STEPS = {
    Kind.initialize: "Initialize", Kind.set_configuration: "SetConfiguration", Kind.get_details: "GetDetails",
    Kind.start: "Start",
}  # fmt: skip


def make_device(device: Pluggable | type[Device]) -> Pluggable:
    """The device itself: a class is instantiated without arguments.

    Raises
    ------
    UsageError
        It is no device, nor a class of one.
    """
    if isinstance(device, type):
        if (given := _MADE_OF.get(device.__name__)) is not None and not issubclass(device, Device):
            raise UsageError(f"{device.__name__} is to be made first: lab.plug({device.__name__}({given}))")
        if not issubclass(device, Device):
            raise UsageError(f"{device.__name__} is no device; derive it from hdvlab.Device")
        return device()
    if not isinstance(device, Pluggable):
        raise UsageError(f"{device!r:.40} is no device; derive a class from hdvlab.Device, or load a compiled one")
    return device


def check_configuration(configuration: Sequence[str]) -> None:
    """UsageError unless it is a sequence of texts without NUL."""
    if isinstance(configuration, str) or not all(isinstance(one, str) and "\0" not in one for one in configuration):
        raise UsageError(f"configuration is a list of texts: ['key=value', ...], not {configuration!r}")


def check_name(name: str) -> None:
    """UsageError unless the lab can call a device so."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise UsageError(f"{name!r} cannot be a device's name; use letters, digits and _")


def choose_slot(plugged: Sequence[Plugged], before: Plugged | None, slot: int | None) -> int:
    """The slot for a device.

    Parameters
    ----------
    plugged : sequence of Plugged
        What is in the machine.
    before : Plugged, optional
        The device among them whose place this one takes.
    slot : int, optional
        0 to 31; the one of ``before``, or the first free one from 1, when not given.

    Raises
    ------
    UsageError
        There is no such slot, or something else is in it.
    StateError
        All are taken.
    """
    if slot is None:
        if before is not None:
            return before.slot
        taken = {one.slot for one in plugged}
        for free in range(_FIRST_SLOT, SLOT_COUNT):
            if free not in taken:
                return free
        raise StateError(f"all {SLOT_COUNT - _FIRST_SLOT} slots are taken; unplug something")
    there = next((one for one in plugged if one.slot == slot and one is not before), None)
    if not 0 <= slot < SLOT_COUNT or there is not None:
        reason = f"{there.name} is in it" if there is not None else f"slots are 0 to {SLOT_COUNT - 1}"
        raise UsageError(f"slot {slot}: {reason}")
    return slot


def device_info(device: Pluggable, name: str, slot: int) -> DeviceInfo:
    """What the trace's table of devices says of it."""
    bars = {index: BarInfo(bar.bar_size, None, bar.map) for index, bar in device.description.bars.items()}
    return DeviceInfo(name, device.vendor_id, device.device_id, f"00:{slot:02x}.0", "", bars)


def refused_step(columns: Mapping[str, Any], index: int) -> str:
    """The callback of a power-on that a device answered with a failure; "" where none did, or no row is left.

    Parameters
    ----------
    columns : mapping of str to array
        Rows since the power-on began.
    index : int
        The device's number in the trace's table.
    """
    rows = zip(columns["kind"], columns["device"], columns["status"], strict=True)
    return next(
        (_STEPS[kind] for kind, device, status in rows if kind in _STEPS and device == index and status < 0), ""
    )
