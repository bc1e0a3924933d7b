"""Drivers for virtio devices, as guest programs: ``lab.run(driver)``.

Ref: Virtio 1.2, sections 3.1 (initialization), 2.7.13 (supplying buffers), 2.7.14 (receiving used buffers).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hdvlab.devices.virtio import spec
from hdvlab.devices.virtio.spec import BlkStatus, BlkType, DescriptorFlags, DeviceType, Feature, Status
from hdvlab.errors import DeviceError, GuestTimeoutError
from hdvlab.guest import DmaBuffer, Function, Guest

_DESCRIPTOR = struct.Struct("<QIHH")
Run = tuple[int, int]
"""Guest-physical address and bytes."""


class DriverQueue:
    """A split virtqueue from the driver's side.

    Parameters
    ----------
    guest : Guest
        Where its memory is.
    size : int
        Descriptors.
    features : int
        Feature bits that were negotiated.
    """

    def __init__(self, guest: Guest, size: int, features: int) -> None:
        self.size = size
        self.features = features
        self.desc = guest.dma_alloc(spec.DESCRIPTOR_SIZE * size)
        self.avail = guest.dma_alloc(spec.RING_HEADER + spec.AVAIL_ENTRY_SIZE * size + 2)
        self.used = guest.dma_alloc(spec.RING_HEADER + spec.USED_ENTRY_SIZE * size + 2)
        self.free = list(range(size))
        self.taken: dict[int, list[int]] = {}
        """First descriptor of a chain that is under way to all of them."""
        self._avail_index = self._used_index = 0

    def describe(self, place: int, run: Run, flags: int, following: int = 0) -> None:
        """Write one descriptor."""
        self.desc.write(_DESCRIPTOR.pack(*run, flags, following), spec.DESCRIPTOR_SIZE * place)

    def add(self, readable: Sequence[Run], writable: Sequence[Run], table: DmaBuffer | None = None) -> int:
        """Make a chain available, without notifying; returns its head. ``table``: memory for an indirect one."""
        runs = [(run, 0) for run in readable] + [(run, int(DescriptorFlags.WRITE)) for run in writable]
        if table is not None:
            last = len(runs) - 1
            for number, (run, flags) in enumerate(runs):
                chained = flags | (DescriptorFlags.NEXT if number < last else 0)
                table.write(_DESCRIPTOR.pack(*run, chained, number + 1 if number < last else 0), 16 * number)
            runs = [((table.address, 16 * len(runs)), int(DescriptorFlags.INDIRECT))]
        if len(runs) > len(self.free):
            raise DeviceError(f"{len(runs)} descriptors; {len(self.free)} of {self.size} are free")
        places = [self.free.pop(0) for _ in runs]
        for (run, flags), place, following in zip(runs, places, [*places[1:], None], strict=True):
            self.describe(place, run, flags | (0 if following is None else DescriptorFlags.NEXT), following or 0)
        self.taken[places[0]] = places
        self.offer(places[0])
        return places[0]

    def offer(self, head: int) -> None:
        """Put a chain's first descriptor into the available ring."""
        self.avail.write(struct.pack("<H", head), spec.RING_HEADER + 2 * (self._avail_index % self.size))
        self._avail_index = (self._avail_index + 1) & 0xFFFF
        self.avail.write(struct.pack("<H", self._avail_index), 2)

    def wanted(self) -> bool:
        """Whether the device wants to be notified of what was offered last."""
        if self.features & Feature.EVENT_IDX:
            (event,) = struct.unpack("<H", self.used.read(spec.RING_HEADER + 8 * self.size, 2))
            return bool(event == (self._avail_index - 1) & 0xFFFF)
        return not self.used.read(0, 1)[0] & 1

    def interrupt_for(self, more: int) -> None:
        """Ask for an interrupt when ``more`` chains have come back; with EVENT_IDX only."""
        event = (self._used_index + more - 1) & 0xFFFF
        self.avail.write(struct.pack("<H", event), spec.RING_HEADER + 2 * self.size)

    def suppress(self, on: bool) -> None:
        """Ask for no interrupts; without EVENT_IDX only."""
        self.avail.write(struct.pack("<H", spec.AVAIL_NO_INTERRUPT if on else 0))

    def collect(self) -> list[tuple[int, int]]:
        """Chains that came back: head, and bytes written by the device."""
        (index,) = struct.unpack("<H", self.used.read(2, 2))
        done = []
        while self._used_index != index:
            place = spec.RING_HEADER + spec.USED_ENTRY_SIZE * (self._used_index % self.size)
            head, written = struct.unpack("<II", self.used.read(place, 8))
            self.free += self.taken.pop(head, [])
            done.append((head, written))
            self._used_index = (self._used_index + 1) & 0xFFFF
        return done


