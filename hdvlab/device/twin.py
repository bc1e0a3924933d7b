"""A copy of what a device keeps beside its registers, for a rehearsal: alike, and with no way back to the original.

Everything that is reached from the device's attributes is copied, also what closures hold, and lists and the like that
are attributes of its class. Locks, events and queues come as fresh ones. What cannot be copied (open files, sockets,
threads, other devices, whatever has a ``__del__``) is stood in for by :class:`Refused`, which says so when it is used.
A class of one's own that knows better has ``in_rehearsal(self, stage)``, which returns what stands for it.

Globals, and what other processes and files keep, are shared, as nothing finds out what of them belongs to a device.
"""

from __future__ import annotations

import collections
import concurrent.futures
import copyreg
import io
import mmap
import pickle
import queue
import socket
import subprocess
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hdvlab.device.bar_state import BarState, RegisterValue
from hdvlab.device.device import Device
from hdvlab.device.stage import (
    Refused,
    Stage,
    StagedAperture,
    StagedDoorbell,
    StagedMemory,
    StagedSection,
    StagedThread,
    StagedTimer,
)
from hdvlab.hdv import Aperture, Doorbell, Section

_PLAIN = (int, str, bytes, float, bool, type(None), list, dict, tuple, set, frozenset, bytearray, complex)
_SHARED = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, property, type(NotImplemented), range)
_CONTAINERS = (list, dict, set, bytearray, collections.deque)
_NEVER = (concurrent.futures.Executor, subprocess.Popen, socket.socket, weakref.ReferenceType, memoryview)
_OURS = ("hdvlab.lab", "hdvlab.host", "hdvlab.guest", "hdvlab.systems", "hdvlab.trace", "hdvlab.hdv", "hdvlab.stepping")
#: Bytes of mapped memory that are copied; a larger mapping may be mostly holes, which would have to be filled.
MOST = 64 << 20
_COPY = object()
_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())


