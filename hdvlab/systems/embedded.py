"""The embedded machine: guest RAM, one PCI segment and an interrupt window, in this process."""

from __future__ import annotations

import threading
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, GuestMemoryError, HResult, check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.systems.slotted import SlottedMachine
from hdvlab.trace.schema import Origin

SLOT_COUNT: int = lib.HDVLAB_SLOT_COUNT
_BUSY = HResult.ERROR_BUSY.signed
#: ``S_FALSE``: the access was held, and the device was not asked.
_SKIPPED = 1
#: How long an access of a person waits for a busy device before Ctrl-C is looked at, milliseconds.
_PATIENCE_MS = 50


class _Scratch(threading.local):
    """C variables that one thread's accesses use again and again."""

    def __init__(self) -> None:
        self.access = ffi.new("HDVLAB_ACCESS *", {"wait_ms": _PATIENCE_MS})
        self.value = ffi.new("uint64_t *")
        self.dword = ffi.new("uint32_t *")


class EmbeddedMachine(SlottedMachine):
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

    def __init__(self, ram_size: int, trace: Any = None, record_sections: bool = False) -> None:
        def create(out: Any) -> None:
            check(
                lib.hdvlab_embedded_create(ram_size, record_sections, ffi.NULL if trace is None else trace, out),
                "create the embedded machine",
                f"RAM of {ram_size} bytes: it is whole pages, 1 MiB to 1 TiB, and must fit this computer",
            )

        super().__init__(create)
        self._ram_size = ram_size
        self._scratch = _Scratch()

    @property
    def ram_size(self) -> int:
        """Bytes of RAM."""
        return self._ram_size

    # ---- the guest's side --------------------------------------------------------------------------------------

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.read`."""
        value = self._scratch.value
        hresult = lib.hdvlab_guest_load(self._handle, address, size, origin, pc, value)
        while hresult == _BUSY:  # the device serves another access; between tries Ctrl-C is answered
            hresult = lib.hdvlab_guest_load(self._handle, address, size, origin, pc, value)
        if hresult == _SKIPPED:  # perhaps because the program was stopped while a breakpoint held it
            reraise_interrupt()
        return value[0], hresult

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.write`."""
        hresult: int = lib.hdvlab_guest_store(self._handle, address, size, origin, pc, value)
        while hresult == _BUSY:
            hresult = lib.hdvlab_guest_store(self._handle, address, size, origin, pc, value)
        if hresult == _SKIPPED:
            reraise_interrupt()
        return hresult

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.config_read`."""
        scratch = self._scratch
        access, value = scratch.access, scratch.dword
        access.pc, access.origin = pc, origin
        while (hresult := lib.hdvlab_guest_config_read(self._handle, access, slot, offset, size, value)) == _BUSY:
            pass
        if hresult == _SKIPPED:
            reraise_interrupt()
        return value[0], hresult

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.config_write`."""
        access = self._scratch.access
        access.pc, access.origin = pc, origin
        while (hresult := lib.hdvlab_guest_config_write(self._handle, access, slot, offset, size, value)) == _BUSY:
            pass
        if hresult == _SKIPPED:
            reraise_interrupt()
        return int(hresult)

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
