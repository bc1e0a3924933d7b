"""A machine, a device host and devices whose HDV callbacks are Python functions: the C library, driven from outside.

Functions return HRESULTs as :class:`HResult` (unsigned), so that a test reads ``assert machine.write(...) == S_OK``.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import WideStrings, guid, wide_string
from hdvlab.trace.schema import COLUMNS

S_OK = HResult.S_OK
#: Guest-physical place of a test device's BAR 0; the other BARs follow a megabyte apart.
PLACE = 0xE000_0000
MEMORY, BUS_MASTER = 0x2, 0x4
#: Longest that a test waits for something that must happen, seconds.
DEADLINE = 20.0
CLASS_ID = uuid.UUID("11111111-2222-3333-4444-555555555555")


#: How much a process that leaks nothing may grow, bytes. AddressSanitizer keeps what is freed for a while.
SLACK = (96 if "asan" in os.environ.get("LD_PRELOAD", "") else 2) << 20


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def code(hresult: int) -> int:
    """An HRESULT as C returned it, unsigned, by name where it has one."""
    unsigned = hresult & 0xFFFFFFFF
    return HResult(unsigned) if unsigned in HResult._value2member_map_ else unsigned


def ones(size: int) -> int:
    return (1 << 8 * size) - 1


class Failure(Exception):
    """Raised by a hook to make its callback return an HRESULT."""

    def __init__(self, hresult: int) -> None:
        self.hresult = hresult


class Recording:
    """A trace straight from the library, and its rows as numpy arrays."""

    def __init__(self, path: Path, max_rows: int = 1 << 20) -> None:
        self.path = path
        out = ffi.new("void **")
        assert code(lib.hdvlab_trace_create(bytes(path), max_rows, 64, lib.HDVLAB_CLOCK_AUTO, out)) == S_OK
        self.handle = out[0]

    def __len__(self) -> int:
        rows = ffi.new("uint64_t *")
        assert code(lib.hdvlab_trace_committed(self.handle, 0, rows)) == S_OK
        return int(rows[0])

    def _pinned(self, column: int, size: int) -> bytes:
        base = ffi.new("void **")
        assert code(lib.hdvlab_trace_pin(self.handle, column, base)) == S_OK
        try:
            return bytes(ffi.buffer(base[0], size)) if size else b""
        finally:
            lib.hdvlab_trace_unpin(self.handle)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """One column of the rows there are now."""
        dtype = np.dtype(COLUMNS[name])
        return np.frombuffer(self._pinned(list(COLUMNS).index(name), len(self) * dtype.itemsize), dtype)

    def rows(self, *kinds: int, since: int = 0) -> list[dict[str, int]]:
        """Rows of the kinds (all when none is given) from row ``since`` on; ``row`` is the number."""
        count = len(self)
        columns = {name: self.column(name)[:count] for name in COLUMNS}
        rows = [{"row": i} | {name: int(columns[name][i]) for name in columns} for i in range(since, count)]
        for row in rows:
            row["status"] = code(row["status"])
        return [row for row in rows if not kinds or row["kind"] in kinds]

    def payload(self, place: int, size: int) -> bytes:
        return self._pinned(lib.HDVLAB_COLUMN_COUNT, place + size)[place:]

    def close(self) -> None:
        assert code(lib.hdvlab_trace_close(self.handle)) == S_OK


class CallbackDevice:
    """A device whose ten HDV callbacks are driven from Python.

    ``calls`` is every callback with its arguments. ``during[name]`` runs inside the lifecycle callback of that name;
    ``read``, ``write``, ``config_read`` and ``config_write`` may be replaced. Any hook may raise :class:`Failure`.
    """

    def __init__(self, probed_bars: Sequence[int] = (0xFFFFF000,), vendor_id: int = 0x1234) -> None:
        self.probed_bars = list(probed_bars) + [0] * (6 - len(probed_bars))
        self.vendor_id = vendor_id
        self.instance_id = self.new_instance_id()
        self.calls: list[tuple[Any, ...]] = []
        self.during: dict[str, Callable[[], None]] = {}
        self.config = bytearray(4096)
        self.memory: dict[tuple[int, int], int] = {}
        self.read: Callable[[int, int, int], int] = lambda bar, offset, size: self.memory.get((bar, offset), 0)
        self.write: Callable[[int, int, int, int], None] = self._store
        self.config_read: Callable[[int], int] = lambda at: int.from_bytes(self.config[at : at + 4], "little")
        self.config_write: Callable[[int, int], None] = lambda at, value: None
        self.errors: list[BaseException] = []
        self.handle: Any = ffi.NULL
        self.interface = self._interface()

    @staticmethod
    def new_instance_id() -> uuid.UUID:
        return uuid.uuid4()

    def _store(self, bar: int, offset: int, size: int, value: int) -> None:
        self.memory[bar, offset] = value

    def _call(self, name: str, arguments: tuple[Any, ...], hook: Callable[[], None]) -> int:
        self.calls.append((name, *arguments))
        try:
            hook()
        except Failure as failure:
            return failure.hresult - (1 << 32) if failure.hresult & 0x80000000 else failure.hresult
        except BaseException as error:
            self.errors.append(error)
            return HResult.E_FAIL.signed
        return 0

    def _step(self, name: str, *arguments: Any) -> int:
        return self._call(name, arguments, self.during.get(name, lambda: None))

    def _interface(self) -> Any:
        def get_details(_: Any, pnp_id: Any, count: int, probed: Any) -> int:
            pnp_id.VendorID, pnp_id.DeviceID, pnp_id.BaseClass = self.vendor_id, 0x11E8, 0xFF
            pnp_id.SubVendorID, pnp_id.SubSystemID, pnp_id.RevisionID = 0xAAAA, 0xBBBB, 7
            for i in range(min(count, 6)):
                probed[i] = self.probed_bars[i]
            return self._step("get_details", count)

        def set_configuration(_: Any, count: int, values: Any) -> int:
            texts = [wide_string(values[i]) for i in range(count)] if values != ffi.NULL else None
            return self._step("set_configuration", texts)

        def read_config(_: Any, offset: int, value: Any) -> int:
            def answer() -> None:
                value[0] = self.config_read(offset)

            return self._call("config_read", (offset,), answer)

        def write_config(_: Any, offset: int, value: int) -> int:
            return self._call("config_write", (offset, value), lambda: self.config_write(offset, value))

        def read(_: Any, bar: int, offset: int, length: int, value: Any) -> int:
            def answer() -> None:
                ffi.memmove(value, self.read(bar, offset, length).to_bytes(length, "little"), length)

            return self._call("read", (bar, offset, length), answer)

        def write(_: Any, bar: int, offset: int, length: int, value: Any) -> int:
            number = int.from_bytes(ffi.buffer(value, length), "little")
            return self._call("write", (bar, offset, length, number), lambda: self.write(bar, offset, length, number))

        def void(_: int) -> None:
            return None

        u8, u32, u64 = "uint8_t", "uint32_t", "uint64_t"
        self._callbacks = {
            "Initialize": ffi.callback("int32_t(void *)", lambda _: self._step("initialize")),
            "Teardown": ffi.callback("void(void *)", lambda _: void(self._step("teardown"))),
            "SetConfiguration": ffi.callback(f"int32_t(void *, {u32}, const uint16_t *const *)", set_configuration),
            "GetDetails": ffi.callback(f"int32_t(void *, HDV_PCI_PNP_ID *, {u32}, {u32} *)", get_details),
            "Start": ffi.callback("int32_t(void *)", lambda _: self._step("start")),
            "Stop": ffi.callback("void(void *)", lambda _: void(self._step("stop"))),
            "ReadConfigSpace": ffi.callback(f"int32_t(void *, {u32}, {u32} *)", read_config),
            "WriteConfigSpace": ffi.callback(f"int32_t(void *, {u32}, {u32})", write_config),
            "ReadInterceptedMemory": ffi.callback(f"int32_t(void *, int, {u64}, {u64}, {u8} *)", read),
            "WriteInterceptedMemory": ffi.callback(f"int32_t(void *, int, {u64}, {u64}, const {u8} *)", write),
        }
        return ffi.new("HDV_PCI_DEVICE_INTERFACE *", {"Version": 1} | self._callbacks)

    def names(self) -> list[str]:
        """Names of the callbacks that came."""
        return [call[0] for call in self.calls]

    def create(self, host: Any) -> int:
        """HdvCreateDeviceInstance with a table and GUIDs that are gone right after it."""
        table = ffi.new("HDV_PCI_DEVICE_INTERFACE *", self.interface[0])
        class_id, instance_id, out = guid(CLASS_ID), guid(self.instance_id), ffi.new("void **")
        hresult = code(lib.HdvCreateDeviceInstance(host, lib_pci(), class_id, instance_id, table, ffi.NULL, out))
        for memory in (table, class_id, instance_id):
            ffi.memmove(memory, b"\xaa" * ffi.sizeof(ffi.typeof(memory).item), ffi.sizeof(ffi.typeof(memory).item))
        self.handle = out[0]
        return hresult

    # ---- what a device calls -----------------------------------------------------------------------------------

    def dma_read(self, address: int, size: int) -> tuple[int, bytes]:
        buffer = ffi.new("uint8_t[]", b"\xee" * max(size, 1))
        return code(lib.HdvReadGuestMemory(self.handle, address, size, buffer)), bytes(ffi.buffer(buffer, size))

    def dma_write(self, address: int, data: bytes) -> int:
        return code(lib.HdvWriteGuestMemory(self.handle, address, len(data), data))

    def interrupt(self, address: int = 0xFEE0_0000, data: int = 0x40) -> int:
        return code(lib.HdvDeliverGuestInterrupt(self.handle, address, data))

    def aperture(self, address: int, size: int, write_protected: bool = False) -> tuple[int, Any]:
        out = ffi.new("void **")
        hresult = code(lib.HdvCreateGuestMemoryAperture(self.handle, address, size, write_protected, out))
        return hresult, out[0]

    def ring(self, event: int, bar: int = 0, offset: int = 0, value: int = 0, flags: int = 0) -> int:
        """Register a doorbell."""
        return code(lib.HdvRegisterDoorbell(self.handle, bar, offset, value, flags, ffi.cast("void *", event)))

    def unring(self, bar: int = 0, offset: int = 0, value: int = 0, flags: int = 0) -> int:
        """Unregister a doorbell."""
        return code(lib.HdvUnregisterDoorbell(self.handle, bar, offset, value, flags))

    def ring_page(self, event: int, bar: int = 0, page: int = 0) -> int:
        """Register a doorbell for a whole page."""
        return code(lib.HdvRegisterDoorbellPage(self.handle, bar, page, ffi.cast("void *", event)))

    def unring_page(self, bar: int = 0, page: int = 0) -> int:
        return code(lib.HdvUnregisterDoorbellPage(self.handle, bar, page))

    def section(self, fd: int, bar: int = 0, page: int = 0, pages: int = 1, flags: int = 1, file_page: int = 0) -> int:
        section = ffi.cast("void *", fd)
        return code(lib.HdvCreateSectionBackedMmioRange(self.handle, bar, page, pages, flags, section, file_page))

    def unsection(self, bar: int = 0, page: int = 0) -> int:
        return code(lib.HdvDestroySectionBackedMmioRange(self.handle, bar, page))


def lib_pci() -> int:
    """HdvDeviceTypePCI."""
    return 1


class Machine:
    """An embedded machine with one device host; ``close`` ends both and raises what hooks of its devices raised."""

    name = "embedded"
    #: The library whose machine it is.
    library: Any = lib
    #: Whether its devices are instances of another library's device host.
    forwarded = False
    #: What a device that was torn down gets from HDV while its host goes on.
    gone = HResult.E_HANDLE

    def __init__(self, recording: Recording | None = None, ram: int = 1 << 20, record_sections: bool = False) -> None:
        out = ffi.new("void **")
        trace = ffi.NULL if recording is None else recording.handle
        assert code(self.library.hdvlab_embedded_create(ram, record_sections, self._machine_trace(trace), out)) == S_OK
        #: The machine, in its library; and as this library's device hosts see it.
        self.system = out[0]
        self.device_system = self._device_system(trace)
        assert code(lib.HdvInitializeDeviceHost(self.device_system, out)) == S_OK
        self.host = out[0]
        self.devices: list[CallbackDevice] = []
        self._access = threading.local()

    def _machine_trace(self, trace: Any) -> Any:
        return trace

    def _device_system(self, trace: Any) -> Any:
        return self.system

    def access(self, origin: int = 0, pc: int = 0, wait_ms: int = 0) -> Any:
        return ffi.new("HDVLAB_ACCESS *", {"origin": origin, "pc": pc, "wait_ms": wait_ms})

    def create(self, device: CallbackDevice, index: int | None = None) -> CallbackDevice:
        """Make the instance; its rows carry ``index``, by default its number here."""
        assert device.create(self.host) == S_OK
        lib.hdvlab_device_set_index(device.handle, len(self.devices) if index is None else index)
        self.devices.append(device)
        return device

    def add_slot(self, device: CallbackDevice, slot: int = 0, configuration: Sequence[str] = ()) -> int:
        strings = WideStrings(configuration)
        class_id, instance_id = guid(CLASS_ID), guid(device.instance_id)
        return code(
            self.library.hdvlab_system_add_slot(self.system, slot, class_id, instance_id, strings.count, strings.array)
        )

    def remove_slot(self, slot: int) -> int:
        return code(self.library.hdvlab_system_remove_slot(self.system, slot))

    def start(self) -> int:
        return code(self.library.hdvlab_system_start(self.system))

    def stop(self) -> int:
        return code(self.library.hdvlab_system_stop(self.system))

    def running(self, *devices: CallbackDevice, place: bool = True) -> CallbackDevice:
        """Create the devices in slots 0 and up, start, and place their BARs; returns the first."""
        for slot, device in enumerate(devices):
            self.create(device)
            assert self.add_slot(device, slot) == S_OK
        assert self.start() == S_OK
        for slot, device in enumerate(devices):
            if place:
                self.place(device, slot, PLACE + 0x100_0000 * slot)
            device.calls.clear()
        return devices[0]

    def place(self, device: CallbackDevice, slot: int = 0, address: int = PLACE) -> None:
        """What firmware does: give every BAR a place, a megabyte apart, and turn decoding and bus mastering on."""
        bar = 0
        while bar < 6:
            probed = device.probed_bars[bar]
            wide = probed & 6 == 4
            if probed:
                self.config_write(slot, 0x10 + 4 * bar, 4, (address + 0x10_0000 * bar) & 0xFFFFFFFF)
                if wide:
                    self.config_write(slot, 0x14 + 4 * bar, 4, (address + 0x10_0000 * bar) >> 32)
            bar += 2 if wide else 1
        self.config_write(slot, 4, 2, MEMORY | BUS_MASTER)

    # ---- the guest ---------------------------------------------------------------------------------------------

    def read(self, address: int, size: int = 4, **access: int) -> tuple[int, int]:
        value = ffi.new("uint64_t *", 0x5A5A5A5A5A5A5A5A)
        hresult = self.library.hdvlab_guest_read(self.system, self.access(**access), address, size, value)
        return code(hresult), int(value[0])

    def write(self, address: int, value: int, size: int = 4, **access: int) -> int:
        return code(self.library.hdvlab_guest_write(self.system, self.access(**access), address, size, value))

    def config_read(self, slot: int, offset: int, size: int = 4, **access: int) -> tuple[int, int]:
        value = ffi.new("uint32_t *", 0x5A5A5A5A)
        hresult = self.library.hdvlab_guest_config_read(self.system, self.access(**access), slot, offset, size, value)
        return code(hresult), int(value[0])

    def config_write(self, slot: int, offset: int, size: int, value: int, **access: int) -> int:
        return code(
            self.library.hdvlab_guest_config_write(self.system, self.access(**access), slot, offset, size, value)
        )

    def config_peek(self, slot: int) -> tuple[int, bytes]:
        config = ffi.new("uint8_t[4096]")
        return code(self.library.hdvlab_guest_config_peek(self.system, slot, config)), bytes(ffi.buffer(config))

    def poke(
        self, device: CallbackDevice, write: bool, bar: int, offset: int, size: int, value: int = 0, **access: int
    ) -> tuple[int, int]:
        """hdvlab_device_access."""
        cell = ffi.new("uint64_t *", value)
        hresult = lib.hdvlab_device_access(device.handle, self.access(**access), write, bar, offset, size, cell)
        return code(hresult), int(cell[0])

    def ram_read(self, address: int, size: int) -> tuple[int, bytes]:
        buffer = ffi.new("uint8_t[]", max(size, 1))
        return code(self.library.hdvlab_guest_ram_read(self.system, address, size, buffer)), bytes(
            ffi.buffer(buffer, size)
        )

    def ram_write(self, address: int, data: bytes) -> int:
        return code(self.library.hdvlab_guest_ram_write(self.system, address, len(data), data))

    def wait_interrupt(self, vector: int = 0x40, timeout_ns: int = 0) -> tuple[int, int]:
        pending = ffi.new("uint32_t *")
        return code(self.library.hdvlab_guest_wait_interrupt(self.system, vector, timeout_ns, pending)), int(pending[0])

    def teardown(self) -> int:
        """HdvTeardownDeviceHost."""
        return code(lib.HdvTeardownDeviceHost(self.host))

    def close_system(self) -> int:
        """hdvlab_system_close."""
        return code(self.library.hdvlab_system_close(self.system))

    def close(self) -> None:
        self.close_system()
        self.teardown()
        if self.forwarded:
            lib.hdvlab_system_close(self.device_system)
        for device in self.devices:
            if device.errors:
                raise device.errors[0]


class Threads:
    """Threads of a test that are joined, with what they raised, when the block ends."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[..., Any], *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                function(*arguments)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for thread in self._threads:
            thread.join(DEADLINE)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"
            if self._errors:
                raise self._errors[0]


def happens(event: threading.Event) -> None:
    """Wait for what must happen."""
    assert event.wait(DEADLINE), "it did not happen in time"


def pairs(rows: Iterable[dict[str, int]], *names: str) -> list[tuple[int, ...]]:
    """The named columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]
