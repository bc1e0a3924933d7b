"""A driver for NVMe, as a guest program: ``lab.run(driver)``."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

from hdvlab.devices.nvme import spec
from hdvlab.devices.nvme.command import Command, Completion, status_name
from hdvlab.devices.nvme.spec import AdminOpcode, FeatureId, Identify, NvmOpcode, Status
from hdvlab.errors import DeviceError, GuestTimeoutError
from hdvlab.guest import DmaBuffer, Function, Guest, GuestRegister

_PAGE = 4096


class NvmeError(DeviceError):
    """A command ended with a status other than success; ``completion`` is its whole answer."""

    def __init__(self, completion: Completion) -> None:
        super().__init__(f"the command ended with {status_name(completion.code)}")
        self.completion = completion
        self.status = completion.code


@dataclass(frozen=True)
class NvmeResult:
    """What the driver found."""

    model: str
    blocks: int
    block: int
    """Bytes."""
    echoed: bytes
    """What came back from the blocks it was written to."""


class QueuePair:
    """The driver's side of a submission and a completion queue, with interrupt vector ``number``."""

    def __init__(self, driver: NvmeDriver, number: int, size: int) -> None:
        self.driver, self.number, self.size = driver, number, size
        self.sq = driver.guest.dma_alloc(size * spec.SQE_SIZE)
        self.cq = driver.guest.dma_alloc(size * spec.CQE_SIZE)
        self.tail = self.head = self.cid = 0
        self.phase = 1
        self.shadow: DmaBuffer | None = None
        self.events: DmaBuffer | None = None

    def submit(self, *commands: Command) -> list[int]:
        """Put commands into the ring and ring once; their identifiers."""
        cids, old = [], self.tail
        for command in commands:
            self.cid = (self.cid + 1) & 0xFFFF
            cids.append(self.cid)
            self.sq.write(command._replace(cid=self.cid).encode(), self.tail * spec.SQE_SIZE)
            self.tail = (self.tail + 1) % self.size
        self._ring(0, self.tail, old)
        return cids

    def _ring(self, which: int, value: int, old: int) -> None:
        """A doorbell: in memory, where doorbell buffers are in use, and the register when the device wants to know."""
        if self.shadow is not None and self.events is not None:
            place = 8 * self.number + 4 * which
            self.shadow.write(value.to_bytes(4, "little"), place)
            event = int.from_bytes(self.events.read(place, 4), "little")
            if (value - event - 1) & 0xFFFF >= (value - old) & 0xFFFF:
                return
        self.driver.doorbell(self.number, which).write(value)

    def reap(self, count: int = 1, timeout: float = 10.0) -> list[Completion]:
        """Wait for ``count`` completions, sleeping until interrupts, and hand their entries back."""
        done: list[Completion] = []
        deadline = time.monotonic() + timeout
        while len(done) < count:
            entry = Completion.decode(self.cq.read(self.head * spec.CQE_SIZE, spec.CQE_SIZE))
            if entry.phase != self.phase:
                if done:
                    self._ring(1, self.head, (self.head - len(done)) % self.size)
                if time.monotonic() > deadline:
                    raise GuestTimeoutError(f"{count - len(done)} commands are not done after {timeout:g} s")
                self.driver.guest.wait_interrupt(self.driver.function, timeout, self.number)
                continue
            done.append(entry)
            self.head += 1
            if self.head == self.size:
                self.head, self.phase = 0, self.phase ^ 1
        self._ring(1, self.head, (self.head - len(done)) % self.size)
        return done

    def run(self, command: Command) -> Completion:
        """One command, waited for. NvmeError where it fails."""
        self.submit(command)
        (completion,) = self.reap()
        if completion.code:
            raise NvmeError(completion)
        return completion


def command(opcode: int, nsid: int = 0, prp1: int = 0, prp2: int = 0, **words: int) -> Command:
    """A command; ``words`` are ``cdw10`` and so on."""
    return Command(opcode, 0, 0, nsid, 0, 0, 0, prp1, prp2, 0, 0, 0, 0, 0, 0)._replace(**words)


