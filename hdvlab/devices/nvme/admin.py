"""The admin commands.

Ref: NVM Express Base Specification 1.4c, section 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from hdvlab.devices.nvme import nvm, spec
from hdvlab.devices.nvme.command import Command, CommandError
from hdvlab.devices.nvme.identify import FIRMWARE, identify
from hdvlab.devices.nvme.queue import CompletionQueue, SubmissionQueue
from hdvlab.devices.nvme.registers import IO_QUEUES, QUEUE_ENTRIES, VECTORS
from hdvlab.devices.nvme.spec import AdminOpcode, LogPage, Status

if TYPE_CHECKING:
    from hdvlab.devices.nvme.controller import Controller


def _identify(controller: Controller, command: Command) -> int:
    from hdvlab.devices.nvme.controller import MDTS

    identify(controller, command, MDTS)
    return 0


# ---- queues -------------------------------------------------------------------------------------------------------


def _queue_arguments(command: Command, taken: Container[int], page_size: int) -> tuple[int, int]:
    """Number and entries of a queue to be made (figures 148, 152)."""
    number, size = command.cdw10 & 0xFFFF, (command.cdw10 >> 16) + 1
    if not 1 <= number <= IO_QUEUES or number in taken:
        raise CommandError(Status.INVALID_QUEUE_ID, location=40)
    if not 2 <= size <= QUEUE_ENTRIES:
        raise CommandError(Status.INVALID_QUEUE_SIZE, location=42)
    if not command.cdw11 & spec.QUEUE_CONTIGUOUS:
        raise CommandError(Status.INVALID_FIELD, location=44)
    if not command.prp1 or command.prp1 % page_size:
        raise CommandError(Status.INVALID_PRP_OFFSET, location=24)
    return number, size


def _create_cq(controller: Controller, command: Command) -> int:
    number, size = _queue_arguments(command, controller.cqs, controller.page_size)
    vector = command.cdw11 >> 16
    if vector >= VECTORS:
        raise CommandError(Status.INVALID_INTERRUPT_VECTOR, location=46)
    if controller.control >> 20 & 0xF != spec.CQE_SHIFT:
        raise CommandError(Status.INVALID_QUEUE_SIZE)
    queue = CompletionQueue(number, command.prp1, size, vector, bool(command.cdw11 & spec.CQ_INTERRUPTS))
    controller.use_shadow(queue)
    controller.cqs[number] = queue
    return 0


def _create_sq(controller: Controller, command: Command) -> int:
    number, size = _queue_arguments(command, controller.sqs, controller.page_size)
    cq = command.cdw11 >> 16
    if not cq or cq not in controller.cqs:
        raise CommandError(Status.CQ_INVALID, location=46)
    if controller.control >> 16 & 0xF != spec.SQE_SHIFT:
        raise CommandError(Status.INVALID_QUEUE_SIZE)
    queue = SubmissionQueue(number, command.prp1, size, cq)
    controller.use_shadow(queue)
    controller.sqs[number] = queue
    controller.cqs[cq].users += 1
    return 0


def _delete_sq(controller: Controller, command: Command) -> int:
    number = command.cdw10 & 0xFFFF
    if not number or number not in controller.sqs:
        raise CommandError(Status.INVALID_QUEUE_ID, location=40)
    controller.cqs[controller.sqs.pop(number).cq].users -= 1
    return 0


def _delete_cq(controller: Controller, command: Command) -> int:
    number = command.cdw10 & 0xFFFF
    if not number or number not in controller.cqs:
        raise CommandError(Status.INVALID_QUEUE_ID, location=40)
    if controller.cqs[number].users:
        raise CommandError(Status.INVALID_QUEUE_DELETION, location=40)
    del controller.cqs[number]
    return 0


def _doorbell_buffers(controller: Controller, command: Command) -> int:
    if not controller.shadow:
        raise CommandError(Status.INVALID_OPCODE, location=0)
    if not command.prp1 or not command.prp2 or (command.prp1 | command.prp2) % controller.page_size:
        raise CommandError(Status.INVALID_FIELD, location=24)
    for base in (command.prp1, command.prp2):
        controller.port.dma_read(base, 8 * VECTORS)  # there is memory, before anything changes
    controller.shadow_base = (command.prp1, command.prp2)
    for cq in controller.cqs.values():
        controller.use_shadow(cq)
    for sq in controller.sqs.values():
        controller.use_shadow(sq)
    controller.port.listen(range(1, IO_QUEUES + 1))
    return 0


# ---- features, logs, events ---------------------------------------------------------------------------------------


def _set_features(controller: Controller, command: Command) -> int:
    return controller.features.set(controller, command)


def _get_features(controller: Controller, command: Command) -> int:
    return controller.features.get(controller, command)


def _effects() -> bytes:
    """Commands Supported and Effects: supported; those that write change logical blocks (section 5.14.1.5)."""
    log = bytearray(4096)
    for place, table in ((0, COMMANDS), (1024, nvm.COMMANDS)):
        for opcode in table:
            struct.pack_into("<I", log, place + 4 * opcode, 1)
    for opcode in (spec.NvmOpcode.WRITE, spec.NvmOpcode.WRITE_ZEROES, spec.NvmOpcode.DATASET_MANAGEMENT):
        struct.pack_into("<I", log, 1024 + 4 * opcode, 3)
    return bytes(log)


def _get_log_page(controller: Controller, command: Command) -> int:
    log = command.cdw10 & 0xFF
    length = 4 * ((command.cdw10 >> 16 | (command.cdw11 & 0xFFFF) << 16) + 1)
    offset = command.cdw12 | command.cdw13 << 32
    if log == LogPage.ERROR_INFORMATION:
        page = controller.health.error_log()
    elif log == LogPage.SMART:
        page = controller.health.smart_log()
    elif log == LogPage.FIRMWARE_SLOT:
        page = b"\x01".ljust(8, b"\0") + FIRMWARE.encode().ljust(8) + bytes(496)
    elif log == LogPage.CHANGED_NAMESPACES:
        page = bytes(4096)
    elif log == LogPage.SUPPORTED_EFFECTS:
        page = _effects()
    else:
        raise CommandError(Status.INVALID_LOG_PAGE, location=40)
    if offset > len(page) or offset & 3:
        raise CommandError(Status.INVALID_FIELD, location=48)
    runs = controller.runs(command, length)  # checked before so much memory is taken
    data, place = page[offset : offset + length].ljust(length, b"\0"), 0
    for address, size in runs:
        controller.port.dma_write(address, data[place : place + size])
        place += size
    if not command.cdw10 >> 15 & 1:
        controller.events.log_read(log)
    return 0


def _abort(controller: Controller, command: Command) -> int:
    sq_id, cid = command.cdw10 & 0xFFFF, command.cdw10 >> 16
    return 0 if sq_id == 0 and controller.events.abort(cid) else 1  # bit 0: it was not aborted


def _async_event_request(controller: Controller, command: Command) -> None:
    controller.events.request(command)


#: Opcode to what executes it: an int is DW0 of the completion, None holds the command back.
COMMANDS: dict[int, Callable[[Controller, Command], int | None]] = {
    AdminOpcode.IDENTIFY: _identify,
    AdminOpcode.CREATE_IO_CQ: _create_cq,
    AdminOpcode.CREATE_IO_SQ: _create_sq,
    AdminOpcode.DELETE_IO_CQ: _delete_cq,
    AdminOpcode.DELETE_IO_SQ: _delete_sq,
    AdminOpcode.DOORBELL_BUFFER_CONFIG: _doorbell_buffers,
    AdminOpcode.SET_FEATURES: _set_features,
    AdminOpcode.GET_FEATURES: _get_features,
    AdminOpcode.GET_LOG_PAGE: _get_log_page,
    AdminOpcode.ABORT: _abort,
    AdminOpcode.ASYNC_EVENT_REQUEST: _async_event_request,
}
