"""What every virtio device on PCI does: negotiation, queues, notifications, interrupts, reset.

Ref: Virtio 1.2, sections 2 (basic facilities), 3.1 (initialization), 4.1 (virtio over PCI).
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import Any, ClassVar

from hdvlab._core import lib
from hdvlab.device import Device, Fault
from hdvlab.devices.virtio import spec
from hdvlab.devices.virtio.config_access import ConfigAccess
from hdvlab.devices.virtio.queue import Chain, QueueError, Virtqueue
from hdvlab.devices.virtio.registers import VirtioRegisters, VirtioVectors, capabilities_of, with_notifications
from hdvlab.devices.virtio.spec import Feature, Status
from hdvlab.errors import DeviceError, HdvError, RegisterError, StateError
from hdvlab.hdv import Doorbell
from hdvlab.pci.capability import Capability

#: Chains that are given back together at most: the driver need not wait for all that it has queued.
BATCH = 16
_DRIVER_BITS = Status.ACKNOWLEDGE | Status.DRIVER | Status.DRIVER_OK | Status.FEATURES_OK | Status.FAILED


class VirtioDevice(Device):
    """A virtio device. What a type adds is its number, its queues and what it does with a request.

    ::

        class Echo(VirtioDevice):
            device_type = 42

            def on_request(self, queue, chain):
                chain.write(chain.read())

    Registers of its own stand in the configuration structure: ``class bar0(VirtioRegisters): LIMIT =
    Register(DEVICE_CONFIG + 0, access="ro")``; after changing one, call :meth:`config_changed`.

    Notifications are doorbells, one address per queue; one thread per device waits for them and calls
    :meth:`on_request` with the device's lock held. A driver that breaks the rules finds DEVICE_NEEDS_RESET, and what it
    did is in :attr:`faults`.

    Attributes
    ----------
    device_type : int
        Virtio 1.2, section 5; the PCI device id is 0x1040 more.
    queue_count : int
        Virtqueues.
    queue_size : int
        Descriptors that each may have, a power of two, up to 32,768.
    features : int
        Feature bits of the type that it offers. VERSION_1, INDIRECT_DESC and EVENT_IDX are offered always.
    queues : list of Virtqueue
        As the driver set them up.
    accepted : int
        Feature bits that the driver accepted, once FEATURES_OK is set.
    """

    vendor_id = spec.VENDOR_ID
    device_id = spec.DEVICE_ID_BASE
    revision_id = spec.REVISION_ID
    base_class, sub_class = 0x00, 0xFF
    sub_vendor_id, sub_system_id = spec.VENDOR_ID, spec.SUB_SYSTEM_ID
    guest_modules: ClassVar[Sequence[str]] = ("virtio_pci",)
    interrupt_pin = 1
    capabilities: ClassVar[Sequence[Capability]] = ()

    device_type: ClassVar[int] = 0
    queue_count: ClassVar[int] = 1
    queue_size: ClassVar[int] = 256
    features: ClassVar[int] = 0

    bar0: Any = VirtioRegisters
    bar1: Any = VirtioVectors

    queues: list[Virtqueue]
    accepted: int
    _bells: list[Doorbell]
    _begun_at: int
    _driver_features: list[int]
    _window: ConfigAccess

    def __init_subclass__(cls, **rest: Any) -> None:
        size = cls.queue_size
        if not 0 < size <= spec.QUEUE_SIZE_MAXIMUM or size & (size - 1):
            raise RegisterError(f"{cls.__name__}.queue_size is {size}; it is a power of two up to 32,768")
        if not 0 < cls.queue_count <= 64:
            raise RegisterError(f"{cls.__name__}.queue_count is {cls.queue_count}; a virtio device here has 1 to 64")
        if "device_id" not in cls.__dict__:
            cls.device_id = spec.DEVICE_ID_BASE + cls.device_type
        cls.bar0 = with_notifications(cls.bar0, cls.queue_count)
        if "capabilities" not in cls.__dict__:
            cls.capabilities = capabilities_of(cls.bar0, cls.queue_count)
        super().__init_subclass__(**rest)

    def __new__(cls, *arguments: Any, **named: Any) -> VirtioDevice:
        if cls is VirtioDevice:
            raise StateError("VirtioDevice is to be subclassed: class Echo(VirtioDevice): device_type = ...")
        self: Any = super().__new__(cls, *arguments, **named)
        self.queues = [Virtqueue(self, index, cls.queue_size) for index in range(cls.queue_count)]
        self.accepted = 0
        self._bells, self._begun_at = [], -1
        self._driver_features = [0, 0]
        self._window = ConfigAccess(self)
        made: VirtioDevice = self
        return made

    # ---- what an author may override ---------------------------------------------------------------------------

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        """The driver has made a request: read it, write the answer. The chain goes back when this returns, unless
        ``chain.keep()`` was called. An exception is a fault, and the chain goes back as it is."""

    def offered_features(self) -> int:
        """Feature bits of the type, where they depend on the device's settings."""
        return self.features

    def accepts(self, features: int) -> bool:
        """Whether these feature bits of the driver go together; False makes it find FEATURES_OK not set."""
        return True

    def driver_ok(self) -> None:
        """The driver has finished its set-up."""

    def device_reset(self) -> None:
        """The driver, or the machine, has reset the device; chains that were kept are the driver's again."""

    # ---- what an author may use --------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the driver has finished its set-up and the device needs no reset."""
        return bool(self.bar0.DEVICE_STATUS & (Status.DRIVER_OK | Status.NEEDS_RESET) == Status.DRIVER_OK)

    def give_back(self, chain: Chain) -> None:
        """Give back a chain that was kept, with :attr:`lock` held. One of before a reset is dropped."""
        if self.live:
            try:
                chain.queue.push(chain)
                self._flush(chain.queue)
            except QueueError as error:
                self._broken(chain.queue, error)

    def config_changed(self) -> None:
        """Registers of the configuration structure have changed, with :attr:`lock` held: tell the driver."""
        self.bar0.CONFIG_GENERATION = (self.bar0.CONFIG_GENERATION + 1) & 0xFF
        if self.bar0.DEVICE_STATUS & Status.DRIVER_OK:
            self._tell(self.bar0.CONFIG_MSIX_VECTOR, spec.ISR_CONFIG)

    def needs_reset(self) -> None:
        """Set DEVICE_NEEDS_RESET and tell the driver, with :attr:`lock` held (section 2.1.2)."""
        self.bar0.DEVICE_STATUS |= Status.NEEDS_RESET
        if self.bar0.DEVICE_STATUS & Status.DRIVER_OK:
            self._tell(self.bar0.CONFIG_MSIX_VECTOR, spec.ISR_CONFIG)

    def tell_injected(self, what: str) -> None:
        """Leave a row that says that a failure was asked for."""
        error = DeviceError(f"injected: {what}")
        self._report(Fault(self.name, "injected", error.hresult, error, str(error), lib.hdvlab_cause(), injected=True))

    # ---- life --------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        self._begin()
        super().on_start()

    def on_reset(self) -> None:
        super().on_reset()
        self._begin()

    def on_stop(self) -> None:
        super().on_stop()
        self._end()

    def _begin(self) -> None:
        self._end()
        self._reset_transport()
        self._bells = [self.doorbell(type(self).bar0.map[f"NOTIFY_{queue.index}"]) for queue in self.queues]
        self.spawn(self._serve, self._bells)

    def _end(self) -> None:
        for bell in self._bells:
            bell.close()  # wakes the thread
        self._bells = []

    def _reset_transport(self) -> None:
        for queue in self.queues:
            queue.reset()
        self._driver_features, self.accepted = [0, 0], 0
        for register in VirtioRegisters.map:
            setattr(self.bar0, register.name, register.reset)
        self.bar0.NUM_QUEUES = len(self.queues)
        self._show_features()
        self._show_queue()
        self.device_reset()

    # ---- common configuration (4.1.4.3) ------------------------------------------------------------------------

    def _offered(self) -> int:
        always = Feature.VERSION_1 | Feature.INDIRECT_DESC | Feature.EVENT_IDX
        return int(self.offered_features()) | int(always)  # ~ of a Feature would know the named bits only

    @VirtioRegisters.DEVICE_FEATURE_SELECT.on_write
    def device_feature_selected(self, value: int) -> None:
        self._show_features()

    def _show_features(self) -> None:
        select = self.bar0.DEVICE_FEATURE_SELECT
        self.bar0.DEVICE_FEATURE = self._offered() >> 32 * select & 0xFFFFFFFF if select < 2 else 0

    @VirtioRegisters.DRIVER_FEATURE_SELECT.on_write
    def driver_feature_selected(self, value: int) -> None:
        self.bar0.DRIVER_FEATURE = self._driver_features[value] if value < 2 else 0

    @VirtioRegisters.DRIVER_FEATURE.on_write
    def driver_feature_written(self, value: int, old: int) -> None:
        select = self.bar0.DRIVER_FEATURE_SELECT
        if select < 2 and not self.bar0.DEVICE_STATUS & Status.FEATURES_OK:
            self._driver_features[select] = value
        else:
            self.bar0.DRIVER_FEATURE = old

    @VirtioRegisters.DEVICE_STATUS.on_write
    def device_status_written(self, value: int, old: int) -> None:
        if not value:
            self._reset_transport()
            return
        status = Status(old | value & _DRIVER_BITS)  # a driver clears no bit but by a reset
        if Status.FEATURES_OK in status and not old & Status.FEATURES_OK:
            self.accepted = self._driver_features[0] | self._driver_features[1] << 32
            known = not self.accepted & ~self._offered() and self.accepted & Feature.VERSION_1
            if not known or not self.accepts(self.accepted):
                status &= ~Status.FEATURES_OK
        if Status.FEATURES_OK not in status:
            status &= ~Status.DRIVER_OK
        self.bar0.DEVICE_STATUS = int(status)
        if Status.DRIVER_OK in status and not old & Status.DRIVER_OK:
            for queue in self.queues:
                queue.features = self.accepted
            self.driver_ok()
            self._begun_at = lib.hdvlab_cause()
            for bell in self._bells:  # what was made available before is not announced again
                os.eventfd_write(bell.fileno(), 1)

    @VirtioRegisters.CONFIG_MSIX_VECTOR.on_write
    def config_vector_written(self, value: int) -> None:
        self.bar0.CONFIG_MSIX_VECTOR = self._vector(value)

    def _vector(self, value: int) -> int:
        """A vector, or, where there is no such, NO_VECTOR for the driver to find (4.1.5.1.2)."""
        return value if value <= len(self.queues) else spec.NO_VECTOR

    # ---- the selected queue ------------------------------------------------------------------------------------

    def _selected(self) -> Virtqueue | None:
        select = int(self.bar0.QUEUE_SELECT)
        return self.queues[select] if select < len(self.queues) else None

    @VirtioRegisters.QUEUE_SELECT.on_write
    def queue_selected(self, value: int) -> None:
        self._show_queue()

    def _show_queue(self) -> None:
        queue, bar = self._selected(), self.bar0
        bar.QUEUE_SIZE = queue.size if queue else 0
        bar.QUEUE_MSIX_VECTOR = queue.vector if queue else spec.NO_VECTOR
        bar.QUEUE_ENABLE = int(queue.enabled) if queue else 0
        bar.QUEUE_NOTIFY_OFF = queue.index if queue else 0
        bar.QUEUE_DESC, bar.QUEUE_DRIVER, bar.QUEUE_DEVICE = (
            (queue.desc, queue.driver, queue.device) if queue else (0, 0, 0)
        )

    @VirtioRegisters.QUEUE_SIZE.on_write
    @VirtioRegisters.QUEUE_MSIX_VECTOR.on_write
    @VirtioRegisters.QUEUE_ENABLE.on_write
    @VirtioRegisters.QUEUE_DESC.on_write
    @VirtioRegisters.QUEUE_DRIVER.on_write
    @VirtioRegisters.QUEUE_DEVICE.on_write
    def queue_written(self, value: int) -> None:
        """Take over what the driver may change; the registers then show what holds."""
        queue, bar = self._selected(), self.bar0
        if queue is not None:
            queue.vector = self._vector(bar.QUEUE_MSIX_VECTOR)
            if not queue.enabled:
                size = int(bar.QUEUE_SIZE)
                if 0 < size <= queue.maximum and not size & (size - 1):
                    queue.size = size
                queue.desc, queue.driver, queue.device = (
                    int(bar.QUEUE_DESC),
                    int(bar.QUEUE_DRIVER),
                    int(bar.QUEUE_DEVICE),
                )
                aligned = not (queue.desc % 16 or queue.driver % 2 or queue.device % 4)
                queue.enabled = bar.QUEUE_ENABLE == 1 and aligned
        self._show_queue()

    # ---- requests ----------------------------------------------------------------------------------------------

    def _serve(self, bells: list[Doorbell]) -> None:
        """The device's thread: wait for notifications, serve the queue that each is for."""
        poll = select.poll()
        numbers = {bell.fileno(): number for number, bell in enumerate(bells)}
        for descriptor in numbers:
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                number = numbers[descriptor]
                if not bells[number].wait(0):
                    return  # it was closed
                if bells[number].row < self._begun_at:  # nobody rang: DRIVER_OK woke us
                    lib.hdvlab_set_cause(self._begun_at)
                self._drain(self.queues[number], bells[number])

    def _drain(self, queue: Virtqueue, bell: Doorbell) -> None:
        """Serve a queue until it is empty. What was announced meanwhile is caused by its own announcement."""
        while True:
            bell.wait(0)
            with self.lock:  # per request, so that the guest gets at the registers in between
                if not self.live or not queue.enabled or queue.broken:
                    return
                try:
                    chain = queue.pop()
                    if chain is not None:
                        self._request(queue, chain)
                    if chain is None or not queue.fetched or queue.done >= BATCH:
                        self._flush(queue)
                    if chain is None and not queue.arm():
                        return
                except QueueError as error:
                    self._broken(queue, error)
                    return

    def _request(self, queue: Virtqueue, chain: Chain) -> None:
        try:
            self.on_request(queue, chain)
        except (QueueError, StateError):  # the driver's fault; or the machine goes off
            raise
        except Exception as error:
            self.on_failure(f"request in queue {queue.index}", error)
        if not chain.kept:
            queue.push(chain)

    def _flush(self, queue: Virtqueue) -> None:
        if queue.flush():
            self._tell(queue.vector, spec.ISR_QUEUE)

    def _broken(self, queue: Virtqueue, error: QueueError) -> None:
        queue.broken = True
        self.on_failure(f"queue {queue.index}", error)
        self.needs_reset()

    def _tell(self, vector: int, cause: int) -> None:
        """Interrupt the driver: an MSI-X vector, else a bit in the ISR status (4.1.4.5, 4.1.5.1.3)."""
        if self.interrupt_state().kind is None:
            self.bar0.ISR |= cause
            self.set_interrupt_line(True)
        elif vector != spec.NO_VECTOR:
            try:
                self.interrupt(vector)
            except HdvError as error:  # where the driver let it point to
                self.on_failure(f"interrupt {vector}", error)

    @VirtioRegisters.ISR.on_read
    def isr_read(self, stored: int) -> int:
        if stored:
            self.set_interrupt_line(False)
        return stored

    # ---- access through config space (4.1.4.9) -----------------------------------------------------------------

    def config_written(self, offset: int, value: int) -> None:
        self._window.written(offset)
