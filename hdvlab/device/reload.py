"""A device that goes on with new code: its instance, its config space and its registers' values stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.device.alone import Alone
from hdvlab.device.bar_state import BarState
from hdvlab.device.description import DeviceDescription, fill_description
from hdvlab.device.device import Device
from hdvlab.errors import UsageError, check
from hdvlab.hdv.callbacks import callback_table
from hdvlab.registers import Register

#: What a reload says when the new class is as the old one.
NOTHING_DIFFERS = "no register and no method differs"


class CannotReloadError(UsageError):
    """The machine would notice: ids, BARs or capabilities are others. The message says which, and what to do."""


@dataclass(frozen=True)
class Changes:
    """What a reload has changed, a line each."""

    device: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{self.device} is reloaded in its place; its state is kept, and the guest has not noticed"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])


def reload_device(device: Device, new: type[Device]) -> Changes:
    """Let a device go on as an instance of another class.

    Registers keep their values by name, the instance its attributes; attributes that ``new()`` sets and it has not got
    yet come along. Then ``reloaded()`` of the new class is called, if there is one. ``initialize`` and ``start`` are
    not: power has not been off. Timers and threads of the old code go on with it until they end.

    Raises
    ------
    CannotReloadError
        Ids, BARs or capabilities are others; nothing has changed.
    StateError
        A handler does not return; nothing has changed.
    """
    old = type(device)
    if differences := list_differences(old, new):
        raise CannotReloadError("; ".join(differences))
    fresh = new()
    advice = "Reload it when that has ended; where it never does, end its host: %hdv host NAME --stop"
    with Alone(device, "reloaded", "goes on as it was", advice):
        lines = [*_register_lines(old.description, new.description), *_method_lines(old, new)]
        _swap(device, new)
        added = {name: value for name, value in vars(fresh).items() if name not in vars(device)}
        vars(device).update(added)
        if added:
            lines.append(f"attributes that are new: {', '.join(added)}")
        if not lines:
            lines.append(NOTHING_DIFFERS)
        lines.extend(_work_lines(device))
        reloaded = getattr(device, "reloaded", None)
        if callable(reloaded):
            reloaded()
            lines.append("its reloaded() was called")
    return Changes(device.name, tuple(lines))


def list_differences(old: type[Device], new: type[Device]) -> list[str]:
    """What the machine would notice, in words; empty where a reload can be."""
    told = []
    was, now = old.description, new.description
    for name in ("vendor_id", "device_id", "revision_id", "prog_if", "sub_class", "base_class", "sub_vendor_id",
                 "sub_system_id"):  # fmt: skip
        before, after = getattr(was.pnp_id, name), getattr(now.pnp_id, name)
        if before != after:
            told.append(f"{name} is {after:#x} instead of {before:#x}")
    for index in sorted(was.bars.keys() | now.bars.keys()):
        told += _bar_differences(index, was, now)
    if old.concurrent != new.concurrent:
        told.append(f"concurrent is {new.concurrent} instead of {old.concurrent}")
    capabilities = [", ".join(map(repr, cls.capabilities)) or "none" for cls in (old, new)]
    if capabilities[0] != capabilities[1]:
        told.append(f"capabilities are {capabilities[1]} instead of {capabilities[0]}")
    images = [(one.config.image, one.config.write_mask, one.config.w1c_mask) for one in (was, now)]
    if not told and images[0] != images[1]:
        told.append("its config space is another")
    return told


def _bar_differences(index: int, was: DeviceDescription, now: DeviceDescription) -> Iterator[str]:
    before, after = was.bars.get(index), now.bars.get(index)
    if before is None or after is None:
        yield f"bar{index} is {'new' if before is None else 'gone'}"
        return
    if before.bar_size != after.bar_size:
        yield f"bar{index} has {after.bar_size:#x} bytes instead of {before.bar_size:#x}"
    if before.bits != after.bits:
        yield f"bar{index} has {after.bits} bits instead of {before.bits}"
    if before.prefetchable != after.prefetchable:
        yield f"bar{index} is {'' if after.prefetchable else 'not '}prefetchable now"


def _swap(device: Device, new: type[Device]) -> None:
    """New class, registers and handlers; all of them or none."""
    old, class_id = type(device), device.class_id
    description, kept = fill_description(new.description)
    values = ffi.new("uint64_t[]", max(len(new.description.registers), 1))
    for number, (bar, register) in enumerate(new.description.registers):
        before = _named(old.description, bar, register.name)
        stored = int(getattr(vars(device)[f"bar{bar}"], register.name)) if before is not None else register.reset
        values[number] = stored & ((1 << register.width) - 1)
    table = callback_table(new.config_written is not Device.config_written)
    try:
        device.__class__ = new
    except TypeError as error:
        raise CannotReloadError(f"{new.__name__} is laid out differently: {error}") from None
    hresult = lib.hdvlab_register_file_redescribe(device._file, description, table, values)
    if hresult < 0:
        device.__class__ = old
        check(hresult, f"reload {device.name}", "it goes on as it was")
    del kept
    pointer = ffi.new("uint64_t **")
    check(lib.hdvlab_register_file_values(device._file, pointer), "values")
    device._values = pointer[0]
    for index, bar_class in new.description.bars.items():
        state: BarState = vars(device)[f"bar{index}"]
        state._describe(bar_class.map, new.description.index_of(index), device._values, device._file)
    device.bind_handlers()
    if new.class_id != class_id:  # the slot keeps the one it was plugged in with
        vars(device)["class_id"] = class_id


def _named(description: DeviceDescription, bar: int, name: str) -> Register | None:
    return next((one for index, one in description.registers if index == bar and one.name == name), None)


def _register_lines(was: DeviceDescription, now: DeviceDescription) -> Iterator[str]:
    for bar, register in now.registers:
        before = _named(was, bar, register.name)
        if before is None:
            yield f"{register.name} is new at bar{bar}+{register.offset:#x}, with its reset value {register.reset:#x}"
        elif before != register:
            yield f"{register.name} is described anew ({_what_differs(before, register)}); its value is kept"
    for bar, register in was.registers:
        if _named(now, bar, register.name) is None:
            yield f"{register.name} of bar{bar} is gone, with its value"


def _what_differs(before: Register, after: Register) -> str:
    was, now = before.to_dict(), after.to_dict()
    told = []
    for name in now:
        if was[name] != now[name]:
            plain = isinstance(now[name], int) and not isinstance(now[name], bool)
            told.append(f"{name} {now[name]:#x} instead of {was[name]:#x}" if plain else name)
    return ", ".join(told)


def _method_lines(old: type, new: type) -> Iterator[str]:
    before, after = _methods(old), _methods(new)
    changed = [name for name in after if name in before and _fingerprint(before[name]) != _fingerprint(after[name])]
    for what, names in (
        ("changed", changed),
        ("new", [name for name in after if name not in before]),
        ("gone", [name for name in before if name not in after]),
    ):
        if names:
            yield f"methods that are {what}: {', '.join(names)}"


def _methods(cls: type) -> Mapping[str, FunctionType]:
    own = [base for base in cls.__mro__ if base not in Device.__mro__]
    return {
        name: value for base in reversed(own) for name, value in vars(base).items() if isinstance(value, FunctionType)
    }


def _fingerprint(function: FunctionType) -> tuple[Any, ...]:
    return (_of_code(function.__code__), repr(function.__defaults__))


def _of_code(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_of_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts)
    return (code.co_code, constants, code.co_names, code.co_varnames)


def _work_lines(device: Device) -> Iterator[str]:
    timers, threads = device.count_work()
    counted = ((timers, "timer"), (threads, "thread"))
    told = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counted if number]
    if told:
        go = "goes" if timers + threads == 1 else "go"
        yield f"{' and '.join(told)} of the old code {go} on until it ends; what it calls by self. is new"
