"""A guest: what a driver function receives."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from hdvlab.errors import AccessError, GuestInterrupted, GuestTimeoutError, StateError, UsageError
from hdvlab.guest.bus import FIRST_VECTOR, VECTOR_COUNT, Bus
from hdvlab.guest.function import Function
from hdvlab.guest.memory import DmaBuffer
from hdvlab.trace.schema import Origin

_SLICE = 0.2


class VectorAllocator:
    """Hands out CPU interrupt vectors in aligned runs, as MSI wants them."""

    def __init__(self) -> None:
        self._taken: dict[int, object] = {}
        """Vector to owner."""
        self._guard = threading.Lock()

    def take(self, count: int, owner: object) -> list[int]:
        """``count`` consecutive free vectors starting at a multiple of the next power of two.

        ``owner`` is who gives them back.
        """
        if count < 1:
            raise AccessError(f"a function needs 1 vector or more, not {count}")
        step = 1 << (count - 1).bit_length()
        with self._guard:
            for first in range(-(-FIRST_VECTOR // step) * step, VECTOR_COUNT - count + 1, step):
                run = range(first, first + count)
                if self._taken.keys().isdisjoint(run):
                    self._taken.update(dict.fromkeys(run, owner))
                    return list(run)
        raise StateError(f"no {count} consecutive interrupt vectors are free")

    def give_back(self, owner: object) -> None:
        """Free all that :meth:`take` gave to an owner."""
        with self._guard:
            self._taken = {vector: other for vector, other in self._taken.items() if other is not owner}


class Memory(Protocol):
    """Who hands out guest RAM: :class:`RamAllocator`, or one that asks the machine's process."""

    def take(self, size: int, owner: object) -> int: ...
    def give_back(self, owner: object) -> None: ...


class Vectors(Protocol):
    """Who hands out interrupt vectors: :class:`VectorAllocator`, or one that asks the machine's process."""

    def take(self, count: int, owner: object) -> list[int]: ...
    def give_back(self, owner: object) -> None: ...


class _CutOff:
    """The bus of a program that was stopped and went on: nothing works."""

    ram_size = 0

    def __getattr__(self, name: str) -> Any:
        raise GuestInterrupted("this program was stopped; it has no machine any more")


class Guest:
    """The machine from inside, for a driver written in Python.

    ``guest["edu"]`` or ``guest.find(0x1234, 0x11e8)`` is a PCI function that firmware has placed; buffers and vectors
    are freed when the program ends.
    """

    def __init__(
        self,
        bus: Bus,
        functions: Mapping[str, Function],
        ram: Memory,
        vectors: Vectors,
        is_held: Callable[[], object] = lambda: False,
    ) -> None:
        self.bus = bus
        self.functions = dict(functions)
        self._ram = ram
        self._vectors = vectors
        self._is_held = is_held
        self.stopped = threading.Event()
        """Set when the program is stopped from outside."""

    def __getitem__(self, name: str) -> Function:
        try:
            return self.functions[name]
        except KeyError:
            raise UsageError(
                f"no device {name!r} is plugged in; there is {', '.join(self.functions) or 'none'}"
            ) from None

    def __iter__(self) -> Iterator[Function]:
        return iter(self.functions.values())

    def find(self, vendor_id: int, device_id: int) -> Function:
        """The first function with these ids, found by reading config space."""
        for function in self:
            if function.config_read(0) == device_id << 16 | vendor_id:
                return function
        raise UsageError(f"no function is {vendor_id:04x}:{device_id:04x}")

    def dma_alloc(self, size: int) -> DmaBuffer:
        """A page-aligned, zeroed DMA buffer of ``size`` bytes."""
        buffer = DmaBuffer(self.bus, self._ram.take(size, self), size)
        buffer.write(bytes(size))
        return buffer

    def request_interrupts(self, function: Function, count: int = 1) -> list[int]:
        """Give a function ``count`` CPU vectors and program its MSI-X or MSI capability with them."""
        vectors = self._vectors.take(count, self)
        for vector in vectors:
            self._drain(vector)
        function.enable_interrupts(vectors)
        return vectors

    def _drain(self, vector: int) -> None:
        """Forget what came for the vector's last owner."""
        with contextlib.suppress(GuestTimeoutError, GuestInterrupted):
            while self.bus.wait_interrupt(vector, 0.0):
                pass

    def wait_interrupt(self, source: Function | int, timeout: float = 5.0, vector: int = 0) -> int:
        """Wait for an interrupt and take it.

        Parameters
        ----------
        source : Function or int
            A function, of whose vectors ``vector`` names one, or a CPU vector.
        timeout : float
            Seconds. Time in which a breakpoint holds an access does not count.

        Returns
        -------
        int
            How many more are pending.

        Raises
        ------
        GuestTimeoutError
            None came (``ERROR_TIMEOUT``).
        GuestInterrupted
            The program was stopped, or the machine powered off (``E_ABORT``).
        """
        if isinstance(source, Function):
            if vector >= len(source.vectors):
                raise StateError(f"{source.name} was given {len(source.vectors)} vectors; request_interrupts() first")
            number = source.vectors[vector]
        else:
            number = source
        deadline = time.monotonic() + timeout
        while True:  # in slices, so that a program can be stopped
            left = deadline - time.monotonic()
            try:
                return self.bus.wait_interrupt(number, min(max(left, 0.0), _SLICE))
            except GuestTimeoutError:
                if timeout > 0 and self._is_held():  # whoever would send it is stopped, and a person looks around
                    deadline = time.monotonic() + max(left, _SLICE)
                elif left <= _SLICE:
                    raise GuestTimeoutError(f"no interrupt on vector {number:#x} within {timeout:g} s") from None
            except GuestInterrupted:  # every waiter is woken when one program is stopped, and when power goes off
                if self.stopped.is_set() or left <= 0:
                    raise
                time.sleep(min(left, 0.01))

    def sleep(self, seconds: float) -> None:
        """Wait, stoppable from the notebook."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def cut_off(self) -> None:
        """Take the machine away from a program that does not stop: whatever it tries fails from now on."""
        bus: Any = _CutOff()
        self.bus = bus
        for function in self.functions.values():
            function.bus = bus

    def read(self, address: int, size: int = 4) -> int:
        """Read 1, 2, 4 or 8 bytes at a guest-physical address, whatever is there."""
        self._check(address, size)
        pc = next((f.pc_of(sys._getframe(1)) for f in self.functions.values()), 0)
        return self.bus.read(address, size, Origin.guest, pc)[0]

    def write(self, address: int, value: int, size: int = 4) -> None:
        """Write 1, 2, 4 or 8 bytes at a guest-physical address."""
        self._check(address, size)
        if not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} bytes")
        pc = next((f.pc_of(sys._getframe(1)) for f in self.functions.values()), 0)
        self.bus.write(address, size, value, Origin.guest, pc)

    @staticmethod
    def _check(address: int, size: int) -> None:
        if size not in (1, 2, 4, 8):
            raise AccessError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
        if not 0 <= address <= (1 << 64) - size:
            raise AccessError(f"{address:#x} is no guest-physical address of 64 bits")

    def close(self) -> None:
        """Free buffers and vectors."""
        self._ram.give_back(self)
        self._vectors.give_back(self)
