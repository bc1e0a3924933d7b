"""The embedded machine: guest RAM, one PCI segment and an interrupt window, in this process."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, GuestMemoryError, HResult, check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.hdv.structures import WideStrings, guid
from hdvlab.trace.schema import Origin

SLOT_COUNT: int = lib.HDVLAB_SLOT_COUNT
_BUSY = HResult.ERROR_BUSY.signed
#: How long an access of a person waits for a busy device before Ctrl-C is looked at, milliseconds.
_PATIENCE_MS = 50


class _Scratch(threading.local):
    """C variables that one thread's accesses use again and again."""

    def __init__(self) -> None:
        self.access = ffi.new("HDVLAB_ACCESS *", {"wait_ms": _PATIENCE_MS})
        self.value = ffi.new("uint64_t *")
        self.dword = ffi.new("uint32_t *")


class EmbeddedMachine:
    """The machine of a lab without a VM. Fulfils :class:`hdvlab.systems.system.System`.

    Parameters
    ----------
    ram_size : int
        Bytes: whole pages, 1 MiB to 1 TiB. RAM from 3 GiB on appears from 4 GiB on.
    trace : cdata, optional
        Recording that takes the rows.
    record_sections : bool
        Also record accesses to section-backed pages, which are memory and otherwise leave no rows.

    Raises
    ------
    AccessError
        A RAM size out of range (``E_INVALIDARG``).
    """

    _fresh = False

    def __init__(self, ram_size: int, trace: Any = None, record_sections: bool = False) -> None:
        self._out = ffi.new("void **")  # C stores the handle: Ctrl-C cannot come between that and our keeping it
        self._fresh = True
        check(
            lib.hdvlab_embedded_create(ram_size, record_sections, ffi.NULL if trace is None else trace, self._out),
            "create the embedded machine",
            f"RAM of {ram_size} bytes: it is whole pages, 1 MiB to 1 TiB, and must fit this computer",
        )
        self._handle: Any = self._out[0]
        self._ram_size = ram_size
        self._scratch = _Scratch()

    @property
    def handle(self) -> Any:
        """``HCS_SYSTEM``."""
        return self._handle

    @property
    def ram_size(self) -> int:
        """Bytes of RAM."""
        return self._ram_size

    # ---- lifecycle ---------------------------------------------------------------------------------------------

    def add_slot(self, slot: int, class_id: uuid.UUID, instance_id: uuid.UUID, configuration: Sequence[str]) -> None:
        """See :meth:`System.add_slot`. Raises what the device's callback failed with."""
        strings = WideStrings(configuration)
        hresult = lib.hdvlab_system_add_slot(
            self._handle, slot, guid(class_id), guid(instance_id), strings.count, strings.array
        )
        reraise_interrupt()
        check(hresult, f"plug into slot {slot}")

    def remove_slot(self, slot: int) -> None:
        """See :meth:`System.remove_slot`."""
        hresult = lib.hdvlab_system_remove_slot(self._handle, slot)
        reraise_interrupt()
        check(hresult, f"unplug slot {slot}")

    def start(self) -> None:
        """See :meth:`System.start`. A device that fails a step fails the start, with its HRESULT; all are torn down."""
        self._fresh = False
        hresult = lib.hdvlab_system_start(self._handle)
        reraise_interrupt()
        check(hresult, "start the machine")

    def stop(self) -> None:
        """See :meth:`System.stop`."""
        hresult = lib.hdvlab_system_stop(self._handle)
        reraise_interrupt()
        check(hresult, "stop the machine", "it is off, or this is a callback of one of its devices")

    def close(self) -> None:
        """See :meth:`System.close`."""
        check(lib.hdvlab_system_close(self._handle), "close the machine")
        reraise_interrupt()

    def __del__(self) -> None:
        if self._fresh:  # never started, so no device's code runs here
            lib.hdvlab_system_close(self._out[0])

    # ---- the guest's side --------------------------------------------------------------------------------------

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.read`."""
        value = self._scratch.value
        hresult = lib.hdvlab_guest_load(self._handle, address, size, origin, pc, value)
        while hresult == _BUSY:  # the device serves another access; between tries Ctrl-C is answered
            hresult = lib.hdvlab_guest_load(self._handle, address, size, origin, pc, value)
        return value[0], hresult

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.write`."""
        hresult: int = lib.hdvlab_guest_store(self._handle, address, size, origin, pc, value)
        while hresult == _BUSY:
            hresult = lib.hdvlab_guest_store(self._handle, address, size, origin, pc, value)
        return hresult

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.config_read`."""
        scratch = self._scratch
        access, value = scratch.access, scratch.dword
        access.pc, access.origin = pc, origin
        while (hresult := lib.hdvlab_guest_config_read(self._handle, access, slot, offset, size, value)) == _BUSY:
            pass
        return value[0], hresult

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.config_write`."""
        access = self._scratch.access
        access.pc, access.origin = pc, origin
        while (hresult := lib.hdvlab_guest_config_write(self._handle, access, slot, offset, size, value)) == _BUSY:
            pass
        return int(hresult)

    def config_peek(self, slot: int) -> bytes:
        """A slot's config space as the machine would answer it, 4096 bytes; looking leaves no row."""
        config = ffi.new("uint8_t[4096]")
        check(lib.hdvlab_guest_config_peek(self._handle, slot, config), f"config space of slot {slot}")
        return bytes(ffi.buffer(config))

    def device_access(
        self, device: Any, write: bool, bar: int, offset: int, size: int, value: int, origin: Origin, pc: int = 0
    ) -> tuple[int, int]:
        """Access one device past the bus, whatever its command register says; as :meth:`read` otherwise."""
        scratch = self._scratch
        access = scratch.access
        access.pc, access.origin = pc, origin
        scratch.value[0] = value
        while (hresult := lib.hdvlab_device_access(device, access, write, bar, offset, size, scratch.value)) == _BUSY:
            pass
        reraise_interrupt()
        return scratch.value[0], hresult

    def _ram_check(self, hresult: int, address: int, size: int) -> None:
        if hresult & 0xFFFFFFFF == HResult.ERROR_NOACCESS:
            raise GuestMemoryError(f"{address:#x}+{size:#x} is not wholly in {self._ram_size:#x} bytes of RAM")
        check(hresult, "guest RAM")

    def ram_read(self, address: int, size: int) -> bytes:
        """See :meth:`Bus.ram_read`."""
        if size < 0 or not 0 <= address < 1 << 64 or size > self._ram_size:
            raise AccessError(f"{address:#x}+{size:#x} is no range of guest RAM")
        buffer = ffi.new("uint8_t[]", max(size, 1))
        self._ram_check(lib.hdvlab_guest_ram_read(self._handle, address, size, buffer), address, size)
        return bytes(ffi.buffer(buffer, size))

    def ram_write(self, address: int, data: bytes) -> None:
        """See :meth:`Bus.ram_write`."""
        if not 0 <= address < 1 << 64:
            raise AccessError(f"{address:#x} is no guest-physical address")
        hresult = lib.hdvlab_guest_ram_write(self._handle, address, len(data), ffi.from_buffer("uint8_t[]", data))
        self._ram_check(hresult, address, len(data))

    def wait_interrupt(self, vector: int, timeout: float) -> int:
        """See :meth:`Bus.wait_interrupt`."""
        pending = ffi.new("uint32_t *")
        hresult = lib.hdvlab_guest_wait_interrupt(self._handle, vector, int(timeout * 1e9), pending)
        check(hresult, f"wait for vector {vector:#x}")
        return int(pending[0])

    def cancel(self) -> None:
        """See :meth:`Bus.cancel`."""
        lib.hdvlab_guest_cancel(self._handle)
