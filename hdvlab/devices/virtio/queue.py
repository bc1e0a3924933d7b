"""A split virtqueue from the device's side: chains of descriptors out of guest memory, used elements into it.

Everything is copied in once, checked, and used from the copy: what the guest changes afterwards has no effect.

Ref: Virtio 1.2, section 2.7 (split virtqueues).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from hdvlab.devices.virtio import spec
from hdvlab.devices.virtio.spec import DescriptorFlags, Feature
from hdvlab.errors import AccessError, DeviceError, GuestMemoryError

_DESCRIPTOR = struct.Struct("<QIHH")
_U16 = struct.Struct("<H")
_USED = struct.Struct("<II")


class QueueError(DeviceError):
    """What the driver put into a queue is against the specification; the device needs a reset."""


class GuestMemory(Protocol):
    """How a queue reaches guest memory: a :class:`hdvlab.Device`."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Copy from guest-physical ``address``."""

    def dma_write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy to it."""


def copy_in(memory: GuestMemory, address: int, size: int) -> bytes:
    """``size`` bytes at an address that the driver gave; QueueError where it cannot be read."""
    try:
        return memory.dma_read(address, size)
    except (GuestMemoryError, AccessError) as error:
        raise QueueError(f"{error}; the driver gave that address", error.hresult) from error


def copy_out(memory: GuestMemory, address: int, data: bytes | bytearray | memoryview) -> None:
    """Copy ``data`` to an address that the driver gave; QueueError where it cannot be written."""
    try:
        memory.dma_write(address, data)
    except (GuestMemoryError, AccessError) as error:
        raise QueueError(f"{error}; the driver gave that address", error.hresult) from error


class _Part:
    """The readable or the writable buffers of a chain, as one run of bytes that is gone through once."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._runs: deque[tuple[int, int]] = deque()
        for address, length in runs:  # neighbours are one: fewer and larger copies
            if self._runs and sum(self._runs[-1]) == address and self._runs[-1][1] + length < 1 << 32:
                self._runs[-1] = (self._runs[-1][0], self._runs[-1][1] + length)
            elif length:
                self._runs.append((address, length))
        self.left = sum(length for _, length in self._runs)

    def take(self, size: int) -> list[tuple[int, int]]:
        """Address and bytes of the next ``size`` bytes."""
        taken = []
        self.left -= size
        while size:
            address, length = self._runs.popleft()
            part = min(length, size)
            taken.append((address, part))
            if part < length:
                self._runs.appendleft((address + part, length - part))
            size -= part
        return taken


