"""Devices in and out, and what there is to know of them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.device import Device
from hdvlab.device.reload import NOTHING_DIFFERS, CannotReloadError, list_differences
from hdvlab.errors import UsageError
from hdvlab.host.loading import load_device
from hdvlab.host.requests import request

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host
    from hdvlab.lab import Plugged


@request
def devices(host: Host, call: Call) -> dict[str, Any]:
    """Every plugged-in device, and how the machine stands."""
    lab = host.lab
    return {
        "generation": host.generation,
        "running": lab.running,
        "ram_size": lab.machine.ram_size if lab.running else 0,
        "devices": [_described(one) for one in list(lab)],
    }


def _described(one: Plugged) -> dict[str, Any]:
    placed = {} if one.function is None else {index: bar.address for index, bar in one.function.bars.items()}
    bars = [
        {
            "index": index,
            "size": bar.bar_size,
            "bits": bar.bits,
            "prefetchable": bar.prefetchable,
            "map": bar.map.to_dict(),
            "address": placed.get(index),
        }
        for index, bar in one.bars.items()
    ]
    device = one.device
    return {
        "name": one.name, "slot": one.slot, "configuration": list(one.configuration), "index": one.index,
        "type_name": device.type_name, "vendor_id": device.vendor_id, "device_id": device.device_id,
        "class_id": str(device.class_id), "bars": bars, "on": one.function is not None, "methods": _methods(device),
    }  # fmt: skip


def _methods(device: object) -> list[str]:
    """What a device in Python has beside what every device has: a person may call it."""
    kind = type(device)
    if not issubclass(kind, Device):
        return []
    own = (name for name in dir(kind) if not name.startswith("_") and not hasattr(Device, name))
    return [name for name in own if inspect.isfunction(getattr(kind, name))]


@request
def call_device(
    host: Host, call: Call, *, device: str, method: str, arguments: Sequence[Any] = (), named: dict[str, Any]
) -> Any:
    """Call a method of a device's own; what it returns goes back as it is where JSON can carry it, else as text."""
    target = host.lab[device].device
    if method not in _methods(target):
        raise UsageError(f"{device} has no method {method} to call; it has {', '.join(_methods(target)) or 'none'}")
    returned = getattr(target, method)(*arguments, **named)
    try:
        json.dumps(returned)
    except (TypeError, ValueError):
        return repr(returned)
    return returned


@request
def plug(
    host: Host,
    call: Call,
    *,
    device: dict[str, Any],
    name: str | None = None,
    slot: int | None = None,
    configuration: Sequence[str] = (),
) -> dict[str, Any]:
    """Put a device into a slot; one of the same name is reloaded in its place where that can be."""
    made = load_device(host, device)
    before = None
    if isinstance(made, type):
        name = name or made.__name__.lower()
        before = next((one for one in host.lab if one.name == name), None)
    try:
        if before is not None and isinstance(made, type) and isinstance(before.device, Device):
            changes = _reload(host, before, made, slot, configuration)
            if changes is not None:
                return {"name": before.name, "changes": changes}
        one = host.lab.plug(made, name=name, slot=slot, configuration=configuration)
        anew = f"{one.name} was taken out and put in again: its state is as at power-on" if before is not None else ""
    finally:
        host.changed()
    return {"name": one.name, "changes": anew}


def _reload(host: Host, one: Plugged, made: type[Device], slot: int | None, configuration: Sequence[str]) -> str | None:
    """Reload a device in its place; None where it is to be plugged in anew."""
    differences = []
    if slot not in (None, one.slot):
        differences.append(f"slot {slot} instead of {one.slot}")
    if configuration and tuple(configuration) != one.configuration:
        differences.append(f"configuration {list(configuration)} instead of {list(one.configuration)}")
    differences += list_differences(type(one.device), made) if isinstance(one.device, Device) else []
    if not differences:
        text = str(host.lab.reload(one.name, made))
        is_booting = host.lab.has_vm and not host.lab.vm_running  # with what was there: that nothing differs is no news
        return "" if is_booting and text.endswith(NOTHING_DIFFERS) else text
    if host.record.machine == "embedded":
        print(f"{one.name} cannot be reloaded in its place, for the guest would notice: {'; '.join(differences)}")
        return None
    raise CannotReloadError(
        f"{one.name} goes on as it was, for the guest would notice: {'; '.join(differences)}. "
        "Boot again to have the new one"
    )


@request
def unplug(host: Host, call: Call, *, name: str) -> None:
    """Take a device out."""
    try:
        host.lab.unplug(name)
    finally:
        host.changed()


@request
def faults(host: Host, call: Call) -> list[dict[str, Any]]:
    """What failed in the devices' code."""
    return [
        {
            "device": fault.device, "operation": fault.operation, "hresult": fault.hresult, "text": fault.text,
            "type": type(fault.error).__name__, "message": fault.message, "cause": fault.cause, "count": fault.count,
        }
        for fault in host.lab.faults
    ]  # fmt: skip
