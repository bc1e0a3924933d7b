"""The controller: takes commands from submission queues, has them executed, completes them.

Ref: NVM Express Base Specification 1.4c, sections 3.1.5 (enable, reset), 4.1 (queues), 7.6 (shutdown), 5.7 (doorbell
buffers). Everything here runs on one thread, the device's worker; what the guest does reaches it through
:attr:`Controller.rung`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from hdvlab.devices.nvme import admin, nvm, prp, spec
from hdvlab.devices.nvme.command import Command, CommandError, decode_commands, opcode_name
from hdvlab.devices.nvme.events import AsyncEvents
from hdvlab.devices.nvme.features import Features
from hdvlab.devices.nvme.health import Health
from hdvlab.devices.nvme.injection import Injections
from hdvlab.devices.nvme.namespace import Namespace
from hdvlab.devices.nvme.queue import CompletionQueue, SubmissionQueue
from hdvlab.devices.nvme.spec import ErrorEvent, Status
from hdvlab.errors import BackendError, GuestMemoryError

#: Commands taken from a queue at a time, and bytes moved after which completions are not held back any longer.
BURST = 32
BURST_BYTES = 1 << 20
#: Largest transfer of one command, in pages of 4096 bytes, as a power of two (MDTS): 1 MiB.
MDTS = 8
#: Keys of :attr:`Controller.rung` beside the doorbells' numbers.
RESET, CONTROL, UNKNOWN = -1, -2, -3

_COMPLETION = struct.Struct("<IIHHHH")


class Port(Protocol):
    """What the controller needs of the device it is in."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Copy from guest memory."""

    def dma_write(self, address: int, data: bytes | memoryview) -> None:
        """Copy to guest memory."""

    def interrupt(self, vector: int = 0) -> bool:
        """Raise an MSI-X vector."""

    def set_cause(self, row: int) -> None:
        """What this thread does from now on comes from that row."""

    def set_status(self, ready: bool | None = None, fatal: bool | None = None, shutdown: int | None = None) -> None:
        """Change fields of CSTS."""

    def listen(self, queues: range | None) -> None:
        """Have doorbells of these I/O queues signal only (their values are in guest memory); None = end it."""

    def injected(self, what: str, error: CommandError) -> None:
        """A command is going to fail because somebody asked for it."""

    def failed(self, what: str, error: BaseException) -> None:
        """The device's own code, or what stores the blocks, failed."""


