"""Devices in and out of slots: ``plug``, ``unplug``; and the devices that come with hdvlab."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard

from hdvlab.commands.c_device import open_device
from hdvlab.commands.nearest import nearest
from hdvlab.commands.text import Text
from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.device import Device, Pluggable
    from hdvlab.lab import AnyLab, Plugged


def plug(
    lab: AnyLab,
    device: str | Pluggable | type[Device],
    *,
    name: str | None = None,
    slot: int | None = None,
    config: Sequence[str] = (),
    namespace: Mapping[str, Any] | None = None,
) -> Plugged:
    """Put a device into a slot; powers the machine on if it is off.

    Parameters
    ----------
    lab : Lab
        Where.
    device : str, Device or subclass
        A name means a class or a device in ``namespace``, else a device that comes with hdvlab, such as ``edu``, one of
        several of a kind, such as ``virtio.blk``, or the C version, ``edu.c``, which is compiled now.
    name : str, optional
        How the lab calls it: a class's name in lower case, or an object's own name, when not given. A device that
        already has the name gives its place up.
    slot : int, optional
        0 to 31; the first free one from 1 when not given.
    config : sequence of str
        ``key=value`` strings for the device.
    namespace : mapping, optional
        The person's variables.
    """
    if isinstance(device, str):
        found = find_device(device, namespace or {})
        if look_up(device, namespace or {}) is found and not isinstance(found, type):
            name = name or device.rpartition(".")[2].lower()
        device = found
    check_settings(config)
    return lab.plug(device, name=name, slot=slot, configuration=config)


def check_settings(config: Sequence[str]) -> None:
    """Settings are ``key=value``."""
    for setting in config:
        if "=" not in setting:
            raise UsageError(f"--config {setting}: write key=value")


def unplug(lab: AnyLab, device: str) -> Text:
    """Take a device out of its slot."""
    if not list(lab):
        raise UsageError(f"no device {device} is plugged in; nothing is plugged in")
    if device not in lab:
        raise UsageError(f"no device {device} is plugged in; {nearest(device, (one.name for one in lab))}")
    slot = lab[device].slot
    lab.unplug(device)
    return Text(f"{device} is unplugged; slot {slot} is free")


def library() -> list[str]:
    """Names of the devices that come with hdvlab."""
    import hdvlab.devices

    return [module.name for module in pkgutil.iter_modules(hdvlab.devices.__path__)]


def library_module(name: str) -> ModuleType | None:
    """The package of a device that comes with hdvlab, or None."""
    return importlib.import_module(f"hdvlab.devices.{name}") if name in library() else None


def look_up(name: str, namespace: Mapping[str, Any]) -> Any:
    """What a name, or a dotted one, stands for in a namespace; None where there is no such thing."""
    first, *rest = name.split(".")
    found = namespace.get(first)
    for attribute in rest:
        found = getattr(found, attribute, None)
    return found


def is_device(value: object) -> TypeGuard[Pluggable | type[Device]]:
    """Whether a value can be plugged in."""
    from hdvlab.device import CompiledDevice, Device, RemoteDevice

    if isinstance(value, type):
        return issubclass(value, Device) and value is not Device
    return isinstance(value, Device | CompiledDevice | RemoteDevice)  # not Pluggable: asking is not free of effects


def pluggable(namespace: Mapping[str, Any]) -> list[str]:
    """What ``plug`` would take: device classes and devices in a namespace, then the library's."""
    own = [name for name, value in namespace.items() if not name.startswith("_") and is_device(value)]
    several = {one: _several(one) for one in library()}
    names = [name for one, kinds in several.items() for name in (kinds or [one])]
    also_in_c = [f"{one}.c" for one in library() if _classes(one) and c_source(one) is not None]
    return list(dict.fromkeys([*own, *names, *also_in_c]))


def _several(name: str) -> dict[str, type[Device]]:
    """The devices of a package that has several, its ``DEVICES``, each under its dotted name."""
    return {f"{name}.{one.__name__.lower()}": one for one in getattr(library_module(name), "DEVICES", ())}


def _classes(name: str) -> list[type[Device]]:
    """The device classes that come with hdvlab under a name."""
    from hdvlab.device import Device

    if several := _several(name.partition(".")[0]):
        return [several[name]] if name in several else []
    module = library_module(name)
    everything = vars(module).values() if module is not None else ()
    return [one for one in everything if isinstance(one, type) and issubclass(one, Device) and one is not Device]


def c_source(name: str) -> Path | None:
    """The C source of a device that comes with hdvlab, or None where it has none."""
    source: Path | None = getattr(library_module(name), "C_SOURCE", None)
    return source


def find_device(name: str, namespace: Mapping[str, Any]) -> Pluggable | type[Device]:
    """The class or device that a name means.

    Raises
    ------
    UsageError
        Nothing pluggable has that name; the message says what there is.
    """
    found = look_up(name, namespace)
    if is_device(found):
        return found
    if classes := _classes(name.lower()):
        return classes[0]
    source = c_source(name.lower().removesuffix(".c"))
    if source is not None:
        return open_device(source)
    known = pluggable(namespace)
    if found is None and (several := _several(name.lower())):
        raise UsageError(f"{name} is several devices; take one of {', '.join(several)}")
    if found is not None:
        what = "is no device" if isinstance(found, type) else f"is {found!r:.40}, no device"
        raise UsageError(f"{name} {what}; derive a class from hdvlab.Device, or take one of {', '.join(known)}")
    hint = nearest(name, known)
    if not hint.startswith("did you mean"):
        hint = f"run the cell that defines the class first, or take one of {', '.join(known)}"
    raise UsageError(f"no device {name}; {hint}")
