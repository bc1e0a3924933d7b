"""The errors that the reference page lists for a function are those that happen, in the order in which they are found.

Each call is wrong in the way that is asked for and, as far as that can be, in the ways that are looked for later.
"""

from __future__ import annotations

import os
import re
import resource
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from ..conformance import FUNCTIONS
from .proxy_scaffold import ProxyHost, RawPeer, RemoteHost, Support, pair
from .scaffold import BUS_MASTER, CLASS_ID, MEMORY, S_OK, CallbackDevice, Machine, code

PAGE = (Path(__file__).parents[2] / "notebooks/hdv-reference.md").read_text("utf-8")
HOLE, TOP = 1 << 40, (1 << 64) - 2
#: Memory that is added without a right.
NO_READ, NO_WRITE = 0x8000_0000, 0x8000_1000
#: Not to be had for the asking: memory that runs out.
UNTESTED = {"E_OUTOFMEMORY"}
#: A second host for one machine in a process; it has no name.
SECOND_HOST = 0xC0370030


def errors_of(name: str) -> str:
    """An entry's list of errors."""
    entry = re.search(rf"^### {name}\n(.*?)(?=^##)", PAGE, flags=re.M | re.S)
    assert entry
    errors = re.search(r"^\*\*Errors\.\*\* (.*?)(?=^\*\*)", entry[1], flags=re.M | re.S)
    assert errors
    return errors[1].replace("\n", " ")


def listed(name: str) -> list[str]:
    """The codes in an entry's list of errors, one after the other, and behind them those that it refers to."""
    text = errors_of(name)
    codes = re.findall(r"`((?:E|ERROR|HCS)_\w+|0xC\w+)`", text)
    for other in re.findall(r"\b[Aa]s (Hdv\w+)", text):
        codes += listed(other)
    return [one for one in codes if one not in UNTESTED]


class Broken(Support):
    """An object that is nothing."""

    def _query(self, this: Any, iid: Any, out: Any) -> int:
        out[0] = ffi.NULL
        return HResult.E_NOINTERFACE.signed


class Twice(Support):
    """An application that registers a host with its machine twice."""

    second = 0

    def _register(self, this: Any, host: Any, pid: int, ipc: Any) -> int:
        first = super()._register(this, host, pid, ipc)
        self.second = super()._register(this, host, pid, ipc)
        return first


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0) for _ in range(8)]  # so that there is no hole below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)


