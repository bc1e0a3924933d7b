"""The devices' side of a VM: slots, each served to QEMU over a socket of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, HResult, StateError, check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.systems.slotted import SlottedMachine
from hdvlab.trace.schema import Origin

_STATES = {
    lib.HDVLAB_VFIO_USER_NONE: "not served",
    lib.HDVLAB_VFIO_USER_LISTENING: "waiting for a VM",
    lib.HDVLAB_VFIO_USER_CONNECTED: "connected",
}
_MODES = {0: "none", 1: "INTx", 5: "MSI", 17: "MSI-X"}
_BUSY = HResult.ERROR_BUSY.signed
_PATIENCE_MS = 50


@dataclass(frozen=True)
class SlotState:
    """How a slot stands with the VM; counts are as ``hdvlab.h`` has them."""

    state: str
    hung: bool
    changes: int
    connections: int
    resets: int
    messages: int
    timeouts: int
    dma_regions: int
    dma_bytes: int
    interrupt_mode: str
    peer: int
    why: int

    @property
    def is_connected(self) -> bool:
        """Whether a VM has it."""
        return self.state == "connected"


class VfioUserMachine(SlottedMachine):
    """A machine whose guest runs in a VM. Fulfils :class:`hdvlab.systems.system.System` as far as a VM lets anybody in.

    :meth:`start` makes the devices ready; the VM comes by itself. What a person does with a BAR goes past the VM's bus,
    to the device; guest RAM is what the VM shares.

    Parameters
    ----------
    trace : cdata, optional
        Recording that takes the rows.
    record_sections : bool
        Also record accesses to section-backed pages that the VM does not map.
    """

    def __init__(self, trace: Any = None, record_sections: bool = False) -> None:
        def create(out: Any) -> None:
            null = ffi.NULL if trace is None else trace
            check(lib.hdvlab_vfio_user_create(record_sections, null, out), "create the VM's machine")

        super().__init__(create)
        self._windows: dict[int, tuple[int, Any, int]] = {}

    @property
    def ram_size(self) -> int:
        """Bytes of RAM: the VM's to know."""
        return 0

    # ---- the VM's side -----------------------------------------------------------------------------------------

    def listen(
        self,
        slot: int,
        path: Path,
        *,
        hide_capabilities: bool = False,
        budget: float | None = 2.0,
        poll: float | None = None,
    ) -> None:
        """Serve a slot's device to the VM that connects to a socket.

        Parameters
        ----------
        slot : int
            Whose device is on.
        path : path
            Socket to make; mode 0600.
        hide_capabilities : bool
            See :class:`~hdvlab.systems.qemu.command_line.VmOptions`.
        budget : float, optional
            Seconds that the guest waits for one answer; None: for ever.
        poll : float, optional
            Seconds to look for the next message before sleeping; adapts itself when not given.
        """
        flags = lib.HDVLAB_VFIO_USER_HIDE_CAPABILITIES if hide_capabilities else 0
        budget_ms = 0xFFFF_FFFF if budget is None else max(1, round(budget * 1000))
        poll_us = 0xFFFF_FFFF if poll is None else round(poll * 1e6)
        size = ffi.sizeof("HDVLAB_VFIO_USER_OPTIONS")
        options = ffi.new("HDVLAB_VFIO_USER_OPTIONS *", (size, flags, budget_ms, poll_us))
        hresult = lib.hdvlab_vfio_user_listen(self._handle, slot, os.fsencode(path), options)
        check(hresult, f"serve slot {slot} on {path}")

    def end(self, slot: int) -> None:
        """Serve it no more; a VM that is connected finds it dead."""
        hresult = lib.hdvlab_vfio_user_end(self._handle, slot)
        if hresult & 0xFFFFFFFF != HResult.ERROR_NOT_FOUND:
            check(hresult, f"end serving slot {slot}")

    def state(self, slot: int) -> SlotState:
        """How a slot stands now."""
        state = ffi.new("HDVLAB_VFIO_USER_STATE *")
        check(lib.hdvlab_vfio_user_state(self._handle, slot, state), f"state of slot {slot}")
        return _state(state)

    def hung_thread(self, slot: int) -> int:
        """The thread (``pthread_t``) in a callback whose answer was given in its place; 0 when there is none."""
        thread = ffi.new("uint64_t *")
        hresult = lib.hdvlab_vfio_user_hung_thread(self._handle, slot, thread)
        return int(thread[0]) if hresult >= 0 else 0

    def wait(self, slot: int, known: SlotState, timeout: float) -> SlotState:
        """Wait until a slot stands otherwise than ``known``, up to ``timeout`` seconds; how it stands then."""
        state = ffi.new("HDVLAB_VFIO_USER_STATE *")
        milliseconds = max(0, round(timeout * 1000))
        hresult = lib.hdvlab_vfio_user_wait(self._handle, slot, known.changes, milliseconds, state)
        if hresult & 0xFFFFFFFF == HResult.ERROR_TIMEOUT:
            return self.state(slot)
        check(hresult, f"wait for slot {slot}")
        return _state(state)

    # ---- a person's side ---------------------------------------------------------------------------------------

    def open_window(self, base: int, size: int, device: Any, bar: int) -> None:
        """Let a person's accesses from ``base`` on, ``size`` bytes, reach a device's BAR."""
        self._windows[base] = (size, device, bar)

    def close_windows(self, device: Any) -> None:
        """Those of a device that is out."""
        self._windows = {base: window for base, window in self._windows.items() if window[1] != device}

    def _access(self, write: bool, address: int, size: int, value: int, origin: Origin, pc: int) -> tuple[int, int]:
        for base, (length, device, bar) in self._windows.items():
            if base <= address < base + length:
                return self.device_access(device, write, bar, address - base, size, value, origin, pc)
        raise AccessError(f"{address:#x} is no place of a device's; the guest's own bus is the VM's")

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """A person's read of a window."""
        return self._access(False, address, size, 0, origin, pc)

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """A person's write to a window."""
        return self._access(True, address, size, value, origin, pc)[1]

    def device_access(
        self, device: Any, write: bool, bar: int, offset: int, size: int, value: int, origin: Origin, pc: int = 0
    ) -> tuple[int, int]:
        """Access one device past the bus, whatever its command register says."""
        access = ffi.new("HDVLAB_ACCESS *", {"pc": pc, "origin": origin, "wait_ms": _PATIENCE_MS})
        out = ffi.new("uint64_t *", value)
        while (hresult := lib.hdvlab_device_access(device, access, write, bar, offset, size, out)) == _BUSY:
            pass
        reraise_interrupt()
        return out[0], hresult

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """Config space as this side has it; what QEMU answers by itself (BARs, MSI) may differ in the guest."""
        access = ffi.new("HDVLAB_ACCESS *", {"pc": pc, "origin": origin, "wait_ms": _PATIENCE_MS})
        out = ffi.new("uint32_t *")
        while (hresult := lib.hdvlab_guest_config_read(self._handle, access, slot, offset, size, out)) == _BUSY:
            pass
        return out[0], hresult

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """Write config space past the VM, which does not learn of it."""
        access = ffi.new("HDVLAB_ACCESS *", {"pc": pc, "origin": origin, "wait_ms": _PATIENCE_MS})
        while (hresult := lib.hdvlab_guest_config_write(self._handle, access, slot, offset, size, value)) == _BUSY:
            pass
        return int(hresult)

    def ram_read(self, address: int, size: int) -> bytes:
        """Guest RAM that the VM shares; no row. GuestMemoryError outside, or while no VM is connected."""
        if size < 0 or not 0 <= address < 1 << 64:
            raise AccessError(f"{address:#x}+{size:#x} is no range of guest RAM")
        buffer = ffi.new("uint8_t[]", max(size, 1))
        check(lib.hdvlab_guest_ram_read(self._handle, address, size, buffer), f"guest RAM {address:#x}+{size:#x}")
        return bytes(ffi.buffer(buffer, size))

    def ram_write(self, address: int, data: bytes) -> None:
        """The same for writing."""
        if not 0 <= address < 1 << 64:
            raise AccessError(f"{address:#x} is no guest-physical address")
        source = ffi.from_buffer("uint8_t[]", data)
        check(lib.hdvlab_guest_ram_write(self._handle, address, len(data), source), f"guest RAM {address:#x}")

    def wait_interrupt(self, vector: int, timeout: float) -> int:
        """Interrupts are the VM's."""
        raise StateError("interrupts go to the VM's guest; a program in it waits for them: %%hdv guest")

    def cancel(self) -> None:
        """Nobody waits here."""


def _state(state: Any) -> SlotState:
    return SlotState(
        _STATES[state.state], bool(state.hung), state.changes, state.connections, state.resets, state.messages,
        state.timeouts, state.dma_regions, state.dma_bytes, _MODES.get(state.interrupt_mode, "?"), state.peer,
        state.why & 0xFFFFFFFF,
    )  # fmt: skip