class Chain:
    """One request: bytes that the device reads, then room for bytes that it writes.

    Attributes
    ----------
    queue : Virtqueue
        Where it came from, and goes back to.
    head : int
        Number of its first descriptor.
    written : int
        Bytes written so far, from the start of the room without a gap: what the driver is told.
    kept : bool
        Not given back when ``on_request`` returns.
    """

    def __init__(
        self, queue: Virtqueue, head: int, readable: Iterable[tuple[int, int]], writable: Iterable[tuple[int, int]]
    ) -> None:
        self.queue = queue
        self.head = head
        self.written = 0
        self.kept = False
        self.epoch = queue.epoch
        self._gap = False
        self._readable, self._writable = _Part(readable), _Part(writable)

    @property
    def readable(self) -> int:
        """Bytes that are left to read."""
        return self._readable.left

    @property
    def room(self) -> int:
        """Bytes that are left to write."""
        return self._writable.left

    def read(self, size: int | None = None) -> bytes:
        """The next ``size`` bytes that the driver gave; all that are left when not given.

        Raises
        ------
        QueueError
            It gave fewer, or gave an address that cannot be read. Left to itself, the device then needs a reset.
        """
        size = self.readable if size is None else size
        if not 0 <= size <= self.readable:
            raise QueueError(f"{size} bytes to read, but the driver gave {self.readable} in {self!r}")
        memory = self.queue.memory
        parts = [copy_in(memory, address, length) for address, length in self._readable.take(size)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` into the next bytes of room; errors as of :meth:`read`."""
        view = memoryview(data).cast("B")
        if len(view) > self.room:
            raise QueueError(f"{len(view)} bytes to write, but the driver gave room for {self.room} in {self!r}")
        place = 0
        for address, length in self._writable.take(len(view)):
            copy_out(self.queue.memory, address, view[place : place + length])
            place += length
        if not self._gap:
            self.written += len(view)

    def skip(self, size: int) -> None:
        """Leave the next ``size`` bytes of room as they are."""
        if not 0 <= size <= self.room:
            raise QueueError(f"{size} bytes to skip, but the driver gave room for {self.room} in {self!r}")
        self._writable.take(size)
        self._gap |= size > 0

    def keep(self) -> None:
        """Not to be given back when ``on_request`` returns, but with ``device.give_back(chain)`` later."""
        self.kept = True

    def __repr__(self) -> str:
        return f"<chain {self.head} of queue {self.queue.index}: {self.readable} to read, room for {self.room}>"


class Virtqueue:
    """One queue, as the driver set it up.

    Parameters
    ----------
    memory : GuestMemory
        The device.
    index : int
        Its number.
    maximum : int
        Descriptors it may have, a power of two.

    Attributes
    ----------
    size, desc, driver, device, vector, enabled
        What the driver wrote: descriptors, addresses of descriptor table, available and used ring, MSI-X vector.
    broken : bool
        The driver broke the rules in it: nothing is taken from it until a reset.
    epoch : int
        Counts resets: chains of before are given back to nobody.
    """

    def __init__(self, memory: GuestMemory, index: int, maximum: int) -> None:
        self.memory = memory
        self.index = index
        self.maximum = maximum
        self.epoch = 0
        self.reset()

    def reset(self) -> None:
        """As after power-on."""
        self.size, self.vector, self.enabled, self.broken = self.maximum, spec.NO_VECTOR, False, False
        self.desc = self.driver = self.device = 0
        self.features = 0
        self.epoch += 1
        self._next_avail = self._next_used = 0
        self._armed = 0
        self._heads: deque[int] = deque()
        self._used: list[tuple[int, int]] = []

    # ---- chains in ---------------------------------------------------------------------------------------------

    @property
    def fetched(self) -> int:
        """Chains that are known to be there, without looking."""
        return len(self._heads)

    @property
    def done(self) -> int:
        """Chains given back and not flushed yet."""
        return len(self._used)

    def _u16(self, address: int) -> int:
        return int(_U16.unpack(copy_in(self.memory, address, 2))[0])

    def _fetch(self) -> None:
        """Look at the available ring."""
        count = (self._u16(self.driver + 2) - self._next_avail) & 0xFFFF
        if count > self.size:
            raise QueueError(f"queue {self.index} has {self.size} descriptors, but {count} chains are said to be new")
        start = self._next_avail % self.size
        for place, some in ((start, min(count, self.size - start)), (0, max(0, count - (self.size - start)))):
            if some:
                address = self.driver + spec.RING_HEADER + spec.AVAIL_ENTRY_SIZE * place
                self._heads.extend(struct.unpack(f"<{some}H", copy_in(self.memory, address, 2 * some)))
        self._next_avail = (self._next_avail + count) & 0xFFFF

    def pop(self) -> Chain | None:
        """The next chain that the driver made available, None where there is none.

        Raises
        ------
        QueueError
            It, or the ring, is against the specification.
        """
        if not self._heads:
            self._fetch()
        return self._chain(self._heads.popleft()) if self._heads else None

    def _chain(self, head: int) -> Chain:
        parts: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        where, total = f"chain {head} of queue {self.index}", 0
        for address, length, flags in self._descriptors(head, where):
            writable = bool(flags & DescriptorFlags.WRITE)
            if parts[1] and not writable:
                raise QueueError(f"{where} has a buffer to read behind one to write")
            parts[writable].append((address, length))
            total += length
            if total > spec.CHAIN_MAXIMUM:
                raise QueueError(f"{where} has {total:#x} bytes; {spec.CHAIN_MAXIMUM:#x} are the most")
        return Chain(self, head, *parts)

    def _descriptors(self, head: int, where: str) -> Iterable[tuple[int, int, int]]:
        """Address, length and flags of a chain's buffers, from copies."""
        place = head
        for _ in range(self.size):  # a longer one goes in a circle
            if place >= self.size:
                raise QueueError(f"{where} names descriptor {place}; the queue has {self.size}")
            raw = copy_in(self.memory, self.desc + spec.DESCRIPTOR_SIZE * place, spec.DESCRIPTOR_SIZE)
            address, length, flags, place = _DESCRIPTOR.unpack(raw)
            if flags & DescriptorFlags.INDIRECT:
                if not self.features & Feature.INDIRECT_DESC or flags & DescriptorFlags.NEXT:
                    raise QueueError(f"{where} has an indirect descriptor where none may be")
                yield from self._indirect(address, length, where)
                return
            yield address, length, flags
            if not flags & DescriptorFlags.NEXT:
                return
        raise QueueError(f"{where} is longer than the queue, {self.size} descriptors: it goes in a circle")

    def _indirect(self, address: int, length: int, where: str) -> Iterable[tuple[int, int, int]]:
        count = length // spec.DESCRIPTOR_SIZE
        if length % spec.DESCRIPTOR_SIZE or not 0 < count <= spec.QUEUE_SIZE_MAXIMUM:
            raise QueueError(f"{where} has an indirect table of {length} bytes; it is 1 to 32,768 times 16")
        table = list(_DESCRIPTOR.iter_unpack(copy_in(self.memory, address, length)))
        place = 0
        for _ in range(count):
            if place >= count:
                raise QueueError(f"{where} names descriptor {place} of an indirect table of {count}")
            address, length, flags, place = table[place]
            if flags & DescriptorFlags.INDIRECT:
                raise QueueError(f"{where} has an indirect descriptor in an indirect table")
            yield address, length, flags
            if not flags & DescriptorFlags.NEXT:
                return
        raise QueueError(f"{where} goes in a circle in its indirect table")

    def arm(self) -> bool:
        """Ask to be told of the next chain; whether there is one already."""
        if not self.features & Feature.EVENT_IDX or self._armed == self._next_avail:
            return False
        event = self.device + spec.RING_HEADER + spec.USED_ENTRY_SIZE * self.size
        copy_out(self.memory, event, _U16.pack(self._next_avail))
        self._armed = self._next_avail
        self._fetch()
        return bool(self._heads)

    # ---- chains out --------------------------------------------------------------------------------------------

    def push(self, chain: Chain) -> None:
        """Give a chain back; the driver sees it after :meth:`flush`. One of before a reset is dropped."""
        if chain.epoch == self.epoch:
            self._used.append((chain.head, chain.written))

    def flush(self) -> bool:
        """Write what was given back into the used ring; whether the driver wants an interrupt for it."""
        if not self._used:
            return False
        used, self._used = self._used, []
        if len(used) > self.size:
            raise QueueError(f"{len(used)} chains given back in a queue of {self.size}")
        start = self._next_used % self.size
        split = self.size - start
        for place, some in ((start, used[:split]), (0, used[split:])):
            if some:
                data = b"".join(_USED.pack(head, min(written, 0xFFFFFFFF)) for head, written in some)
                copy_out(self.memory, self.device + spec.RING_HEADER + spec.USED_ENTRY_SIZE * place, data)
        old, self._next_used = self._next_used, (self._next_used + len(used)) & 0xFFFF
        copy_out(self.memory, self.device + 2, _U16.pack(self._next_used))
        if self.features & Feature.EVENT_IDX:
            event = self._u16(self.driver + spec.RING_HEADER + spec.AVAIL_ENTRY_SIZE * self.size)
            return (self._next_used - event - 1) & 0xFFFF < (self._next_used - old) & 0xFFFF
        return not self._u16(self.driver) & spec.AVAIL_NO_INTERRUPT