class Stage:
    """Devices at all the moments at which a call can come too early or too late."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.running = self.machine.running(CallbackDevice([0xFFFFC000]))
        self.idle = self.machine.create(CallbackDevice())
        self.remote = Machine()
        self.support = Support(self.remote)
        self.host = ProxyHost(self.support.object)
        self.restricted = self.host.create(CallbackDevice())
        assert self.remote.add_slot(self.restricted) == S_OK
        assert self.remote.start() == S_OK
        self.remote.config_write(0, 4, 2, MEMORY | BUS_MASTER)
        self.stopped_machine = Machine()
        self.stopped = self.stopped_machine.running(CallbackDevice())
        assert self.stopped_machine.stop() == S_OK
        self.event = os.eventfd(0)
        self.memory = os.memfd_create("section", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, 8192)
        self.read_only = os.open(f"/proc/self/fd/{self.memory}", os.O_RDONLY)
        for place, flags in ((NO_READ, lib.HDVLAB_MEMORY_WRITE), (NO_WRITE, lib.HDVLAB_MEMORY_READ)):
            memory = ffi.cast("void *", self.memory)
            assert code(lib.hdvlab_memory_map(self.machine.system, place, 4096, memory, 0, flags)) == S_OK
        self.nobody = CallbackDevice()  # its handle is NULL
        self.out = ffi.new("void **")

    def close(self) -> None:
        for descriptor in (self.event, self.memory, self.read_only):
            os.close(descriptor)
        self.host.teardown()
        self.remote.close()
        self.stopped_machine.close()
        self.machine.close()

    @contextmanager
    def no_master(self) -> Iterator[None]:
        self.machine.config_write(0, 4, 2, MEMORY)
        yield
        self.machine.config_write(0, 4, 2, MEMORY | BUS_MASTER)

    # ---- what each function gives, in the order of its checks --------------------------------------------------------

    def HdvInitializeDeviceHost(self) -> list[int]:  # noqa: N802 - HDV's names, here and below
        return [lib.HdvInitializeDeviceHost(ffi.NULL, out) for out in (ffi.NULL, self.out)]

    def HdvInitializeDeviceHostEx(self) -> list[int]:  # noqa: N802
        bad = [lib.HdvInitializeDeviceHostEx(ffi.NULL, 2, out) for out in (ffi.NULL, self.out)]
        return [*bad, lib.HdvInitializeDeviceHostEx(ffi.NULL, 0, self.out)]

    def proxy_calls(self, call: Callable[[Any, Any, Any], int]) -> list[int]:
        broken, whole = Broken(None), Support(None)
        missing = [call(ffi.NULL, whole.object, self.out), call(guid(uuid.uuid4()), ffi.NULL, self.out)]
        missing.append(call(guid(uuid.uuid4()), whole.object, ffi.NULL))
        return [
            *missing,
            call(guid(uuid.uuid4()), broken.object, self.out),
            call(guid(self.host.vm_id), whole.object, self.out),
        ]

    def HdvInitializeDeviceHostForProxy(self) -> list[int]:  # noqa: N802
        return self.proxy_calls(lib.HdvInitializeDeviceHostForProxy)

    def HdvInitializeDeviceHostForProxyEx(self) -> list[int]:  # noqa: N802
        flags = lib.HdvInitializeDeviceHostForProxyEx(guid(self.host.vm_id), Broken(None).object, 2, self.out)
        return [
            flags,
            *self.proxy_calls(lambda vm, proxy, out: lib.HdvInitializeDeviceHostForProxyEx(vm, proxy, 0, out)),
        ]

    def HdvProxyDeviceHost(self) -> list[int]:  # noqa: N802
        ipc, system, thing = ffi.new("uint64_t *"), self.machine.system, Broken(None)
        answers = [
            lib.HdvProxyDeviceHost(system, ffi.NULL, 0, ipc),
            lib.HdvProxyDeviceHost(system, thing.object, 0, ffi.NULL),
            lib.HdvProxyDeviceHost(ffi.NULL, thing.object, 0, ipc),
            lib.HdvProxyDeviceHost(system, thing.object, 0, ipc),
        ]
        twice = Twice(self.machine)
        ProxyHost(twice.object).teardown()
        here, there = pair()
        with there:
            RawPeer(there).hello()
            remote = RemoteHost(here)
        remote.ended()
        answers += [twice.second, lib.HdvProxyDeviceHost(system, remote.object, 0, ipc)]
        remote.release()
        return answers

    def HdvTeardownDeviceHost(self) -> list[int]:  # noqa: N802
        answers = [lib.HdvTeardownDeviceHost(ffi.NULL)]
        self.running.config_write = lambda *_: answers.append(lib.HdvTeardownDeviceHost(self.machine.host))
        self.machine.config_write(0, 0x40, 4, 0)
        return answers

    def HdvCreateDeviceInstance(self) -> list[int]:  # noqa: N802
        def create(host: Any = None, kind: int = 1, instance: Any = None, table: Any = None, out: Any = None) -> int:
            return int(
                lib.HdvCreateDeviceInstance(
                    self.machine.host if host is None else host,
                    kind,
                    guid(CLASS_ID),
                    guid(self.idle.instance_id) if instance is None else instance,
                    self.idle.interface if table is None else table,
                    ffi.NULL,
                    self.out if out is None else out,
                )
            )

        holed = ffi.new("HDV_PCI_DEVICE_INTERFACE *", self.idle.interface[0])
        holed.Stop = ffi.NULL
        pointers = [create(instance=ffi.NULL, kind=0), create(table=ffi.NULL), create(out=ffi.NULL)]
        return [*pointers, create(ffi.NULL, kind=0), create(ffi.NULL, table=holed), create(ffi.NULL), create()]

    def memory_calls(self, call: Callable[[Any, int], int], restricted: int | None = None) -> list[int]:
        one = self.running.handle
        answers = [call(ffi.NULL, TOP), call(self.idle.handle, TOP)]
        if restricted is not None:
            answers.append(restricted)
        answers.append(call(one, TOP))
        with self.no_master():
            answers += [call(one, HOLE)]
        return [*answers, call(one, HOLE)]

    def copies(self, call: Callable[[Any, int, int, Any], int], no_right: int) -> list[int]:
        buffer = ffi.new("uint8_t[64]")
        denied = call(self.restricted.handle, TOP, 4, buffer)
        answers = self.memory_calls(lambda device, at: call(device, at, 4, buffer), denied)
        return [call(ffi.NULL, 0, 0, ffi.NULL), *answers, call(self.running.handle, no_right, 4, buffer)]

    def HdvReadGuestMemory(self) -> list[int]:  # noqa: N802
        return self.copies(lib.HdvReadGuestMemory, NO_READ)

    def HdvWriteGuestMemory(self) -> list[int]:  # noqa: N802
        return self.copies(lib.HdvWriteGuestMemory, NO_WRITE)

    def HdvCreateGuestMemoryAperture(self) -> list[int]:  # noqa: N802
        def create(device: Any, at: int, size: int = 4) -> int:
            return int(lib.HdvCreateGuestMemoryAperture(device, at, size, 0, self.out))

        answers = [lib.HdvCreateGuestMemoryAperture(ffi.NULL, 0, 0, 0, ffi.NULL), create(ffi.NULL, TOP, 0)]
        answers += [create(self.idle.handle, TOP, 0), *self.memory_calls(create), create(self.running.handle, NO_WRITE)]
        while (last := create(self.running.handle, 0)) == S_OK:
            pass
        return [*answers, last]

    def HdvDestroyGuestMemoryAperture(self) -> list[int]:  # noqa: N802
        destroy, somewhere = lib.HdvDestroyGuestMemoryAperture, ffi.cast("void *", 4096)
        return [destroy(ffi.NULL, ffi.NULL), destroy(ffi.NULL, somewhere), destroy(self.running.handle, somewhere)]

    def HdvDeliverGuestInterrupt(self) -> list[int]:  # noqa: N802
        return self.memory_calls(lambda device, at: int(lib.HdvDeliverGuestInterrupt(device, at, 0)))

    def HdvRegisterDoorbell(self) -> list[int]:  # noqa: N802
        ring, stopped = self.running.ring, self.stopped.ring
        answers = [self.nobody.ring(-1, 9), self.restricted.ring(-1, 9), ring(-1, 9), ring(-1, 0, 0x4000)]
        answers += [ring(-1, flags=5), stopped(-1, 9), stopped(-1), ring(-1), ring(self.memory)]
        with no_descriptor_left():
            answers.append(ring(self.event))
        values = iter(range(1 << 20))
        while (last := ring(self.event, 0, 0, next(values))) == S_OK:
            pass
        return [*answers, ring(self.event, 0, 0, 0), last]

    def HdvUnregisterDoorbell(self) -> list[int]:  # noqa: N802
        return [self.nobody.unring(), self.restricted.unring(), self.running.unring(9), self.running.unring()]

    def HdvRegisterDoorbellPage(self) -> list[int]:  # noqa: N802
        ring, stopped = self.running.ring_page, self.stopped.ring_page
        answers = [self.nobody.ring_page(-1, 9), self.restricted.ring_page(-1, 9), ring(-1, 9), ring(-1, 0, 4)]
        answers += [ring(-1, 0, 1 << 60), stopped(-1, 9), stopped(-1), ring(-1), ring(self.memory)]
        with no_descriptor_left():
            answers.append(ring(self.event))
        assert ring(self.event) == S_OK
        return [*answers, ring(self.event)]

    def HdvUnregisterDoorbellPage(self) -> list[int]:  # noqa: N802
        page = self.running.unring_page
        return [self.nobody.unring_page(), self.restricted.unring_page(), page(9), page(0, 1 << 60), page()]

    def HdvCreateSectionBackedMmioRange(self) -> list[int]:  # noqa: N802
        section, pipes = self.running.section, os.pipe()
        answers = [self.nobody.section(-1, 9), self.restricted.section(-1, 9), self.idle.section(-1, 9), section(-1, 9)]
        answers += [section(-1, flags=4), section(-1, pages=0), section(-1, 0, 3, 2), section(-1), section(pipes[0])]
        answers += [section(self.read_only, file_page=2), section(self.read_only)]
        with no_descriptor_left():
            answers.append(section(self.memory))
        assert section(self.memory) == S_OK
        for end in pipes:
            os.close(end)
        return [*answers, section(self.memory)]

    def HdvDestroySectionBackedMmioRange(self) -> list[int]:  # noqa: N802
        return [
            self.nobody.unsection(),
            self.restricted.unsection(),
            self.running.unsection(9),
            self.running.unsection(),
        ]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_errors_of_an_entry_are_those_that_happen(stage: Stage, name: str) -> None:
    answers: list[int] = getattr(stage, name)()
    assert S_OK not in answers
    seen = [f"0x{SECOND_HOST:08X}" if code(one) == SECOND_HOST else HResult.symbol_of(one) for one in answers]
    assert set(seen) == set(listed(name))
    if " Hdv" not in errors_of(name):  # it lists all of them by itself
        assert [one for one, _ in groupby(seen)] == [one for one, _ in groupby(listed(name))]