class Controller:
    """One power-on of an NVMe controller."""

    def __init__(
        self, port: Port, namespace: Namespace, health: Health, injections: Injections, *, block: int, shadow: bool
    ) -> None:
        self.port = port
        self.namespace = namespace
        self.health = health
        self.injections = injections
        self.block = block
        """Bytes of a logical block."""
        self.shadow = shadow
        """Whether doorbell buffers are offered."""
        self.rung: dict[int, tuple[int, int]] = {}
        """What the guest did and nobody has looked at: doorbell number, or RESET, CONTROL, UNKNOWN, to the value that
        was written last and its row. Other threads store, the worker pops."""
        self.ended = False
        """Set from outside: no more work."""
        self.page_size = spec.PAGE_SIZE_MINIMUM
        self.enabled = False
        self.control = 0
        self.sqs: dict[int, SubmissionQueue] = {}
        self.cqs: dict[int, CompletionQueue] = {}
        self.events = AsyncEvents(self)
        self.features = Features()
        self.shadow_base: tuple[int, int] | None = None
        self._moved = 0
        self._transfer_limit = spec.PAGE_SIZE_MINIMUM << MDTS

    # ---- enable, reset, shutdown -------------------------------------------------------------------------------

    def control_written(self, value: int, admin_queues: Callable[[], tuple[int, int, int]]) -> None:
        """CC has a new value; ``admin_queues`` gives AQA, ASQ and ACQ."""
        if value & 1 and not self.enabled:
            self._enable(value, *admin_queues())
        before, self.control = self.control, value
        if value >> 14 & 3 and not before >> 14 & 3:  # drivers leave CC.SHN as it is when they clear CC.EN
            self.shut_down()

    def _enable(self, control: int, aqa: int, asq: int, acq: int) -> None:
        page_shift, command_set = control >> 7 & 0xF, control >> 4 & 7
        self.page_size = spec.PAGE_SIZE_MINIMUM << page_shift
        sizes = (aqa & 0xFFF) + 1, (aqa >> 16 & 0xFFF) + 1
        if page_shift or command_set or min(sizes) < 2 or not asq or not acq:
            self.fatal()
            return
        self.cqs[0] = CompletionQueue(0, acq, sizes[1], 0, True, users=1)
        self.sqs[0] = SubmissionQueue(0, asq, sizes[0], 0)
        self.enabled = True
        self.port.set_status(ready=True)

    def reset(self) -> None:
        """CC.EN went to 0: queues are gone, features at their defaults, the namespace keeps its blocks."""
        self.port.listen(None)
        self.sqs.clear()
        self.cqs.clear()
        self.shadow_base = None
        self.events = AsyncEvents(self)
        self.features = Features()
        self.enabled = False
        for key in list(self.rung):
            if key >= 0:  # of before the reset
                self.rung.pop(key, None)
        self.port.set_status(ready=False, fatal=False, shutdown=spec.Shutdown.NORMAL)

    def fatal(self) -> None:
        """The guest broke a rule that no status can tell it of: nothing works until it resets the controller."""
        self.enabled = False
        self.port.set_status(fatal=True)

    def shut_down(self) -> None:
        """CC.SHN was set: what is cached goes to stable storage."""
        self.port.set_status(shutdown=spec.Shutdown.OCCURRING)
        try:
            self.namespace.flush()
        except (BackendError, OSError) as error:
            self.port.failed("shutdown", error)
        self.health.clean_shutdown()
        self.port.set_status(shutdown=spec.Shutdown.COMPLETE)

    # ---- doorbells ---------------------------------------------------------------------------------------------

    def doorbell(self, index: int, value: int, cause: int) -> None:
        """A doorbell register was written: of a submission queue (even) or a completion queue (odd)."""
        number = index >> 1
        queue = self.cqs.get(number) if index & 1 else self.sqs.get(number)
        if queue is None:
            self.events.error(ErrorEvent.INVALID_DOORBELL_REGISTER)
        elif queue.shadow:
            self.look(index, cause)
        else:
            self._move(queue, value, cause)

    def look(self, index: int, cause: int) -> None:
        """A doorbell whose value is in guest memory was rung."""
        queue = self.cqs.get(index >> 1) if index & 1 else self.sqs.get(index >> 1)
        if queue is not None and queue.shadow and (isinstance(queue, SubmissionQueue) or queue.waiting):
            self.port.set_cause(cause)
            if isinstance(queue, SubmissionQueue):
                queue.cause = cause
            self._move(queue, self._read_u32(queue.shadow), cause)

    def _move(self, queue: SubmissionQueue | CompletionQueue, value: int, cause: int) -> None:
        if isinstance(queue, SubmissionQueue):
            if value >= queue.size:
                self.events.error(ErrorEvent.INVALID_DOORBELL_VALUE)
            else:
                queue.tail, queue.cause = value, cause
        elif queue.valid_head(value):
            queue.head = value
        else:
            self.events.error(ErrorEvent.INVALID_DOORBELL_VALUE)

    def _read_u32(self, address: int) -> int:
        return int.from_bytes(self.port.dma_read(address, 4), "little")

    def _sleep(self, queue: SubmissionQueue) -> bool:
        """Before waiting for a doorbell: tell the guest which value is to ring it. Whether there is work after all."""
        if queue.announced == queue.tail:
            return False
        self.port.dma_write(queue.event, queue.tail.to_bytes(4, "little"))
        queue.announced = queue.tail
        self._move(queue, self._read_u32(queue.shadow), queue.cause)  # it may have moved before the guest could know
        return queue.pending > 0

    def use_shadow(self, queue: SubmissionQueue | CompletionQueue) -> None:
        """From now on a queue's doorbell values are in guest memory."""
        if self.shadow_base is None or not queue.number:  # the admin queues keep their registers
            return
        offset = 8 * queue.number + (4 if isinstance(queue, CompletionQueue) else 0)
        value = queue.tail if isinstance(queue, SubmissionQueue) else queue.head
        for base in self.shadow_base:
            self.port.dma_write(base + offset, value.to_bytes(4, "little"))
        queue.shadow, queue.event = (base + offset for base in self.shadow_base)
        if isinstance(queue, SubmissionQueue):
            queue.announced = value

    # ---- the work ----------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Execute all commands that are there."""
        busy = True
        try:
            while busy and self.enabled and not self.ended and RESET not in self.rung:
                busy = False
                for queue in list(self.sqs.values()):
                    if self.enabled and self.sqs.get(queue.number) is queue:  # not deleted by a command before
                        busy |= self._serve(queue)
                for cq in list(self.cqs.values()):
                    self._complete(cq)
        except GuestMemoryError:  # a queue is not in guest memory: there is nobody to tell
            self.fatal()

    def _serve(self, queue: SubmissionQueue) -> bool:
        """A burst of commands of one queue; False when there was none."""
        cq = self.cqs[queue.cq]
        if cq.waiting and not self._complete(cq):
            return False
        address, count = queue.run(BURST)
        if not count:
            return bool(queue.shadow) and self._sleep(queue)
        self.port.set_cause(queue.cause)
        entries = self.port.dma_read(address, count * spec.SQE_SIZE)
        queue.take(count)
        for command in decode_commands(entries):
            self._execute(queue, cq, command)
            if self.ended or RESET in self.rung:
                return False
            if self._moved >= BURST_BYTES:
                self._complete(cq)
        self._complete(cq)
        return True

    def _execute(self, queue: SubmissionQueue, cq: CompletionQueue, command: Command) -> None:
        is_admin = queue.number == 0
        table = admin.COMMANDS if is_admin else nvm.COMMANDS
        result: int | None = 0
        error: CommandError | None = None
        try:
            if chosen := self.injections.match(is_admin, command):
                self.port.injected(f"{opcode_name(is_admin, command.opcode)} (queue {queue.number})", chosen)
                raise chosen
            handler = table.get(command.opcode)
            if handler is None:
                raise CommandError(Status.INVALID_OPCODE, location=0)
            if command.flags & spec.CDW0_FUSE_PSDT:  # neither fused operations nor SGLs
                raise CommandError(Status.INVALID_FIELD, location=1)
            result = handler(self, command)
        except CommandError as raised:
            error = raised
        except GuestMemoryError:
            error = CommandError(Status.DATA_TRANSFER_ERROR)
        except (BackendError, OSError) as raised:
            self.port.failed(opcode_name(is_admin, command.opcode), raised)
            wrote = not is_admin and command.opcode != spec.NvmOpcode.READ
            error = CommandError(Status.WRITE_FAULT if wrote else Status.UNRECOVERED_READ_ERROR)
        if error is not None:
            result = 0
            self.health.error(queue.number, command, error, is_admin)
        if result is not None:  # None: held back, as an Asynchronous Event Request is
            status = (error.status << 1 | (0x8000 if error.dnr else 0)) if error is not None else 0
            cq.waiting.append((result, queue.number, command.cid, status))

    def complete(self, result: int, sq_id: int, cid: int, status: int = 0) -> None:
        """Complete a command that was held back; it is posted with the next ones."""
        cq = self.cqs[self.sqs[sq_id].cq]
        cq.waiting.append((result, sq_id, cid, status << 1))

    def _complete(self, cq: CompletionQueue) -> bool:
        """Post what waits, as far as there is room; whether all was."""
        self._moved = 0
        if not cq.waiting:
            return True
        if cq.shadow and cq.room < len(cq.waiting):
            self.port.dma_write(cq.event, cq.head.to_bytes(4, "little"))  # ring when the next entry is taken
            self._move(cq, self._read_u32(cq.shadow), -1)
        count = min(cq.room, len(cq.waiting))
        if not count:
            return False
        entries = []
        for _ in range(count):
            result, sq_id, cid, status = cq.waiting.popleft()
            sq = self.sqs.get(sq_id)
            entries.append(_COMPLETION.pack(result, 0, sq.head if sq else 0, sq_id, cid, status))
        for address, data in cq.put(entries):
            self.port.dma_write(address, data)
        if cq.interrupts:
            self.port.interrupt(cq.vector)
        return not cq.waiting

    # ---- data --------------------------------------------------------------------------------------------------

    def runs(self, command: Command, length: int) -> list[tuple[int, int]]:
        """Where in guest memory a command's data is. CommandError where it is longer than MDTS allows."""
        if length > self._transfer_limit:
            raise CommandError(Status.INVALID_FIELD)
        self._moved += length
        return prp.walk(self.port.dma_read, command.prp1, command.prp2, length, self.page_size)

    def data_in(self, command: Command, length: int) -> bytes:
        """A command's data, from guest memory."""
        return b"".join(self.port.dma_read(address, size) for address, size in self.runs(command, length))

    def data_out(self, command: Command, data: bytes | memoryview) -> None:
        """A command's answer, to guest memory."""
        view, place = memoryview(data), 0
        for address, size in self.runs(command, len(view)):
            self.port.dma_write(address, view[place : place + size])
            place += size