class VirtioDriver:
    """What a driver does with any virtio device.

    Parameters
    ----------
    guest : Guest
        The machine.
    device_type : int
        Virtio 1.2, section 5.
    function : Function, optional
        The device; the first of that type when not given.
    features : int
        Feature bits to accept, beside VERSION_1, where the device offers them.
    size : int
        Most descriptors per queue.
    """

    def __init__(
        self,
        guest: Guest,
        device_type: int,
        function: Function | None = None,
        features: int = Feature.INDIRECT_DESC | Feature.EVENT_IDX,
        size: int = 256,
    ) -> None:
        self.guest = guest
        self.function = function or guest.find(spec.VENDOR_ID, spec.DEVICE_ID_BASE + device_type)
        self.bar0 = self.function.bar0
        self.reset()
        self.status(Status.ACKNOWLEDGE)
        self.status(Status.DRIVER)
        self.features = self.negotiate(features | Feature.VERSION_1)
        queues = self.bar0.NUM_QUEUES.read()
        guest.request_interrupts(self.function, queues + 1)
        self.bar0.CONFIG_MSIX_VECTOR.write(0)
        self.queues = [self.set_up(number, size) for number in range(queues)]
        self.status(Status.DRIVER_OK)

    def reset(self, timeout: float = 5.0) -> None:
        """Write 0 to the status and wait until it reads 0."""
        self.bar0.DEVICE_STATUS.write(0)
        for _ in range(int(timeout * 100)):
            if not self.bar0.DEVICE_STATUS.read():
                return
            self.guest.sleep(0.01)
        raise GuestTimeoutError(f"reset took more than {timeout:g} s")

    def status(self, bit: Status) -> None:
        """Set a status bit; DeviceError where it does not stay set."""
        self.bar0.DEVICE_STATUS.write(self.bar0.DEVICE_STATUS.read() | bit)
        if not self.bar0.DEVICE_STATUS.read() & bit:
            raise DeviceError(f"the device refuses {bit.name}")

    def offered(self) -> int:
        """Feature bits that the device offers."""
        value = 0
        for select in (0, 1):
            self.bar0.DEVICE_FEATURE_SELECT.write(select)
            value |= self.bar0.DEVICE_FEATURE.read() << 32 * select
        return value

    def negotiate(self, wanted: int) -> int:
        """Accept what is wanted and offered."""
        accepted = wanted & self.offered()
        self.accept(accepted)
        return accepted

    def accept(self, features: int) -> None:
        """Tell the device which features are used, offered or not."""
        for select in (0, 1):
            self.bar0.DRIVER_FEATURE_SELECT.write(select)
            self.bar0.DRIVER_FEATURE.write(features >> 32 * select & 0xFFFFFFFF)
        self.status(Status.FEATURES_OK)

    def set_up(self, number: int, size: int) -> DriverQueue:
        """Give a queue its memory and its vector, and enable it."""
        self.bar0.QUEUE_SELECT.write(number)
        queue = DriverQueue(self.guest, min(size, self.bar0.QUEUE_SIZE.read()), self.features)
        self.bar0.QUEUE_SIZE.write(queue.size)
        self.bar0.QUEUE_MSIX_VECTOR.write(number + 1)
        self.bar0.QUEUE_DESC.write(queue.desc.address)
        self.bar0.QUEUE_DRIVER.write(queue.avail.address)
        self.bar0.QUEUE_DEVICE.write(queue.used.address)
        self.bar0.QUEUE_ENABLE.write(1)
        if not self.bar0.QUEUE_ENABLE.read():
            raise DeviceError(f"the device does not enable queue {number}")
        return queue

    def notify(self, number: int = 0) -> None:
        """Ring a queue's notification address."""
        self.bar0.write(self.function.maps[0][f"NOTIFY_{number}"].offset, number, 2)

    def wait(self, number: int = 0, timeout: float = 5.0) -> list[tuple[int, int]]:
        """Wait for the queue's interrupt; the chains that came back.

        Raises
        ------
        DeviceError
            The device needs a reset.
        """
        queue = self.queues[number]
        while not (done := queue.collect()):
            if self.bar0.DEVICE_STATUS.read() & Status.NEEDS_RESET:
                raise DeviceError("the device needs a reset")
            try:
                self.guest.wait_interrupt(self.function, min(timeout, 0.25), number + 1)
            except GuestTimeoutError:
                timeout -= 0.25
                if timeout <= 0:
                    raise
        return done

    def request(
        self, readable: Sequence[Run], writable: Sequence[Run], number: int = 0, table: DmaBuffer | None = None
    ) -> int:
        """One chain there and back; bytes that the device wrote."""
        queue = self.queues[number]
        queue.interrupt_for(1)
        queue.add(readable, writable, table)
        if queue.wanted():
            self.notify(number)
        ((_, written),) = self.wait(number)
        return written


