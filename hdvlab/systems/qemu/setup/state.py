"""What is here of a virtual machine's parts, for a person: the same rows in ``hdvlab vm`` and ``hdvlab doctor``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hdvlab.errors import BackendUnavailableError
from hdvlab.systems.qemu.setup import installation, parts, system_qemu
from hdvlab.systems.qemu.setup.cache import cache_directory, damage
from hdvlab.systems.qemu.setup.record import Record, read_record, trees


@dataclass(frozen=True)
class PartState:
    """One part: ``version`` is empty where it is missing, and ``problem`` says why; ``place`` is where it is, or from
    where it came.
    """

    what: str
    version: str
    place: str
    problem: str


def part_states(cache: Path | None = None) -> list[PartState]:
    """QEMU, kernel, busybox and the guest's tools, as :func:`find` takes them."""
    place = cache_directory() if cache is None else cache.absolute()
    record = read_record(place)
    return [
        _guarded("QEMU", lambda: _qemu(place, record)),
        _guarded("guest kernel", lambda: _kernel(place, record)),
        _guarded("guest busybox", lambda: _busybox(place, record)),
        _cached("guest tools", parts.TOOLS.name, place, record),
    ]


def _guarded(what: str, look: Callable[[], PartState]) -> PartState:
    try:
        return look()
    except BackendUnavailableError as error:
        return PartState(what, "", "", error.message)


def _qemu(cache: Path, record: Record) -> PartState:
    named = installation.qemu_by_hand()
    if named is not None:
        return PartState("QEMU", named[2], f"HDVLAB_QEMU, {named[0][0]}", "")
    system = system_qemu.system_qemu()
    if system is not None and not system.problem:
        return PartState("QEMU", system.version, f"this system's {system.command[0]}", "")
    cached = _cached("QEMU", parts.QEMU.name, cache, record)
    if system is not None and cached.problem:
        return PartState("QEMU", "", "", f"{system.problem}; {cached.problem}")
    return cached


def _kernel(cache: Path, record: Record) -> PartState:
    named = installation.kernel_by_hand()
    if named is not None:
        return PartState("guest kernel", named[1], f"HDVLAB_KERNEL, {named[0]}", "")
    return _cached("guest kernel", parts.KERNEL.name, cache, record)


def _busybox(cache: Path, record: Record) -> PartState:
    named = installation.busybox_by_hand()
    if named is not None:
        return PartState("guest busybox", "unknown", f"HDVLAB_BUSYBOX, {named}", "")
    return _cached("guest busybox", parts.BUSYBOX.name, cache, record)


def _cached(what: str, name: str, cache: Path, record: Record) -> PartState:
    part = record.parts.get(name)
    if part is None:
        return PartState(what, "", "", f"not in {cache}")
    tree = trees(cache) / part.tree
    if wrong := damage(tree):
        return PartState(what, "", "", f"damaged: {wrong}")
    return PartState(what, part.version, f"Debian {part.suite}, {tree}", "")