class _Whole:
    """Marks a value that is not to be copied where the pickler meets it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Copier(pickle.Pickler):
    """Finds what there is to copy; ``stand_ins`` is what goes over as it is."""

    def __init__(self, file: Any, stage: Stage, original: Device, twin: Device) -> None:
        super().__init__(file, protocol=5)
        self._stage = stage
        self._original, self._twin = original, twin
        self.stand_ins: list[Any] = []
        self._known: dict[int, tuple[Any, int]] = {}
        self._bars = {id(value): vars(twin)[name] for name, value in vars(original).items() if type(value) is BarState}

    def persistent_id(self, value: Any) -> int | None:
        kind = type(value)
        if kind in _PLAIN:
            return None
        known = self._known.get(id(value))
        if known is None:
            made = value.value if kind is _Whole else self._stand_in(value, kind)
            if made is _COPY:
                return None
            self.stand_ins.append(made)
            known = self._known[id(value)] = (value, len(self.stand_ins) - 1)
        return known[1]

    def _stand_in(self, value: Any, kind: type) -> Any:
        if value is self._original:
            return self._twin
        if id(value) in self._bars:
            return self._bars[id(value)]
        if isinstance(value, _SHARED) or (kind is types.FunctionType and not value.__closure__):
            bound = getattr(value, "__self__", None)
            return value if bound is None or isinstance(bound, types.ModuleType) else _COPY
        if (told := getattr(kind, "in_rehearsal", None)) is not None:
            return told(value, self._stage)
        made = _fresh(value, kind)
        if made is _COPY:
            made = self._of_device(value)
        if made is _COPY and (why := _why_not(value, kind)):
            return Refused(self._stage, why)
        return made

    def _of_device(self, value: Any) -> Any:
        """What the device got from its machine."""
        stage = self._stage
        if isinstance(value, threading.Timer):
            return StagedTimer(stage, value.name, value.is_alive())
        if isinstance(value, threading.Thread):
            return StagedThread(stage, value.name, value.is_alive())
        if isinstance(value, Aperture):
            return StagedAperture(stage, value.address, value.size, value.write_protected)
        if isinstance(value, Section) and value.size <= MOST:
            return StagedSection(self._memory(value.memory))
        if isinstance(value, Doorbell):
            return StagedDoorbell()
        if isinstance(value, mmap.mmap) and len(value) <= MOST:
            return self._memory(value)
        return _COPY

    def _memory(self, mapped: mmap.mmap) -> StagedMemory:
        """One copy for each mapping, whoever refers to it."""
        known = self._known.get(id(mapped))
        if known is None:
            self.stand_ins.append(StagedMemory(mapped[:]))
            known = self._known[id(mapped)] = (mapped, len(self.stand_ins) - 1)
        copy: StagedMemory = self.stand_ins[known[1]]
        return copy

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is types.FunctionType:  # with a closure, which may hold the device
            contents = tuple(_content(cell) for cell in value.__closure__)
            return _blank, (_Whole(value),), contents, None, None, _fill
        if kind is types.MethodType:
            return types.MethodType, (value.__func__, value.__self__)
        if kind is RegisterValue:
            attributes = vars(value)
            return _register_value, (int(value), attributes.get("_state"), _Whole(attributes.get("_register")))
        try:
            reducer = copyreg.dispatch_table.get(kind)
            return reducer(value) if reducer is not None else value.__reduce_ex__(5)
        except Exception:
            return Refused, (_Whole(self._stage), _article(kind))


def _content(cell: Any) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing is in it yet
        return ()


def _blank(function: Any) -> Any:
    cells = tuple(types.CellType() for _ in function.__closure__)
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__, made.__qualname__ = function.__kwdefaults__, function.__qualname__
    return made


def _fill(function: Any, contents: tuple[tuple[Any, ...], ...]) -> None:
    for cell, content in zip(function.__closure__, contents, strict=True):
        if content:
            cell.cell_contents = content[0]


def _register_value(number: int, state: Any, register: Any) -> RegisterValue:
    value = RegisterValue(number)
    value.__dict__.update(_state=state, _register=register)
    return value


def _fresh(value: Any, kind: type) -> Any:
    """Locks and the like as nobody has used them; what events and queues hold comes along."""
    if kind is _LOCK:
        return threading.Lock()
    if kind is _RLOCK:
        return threading.RLock()
    if kind is threading.Event:
        event = threading.Event()
        if value.is_set():
            event.set()
        return event
    if kind in (threading.Semaphore, threading.BoundedSemaphore):
        return kind(value._value)
    if kind is queue.SimpleQueue and value.empty():
        return queue.SimpleQueue()
    return _COPY


def _why_not(value: Any, kind: type) -> str:
    """Why nothing of it may be shared with a copy; "" where it can be copied."""
    if isinstance(value, Device):
        return f"another device, {value.name}"
    if kind.__module__.startswith(_OURS) and not isinstance(value, BaseException):
        return _article(kind)
    is_file = hasattr(kind, "fileno") and not isinstance(value, io.BytesIO | io.StringIO)
    if isinstance(value, mmap.mmap):
        return f"mapped memory of {len(value):,} bytes"
    if isinstance(value, _NEVER) or is_file or hasattr(kind, "__del__"):
        return _article(kind)
    return ""


def _article(kind: type) -> str:
    is_plain = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if is_plain else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


class _Builder(pickle.Unpickler):
    def __init__(self, file: Any, stand_ins: list[Any]) -> None:
        super().__init__(file)
        self._stand_ins = stand_ins

    def persistent_load(self, number: Any) -> Any:
        return self._stand_ins[number]


def copy_attributes(original: Device, twin: Device, stage: Stage) -> Callable[[], None]:
    """Take a picture of what ``original`` keeps; call what is returned to have ``twin`` keep the same.

    The first half is all that needs the original to hold still.
    """
    frame = set(vars(twin)) - {"configuration"}
    kept = {name: value for name, value in _attributes(original) if name not in frame}
    file = io.BytesIO()
    copier = _Copier(file, stage, original, twin)
    copier.dump(kept)

    def build() -> None:
        file.seek(0)
        for name, value in _Builder(file, copier.stand_ins).load().items():
            object.__setattr__(twin, name, value)

    return build


def _attributes(device: Device) -> Iterator[tuple[str, Any]]:
    """Its own attributes; those of its class that a handler could change in place; those in slots."""
    for base in reversed(type(device).__mro__):
        if base in Device.__mro__:
            continue
        for name, value in vars(base).items():
            if isinstance(value, _CONTAINERS) and not name.startswith("__"):
                yield name, value
            elif isinstance(value, types.MemberDescriptorType) and hasattr(device, name):
                yield name, getattr(device, name)
    yield from vars(device).items()


def leaves(attributes: Mapping[str, Any]) -> dict[str, str]:
    """What plain values there are in attributes, by how one writes the way there, as text that can be compared."""
    found: dict[str, str] = {}
    seen: set[int] = set()
    ahead = [(name, value) for name, value in reversed(attributes.items())]
    while ahead:
        path, value = ahead.pop()
        inside = _inside(path, value)
        if inside is None:
            found[path] = _text(value)
        elif id(value) not in seen:
            seen.add(id(value))
            found[path] = f"{type(value).__name__} of {len(inside)}" if _is_sized(value) else ""
            ahead.extend(reversed(inside))
    return found


def _is_sized(value: Any) -> bool:
    return isinstance(value, list | tuple | dict | set | frozenset | collections.deque)


def _inside(path: str, value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, list | tuple | collections.deque):
        if all(isinstance(one, int | str | float | None) for one in value) and len(value) <= 16:
            return None  # short enough to be shown as a whole
        return [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    if isinstance(value, dict):
        return [(f"{path}[{key!r}]", one) for key, one in value.items()]
    if isinstance(value, int | float | str | bytes | bytearray | set | frozenset | type(None) | Refused | type):
        return None
    kept = getattr(value, "__dict__", None)
    if callable(value) or not isinstance(kept, dict) or isinstance(value, Device | Stage | BarState | threading.Event):
        return None
    return [(f"{path}.{name}", one) for name, one in kept.items()]


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray) and len(value) > 32:
        import hashlib

        return f"{len(value):,} bytes, {hashlib.blake2b(value, digest_size=4).hexdigest()}"
    if isinstance(value, threading.Event):
        return "set" if value.is_set() else "not set"
    if isinstance(value, BarState | Stage | Device) or callable(value):
        return type(value).__name__
    try:
        text = repr(value)
    except Exception as error:
        return f"<its repr failed: {type(error).__name__}>"
    return type(value).__name__ if " at 0x" in text else text