class RngDriver(VirtioDriver):
    """Random bytes from the entropy device; parameters as of :class:`VirtioDriver`."""

    def __init__(self, guest: Guest, function: Function | None = None, features: int = Feature.EVENT_IDX) -> None:
        super().__init__(guest, DeviceType.ENTROPY, function, features)

    def read(self, size: int) -> bytes:
        """``size`` random bytes."""
        buffer = self.guest.dma_alloc(size)
        data = b""
        while len(data) < size:
            data += buffer.read(0, self.request([], [(buffer.address, size - len(data))]))
        return data


class BlkDriver(VirtioDriver):
    """A disk; parameters as of :class:`VirtioDriver`. Its requests raise DeviceError where the status is not OK."""

    def __init__(
        self,
        guest: Guest,
        function: Function | None = None,
        features: int = 0xFFFFFFFF,
        size: int = 256,
    ) -> None:
        super().__init__(guest, DeviceType.BLOCK, function, features, size)
        self.capacity = self.bar0.CAPACITY.read()
        """Sectors of 512 bytes."""
        self._header, self._status = guest.dma_alloc(spec.BLK_HEADER_SIZE), guest.dma_alloc(1)
        self._table = guest.dma_alloc(4096) if self.features & Feature.INDIRECT_DESC else None

    def raw(
        self, kind: int, sector: int, out: Sequence[Run] = (), into: Sequence[Run] = (), number: int = 0
    ) -> tuple[int, int]:
        """One request of any type; its status, and bytes that the device wrote."""
        self._header.write(struct.pack("<IIQ", kind, 0, sector))
        self._status.write(b"\xff")
        readable = [(self._header.address, spec.BLK_HEADER_SIZE), *out]
        written = self.request(readable, [*into, (self._status.address, 1)], number, self._table)
        return self._status.read()[0], written

    def _ask(self, kind: BlkType, sector: int, out: Sequence[Run] = (), into: Sequence[Run] = ()) -> int:
        status, written = self.raw(kind, sector, out, into)
        if status != BlkStatus.OK:
            name = BlkStatus(status).name if status in BlkStatus._value2member_map_ else str(status)
            raise DeviceError(f"{kind.name} of sector {sector} ended with {name}")
        return written

    def read(self, sector: int, size: int) -> bytes:
        """``size`` bytes from a sector on."""
        buffer = self.guest.dma_alloc(size)
        self._ask(BlkType.IN, sector, into=[(buffer.address, size)])
        return buffer.read()

    def write(self, sector: int, data: bytes) -> None:
        """Whole sectors."""
        buffer = self.guest.dma_alloc(len(data))
        buffer.write(data)
        self._ask(BlkType.OUT, sector, [(buffer.address, len(data))])

    def flush(self) -> None:
        """Return when what was written is where it stays."""
        self._ask(BlkType.FLUSH, 0)

    def identity(self) -> str:
        """What the disk calls itself."""
        buffer = self.guest.dma_alloc(spec.BLK_ID_SIZE)
        self._ask(BlkType.GET_ID, 0, into=[(buffer.address, spec.BLK_ID_SIZE)])
        return buffer.read().rstrip(b"\0").decode()

    def clear(self, kind: BlkType, segments: Sequence[tuple[int, int]], flags: int = 0) -> None:
        """Discard, or write zeroes; segments are first sector and sectors."""
        data = b"".join(struct.pack("<QII", *segment, flags) for segment in segments)
        buffer = self.guest.dma_alloc(len(data))
        buffer.write(data)
        self._ask(kind, 0, [(buffer.address, len(data))])


def driver(guest: Guest, data: bytes = bytes(range(256)) * 16) -> int:
    """Write a disk's first sectors, flush, read them back; its capacity in sectors."""
    disk = BlkDriver(guest)
    disk.write(0, data)
    disk.flush()
    if disk.read(0, len(data)) != data:
        raise DeviceError("the bytes that came back are not those that were written")
    return disk.capacity
