"""The machine of a device, as far as the device does something to it: DMA, interrupts, events, pages, timers, threads.

A copy that rehearses has a :class:`~hdvlab.device.stage.Stage` in the machine's place.
"""

from __future__ import annotations

import contextlib
import operator
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hdvlab._core import lib
from hdvlab.device.description import DeviceDescription
from hdvlab.device.interrupt import InterruptState, read_interrupt_state, withdraw_interrupt
from hdvlab.device.stage import Stage
from hdvlab.device.work import DeviceLock, Work
from hdvlab.errors import AccessError, HResult, StateError, check
from hdvlab.hdv import Aperture, Doorbell, Section, memory, proxy
from hdvlab.registers import Register

_Opened = TypeVar("_Opened", Aperture, Doorbell, Section)


class DeviceWithMachine:
    """What the author of a device calls, in handlers and in threads of the device's own."""

    description: ClassVar[DeviceDescription]

    _name: str
    _file: Any
    _instance: Any
    _restricted: bool
    _work: Work | None
    _opened: weakref.WeakSet[Aperture | Doorbell | Section]
    _stage: Stage | None = None
    """Of a copy that rehearses: what there is in the place of the machine."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes from guest-physical ``address``; see :func:`hdvlab.hdv.read_guest_memory`.

        In a process apart from its machine the copy is made through an aperture that lives as long as the copy takes:
        the rows are the aperture's.
        """
        if self._stage is not None:
            return self._stage.dma_read(address, size)
        device = self._running("dma_read")
        if self._restricted:
            return proxy.read_through_aperture(device, address, size)
        return memory.read_guest_memory(device, address, size)

    def dma_write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy ``data`` to guest-physical ``address``; see :func:`hdvlab.hdv.write_guest_memory`. Elsewhere as
        :meth:`dma_read`."""
        if self._stage is not None:
            return self._stage.dma_write(address, data)
        device = self._running("dma_write")
        if self._restricted:
            return proxy.write_through_aperture(device, address, data)
        return memory.write_guest_memory(device, address, data)

    def aperture(self, address: int, size: int, write_protected: bool = False) -> Aperture:
        """A live window on guest RAM; see :class:`hdvlab.hdv.Aperture`. Closed with the device.

        In a process apart from its machine accesses reach the pages directly, and only the mapping is a row.
        """
        if self._stage is not None:
            return self._stage.aperture(address, size, write_protected)
        device = self._running("aperture")
        return self._keep(Aperture(device, address, size, write_protected, elsewhere=self._restricted))

    def interrupt(self, vector: int = 0) -> bool:
        """Raise an MSI-X or MSI vector, whichever the driver enabled.

        Returns
        -------
        bool
            True when it was delivered, or is pending behind a mask; False when the driver has enabled neither, or has
            not enabled bus mastering.

        Raises
        ------
        AccessError
            No such vector, or not granted by the driver (``E_INVALIDARG``).
        """
        if vector < 0:
            raise AccessError(f"interrupt({vector}): vectors are counted from 0")
        if self._stage is not None:
            return self._stage.interrupt(self._file, vector)
        hresult = lib.hdvlab_register_file_interrupt(self._file, vector) & 0xFFFFFFFF
        if hresult in (HResult.ERROR_INVALID_STATE, HResult.E_ACCESSDENIED):
            return False
        check(hresult, f"interrupt({vector})", "no such vector, or the driver was not granted it")
        return True

    def interrupt_state(self, vector: int = 0) -> InterruptState:
        """How a vector stands, as the driver programmed it; looking changes nothing.

        Raises
        ------
        AccessError
            The device has no such vector (``E_INVALIDARG``).
        """
        return read_interrupt_state(self._file, vector)

    def interrupt_enabled(self, vector: int = 0) -> bool:
        """Whether the driver enabled MSI-X or MSI and granted the vector: :meth:`interrupt` may raise it.

        Bus mastering, without which nothing is sent, is another matter. AccessError as of :meth:`interrupt_state`.
        """
        return self.interrupt_state(vector).enabled

    def interrupt_masked(self, vector: int = 0) -> bool:
        """Whether the vector is masked, by itself or with all the function's; one that is raised is pending then."""
        return self.interrupt_state(vector).masked

    def interrupt_pending(self, vector: int = 0) -> bool:
        """Whether the vector was raised and waits to be unmasked."""
        return self.interrupt_state(vector).pending

    def interrupt_withdraw(self, vector: int = 0) -> bool:
        """Take back a vector that is pending, when what it was raised for has been dealt with meanwhile.

        Returns
        -------
        bool
            Whether it was pending.

        Raises
        ------
        AccessError
            The device has no such vector (``E_INVALIDARG``).

        Notes
        -----
        PCI Local Bus 3.0, section 6.8.3.5: the function clears the bit, to avoid a spurious message at unmasking.
        """
        return withdraw_interrupt(self._file, vector)

    def set_interrupt_line(self, asserted: bool) -> bool:
        """Raise or lower the legacy interrupt line, for a class with ``interrupt_pin = 1``.

        It stays as it is until it is set again, or the machine is reset. That it goes up is an ``interrupt`` row of
        size 0; that it goes down is none.

        Returns
        -------
        bool
            True when the machine has lines, as a VM has; False where it has messages only, as the embedded one.
        """
        if self._stage is not None:
            return self._stage.set_interrupt_line(bool(asserted))
        hresult = lib.hdvlab_device_set_line(self._running("set_interrupt_line"), bool(asserted))
        if hresult & 0xFFFFFFFF == HResult.E_NOTIMPL:
            return False
        check(hresult, "set_interrupt_line", "the device is not running, or its class has no interrupt_pin = 1")
        return True

    def doorbell(
        self, place: Register | int, value: int | None = None, *, bar: int = 0, size: int | None = None
    ) -> Doorbell:
        """An event that guest writes to ``place`` signal, instead of being handled.

        ``place`` is a register (``self.doorbell(type(self).bar0.TAIL)``) or an offset in ``bar``; ``value`` and
        ``size`` (bytes) narrow which writes ring it. Closed with the device.

        Raises
        ------
        AccessError
            ``place`` is neither a register of this device nor an offset (``E_INVALIDARG``).
        StateError
            The device is not plugged into a running machine.
        """
        if isinstance(place, Register):
            bars = [b for b, register in self.description.registers if register is place]
            if not bars:
                raise AccessError(f"doorbell: {place!r} is in none of {self._name}'s BARs")
            bar, place = bars[0], place.offset
        elif not hasattr(place, "__index__"):
            raise AccessError(
                f"doorbell: {place!r:.40} is no register and no offset; give type(self).bar0.TAIL, or 0x10"
            )
        if self._stage is not None:
            return self._stage.doorbell(bar, operator.index(place), value, size)
        return self._keep(Doorbell(self._running("doorbell"), bar, place, value, size))

    def section(
        self,
        offset: int,
        size: int,
        *,
        bar: int = 0,
        writable: bool = True,
        file: Any = None,
        file_offset: int = 0,
        share: Section | None = None,
    ) -> Section:
        """Back pages of a BAR with memory; see :class:`hdvlab.hdv.Section`. Closed with the device.

        ``file`` makes a file or memfd the memory, ``share`` another section's, of this or another device; both from
        ``file_offset`` bytes on.
        """
        if self._stage is not None:
            return self._stage.section(bar, offset, size)
        device = self._running("section")
        return self._keep(Section(device, bar, offset, size, writable, file=file, file_offset=file_offset, share=share))

    def after(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> threading.Timer:
        """Call ``function(*arguments)`` under :attr:`lock` once ``seconds`` have passed, unless the device stops.

        Rows it leads to carry the access that is being served now as their ``cause``.

        Raises
        ------
        AccessError
            ``seconds`` is no length of time, or ``function`` cannot be called (``E_INVALIDARG``).
        StateError
            The device is not plugged into a running machine.
        """
        right = hasattr(seconds, "__float__") and float(seconds) <= threading.TIMEOUT_MAX and callable(function)
        if not right:  # in the timer's thread nobody would be told
            raise AccessError(f"after({seconds!r:.40}, {function!r:.40}): it takes seconds, and what to call then")
        if self._stage is not None:
            timer: threading.Timer = self._stage.after(float(seconds), function, arguments)
            return timer
        return self._powered("after").after(float(seconds), function, arguments)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> threading.Thread:
        """Call ``function(*arguments)`` in a thread of its own. Touch registers ``with self.lock``; end when
        :attr:`stopping` is set. Rows it leads to carry the access that is being served now as their ``cause``.

        Raises
        ------
        AccessError
            ``function`` cannot be called (``E_INVALIDARG``).
        StateError
            The device is not plugged into a running machine.
        """
        if not callable(function):
            raise AccessError(f"spawn({function!r:.40}): it takes what to call, without calling it")
        if self._stage is not None:
            thread: threading.Thread = self._stage.spawn(function, arguments)
            return thread
        return self._powered("spawn").spawn(function, arguments)

    @property
    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Inside ``with self.lock`` no guest access runs. Not needed in handlers and in :meth:`after`.

        In a handler of a ``concurrent`` device it does nothing: the handler shares the device already.
        """
        if self._stage is not None:
            return contextlib.nullcontext()
        return DeviceLock(self._running("lock"))

    @property
    def stopping(self) -> threading.Event:
        """Set when the device stops; threads of :meth:`spawn` wait on it."""
        return self._stage.stopping if self._stage is not None else self._powered("stopping").stopping

    def _keep(self, opened: _Opened) -> _Opened:
        self._opened.add(opened)
        return opened

    def _running(self, operation: str) -> Any:
        if self._instance is None:
            raise StateError(f"{self._name} is not plugged into a running machine", None, operation)
        return self._instance

    def _powered(self, operation: str) -> Work:
        self._running(operation)
        assert self._work is not None
        return self._work