class NvmeDriver:
    """Brings a controller up as an operating system does, and reads and writes blocks.

    Parameters
    ----------
    guest : Guest
        The machine.
    function : Function, optional
        The controller; the first 1234:0003 when not given.
    entries : int
        Entries of each queue.
    queues : int
        I/O queue pairs.
    shadow : bool
        Use doorbell buffers where the controller offers them.
    """

    def __init__(
        self, guest: Guest, function: Function | None = None, *, entries: int = 64, queues: int = 1, shadow: bool = True
    ) -> None:
        self.guest = guest
        self.function = function or guest.find(0x1234, 0x0003)
        self.bar0 = self.function.bar0
        self.function.enable()
        self.guest.request_interrupts(self.function, queues + 1)
        self.entries = entries
        self.io: list[QueuePair] = []
        self.enable()
        self.controller_data = self.identify(Identify.CONTROLLER)
        self.namespace_data = self.identify(Identify.NAMESPACE, 1)
        (self.blocks,) = struct.unpack_from("<Q", self.namespace_data)
        self.block = 1 << self.namespace_data[130]
        self._buffers: dict[int, tuple[DmaBuffer, DmaBuffer]] = {}
        self.admin.run(command(
            AdminOpcode.SET_FEATURES, cdw10=FeatureId.NUMBER_OF_QUEUES, cdw11=(queues - 1) * 0x10001
        ))  # fmt: skip
        for number in range(1, queues + 1):
            self.create_queues(number, entries)
        if shadow and struct.unpack_from("<H", self.controller_data, 256)[0] & spec.OACS_DOORBELL_BUFFER:
            self.use_doorbell_buffers()

    # ---- bringing it up ----------------------------------------------------------------------------------------

    def doorbell(self, queue: int, which: int) -> GuestRegister:
        """The doorbell register of a queue: 0 of its submission queue, 1 of its completion queue."""
        register: GuestRegister = getattr(self.bar0, f"CQ{queue}HDBL" if which else f"SQ{queue}TDBL")
        return register

    def _wait_ready(self, ready: int, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while True:
            status = self.bar0.CSTS.read()
            if status & 2 and ready:
                raise DeviceError("the controller says that it is in a fatal state (CSTS.CFS)")
            if status & 3 == ready:
                return
            if time.monotonic() > deadline:
                raise GuestTimeoutError(f"CSTS.RDY is not {ready} after {timeout:g} s")
            self.guest.sleep(0.001)

    def enable(self) -> None:
        """Make the admin queues and switch the controller on."""
        self.bar0.CC.write(0)
        self._wait_ready(0)
        self.admin = QueuePair(self, 0, self.entries)
        self.bar0.AQA.write((self.entries - 1) * 0x10001)
        self.bar0.ASQ.write(self.admin.sq.address)
        self.bar0.ACQ.write(self.admin.cq.address)
        self.bar0.CC.write(spec.CQE_SHIFT << 20 | spec.SQE_SHIFT << 16 | 1)
        self._wait_ready(1)
        self.io.clear()

    def disable(self) -> None:
        """Controller reset: queues are gone."""
        self.bar0.CC.modify(EN=0)
        self._wait_ready(0)

    def shut_down(self, timeout: float = 10.0) -> None:
        """Tell the controller that power will go."""
        self.bar0.CC.modify(SHN=1)
        deadline = time.monotonic() + timeout
        while self.bar0.CSTS.read() >> 2 & 3 != spec.Shutdown.COMPLETE:
            if time.monotonic() > deadline:
                raise GuestTimeoutError(f"CSTS.SHST is not complete after {timeout:g} s")
            self.guest.sleep(0.001)

    def identify(self, cns: int, nsid: int = 0) -> bytes:
        """4096 bytes."""
        buffer = self.guest.dma_alloc(spec.IDENTIFY_SIZE)
        self.admin.run(command(AdminOpcode.IDENTIFY, nsid, buffer.address, cdw10=cns))
        return buffer.read()

    def log_page(self, log: int, size: int) -> bytes:
        """``size`` bytes of a log page, a multiple of 4, at most a page."""
        buffer = self.guest.dma_alloc(size)
        self.admin.run(command(
            AdminOpcode.GET_LOG_PAGE, spec.NSID_ALL, buffer.address, cdw10=log | (size // 4 - 1) << 16
        ))  # fmt: skip
        return buffer.read()

    def create_queues(self, number: int, size: int) -> QueuePair:
        """An I/O queue pair of its own vector."""
        pair = QueuePair(self, number, size)
        what = number | (size - 1) << 16
        flags = number << 16 | spec.CQ_INTERRUPTS | spec.QUEUE_CONTIGUOUS
        self.admin.run(command(AdminOpcode.CREATE_IO_CQ, prp1=pair.cq.address, cdw10=what, cdw11=flags))
        flags = number << 16 | spec.QUEUE_CONTIGUOUS
        self.admin.run(command(AdminOpcode.CREATE_IO_SQ, prp1=pair.sq.address, cdw10=what, cdw11=flags))
        self.io.append(pair)
        return pair

    def use_doorbell_buffers(self) -> None:
        """Doorbell values in memory from now on (Doorbell Buffer Config)."""
        shadow, events = self.guest.dma_alloc(_PAGE), self.guest.dma_alloc(_PAGE)
        self.admin.run(command(AdminOpcode.DOORBELL_BUFFER_CONFIG, prp1=shadow.address, prp2=events.address))
        for pair in self.io:
            pair.shadow, pair.events = shadow, events

    # ---- blocks ------------------------------------------------------------------------------------------------

    def buffer(self, size: int) -> tuple[DmaBuffer, int, int]:
        """A buffer and its PRP entries; kept and used again for the same size."""
        pages = -(-size // _PAGE)
        made = self._buffers.get(pages)
        if made is None:
            data, entries = self.guest.dma_alloc(pages * _PAGE), self.guest.dma_alloc(_PAGE)
            entries.write(struct.pack(f"<{pages - 1}Q", *(data.address + _PAGE * n for n in range(1, pages))))
            made = self._buffers[pages] = (data, entries)
        data, entries = made
        prp2 = 0 if pages == 1 else data.address + _PAGE if pages == 2 else entries.address
        return data, data.address, prp2

    def _transfer(self, opcode: int, block: int, count: int, prp1: int, prp2: int) -> Completion:
        return self.io[0].run(
            command(opcode, 1, prp1, prp2, cdw10=block & 0xFFFFFFFF, cdw11=block >> 32, cdw12=count - 1)
        )

    def read(self, block: int, count: int = 1) -> bytes:
        """``count`` logical blocks from ``block`` on."""
        data, prp1, prp2 = self.buffer(count * self.block)
        self._transfer(NvmOpcode.READ, block, count, prp1, prp2)
        return data.read(0, count * self.block)

    def write(self, block: int, content: bytes) -> None:
        """Write whole blocks from ``block`` on."""
        count = len(content) // self.block
        data, prp1, prp2 = self.buffer(len(content))
        data.write(content)
        self._transfer(NvmOpcode.WRITE, block, count, prp1, prp2)

    def flush(self) -> None:
        """What was written is on stable storage when this returns."""
        self.io[0].run(command(NvmOpcode.FLUSH, 1))

    def write_zeroes(self, block: int, count: int) -> None:
        """Blocks of zeros, without data."""
        self._transfer(NvmOpcode.WRITE_ZEROES, block, count, 0, 0)

    def compare(self, block: int, content: bytes) -> bool:
        """Whether blocks hold ``content``; the controller looks."""
        data, prp1, prp2 = self.buffer(len(content))
        data.write(content)
        try:
            self._transfer(NvmOpcode.COMPARE, block, len(content) // self.block, prp1, prp2)
        except NvmeError as error:
            if error.status == Status.COMPARE_FAILURE:
                return False
            raise
        return True

    def deallocate(self, block: int, count: int) -> None:
        """Say that blocks are not needed any more (Dataset Management)."""
        data, prp1, prp2 = self.buffer(_PAGE)
        data.write(struct.pack("<IIQ", 0, count, block))
        self.io[0].run(command(NvmOpcode.DATASET_MANAGEMENT, 1, prp1, prp2, cdw10=0, cdw11=spec.DSM_DEALLOCATE))


def driver(guest: Guest, block: int = 8, data: bytes = bytes(range(256)) * 64) -> NvmeResult:
    """Bring the controller up, write, flush, read back, compare, shut down."""
    nvme = NvmeDriver(guest)
    nvme.write(block, data)
    nvme.flush()
    echoed = nvme.read(block, len(data) // nvme.block)
    if echoed != data:
        raise DeviceError("the blocks that were read are not those that were written")
    if not nvme.compare(block, data):
        raise DeviceError("the controller does not find the blocks that were written")
    nvme.shut_down()
    model = nvme.controller_data[24:64].decode().rstrip()
    return NvmeResult(model, nvme.blocks, nvme.block, echoed)
