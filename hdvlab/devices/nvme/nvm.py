"""The commands of the NVM command set: what is done with logical blocks.

Ref: NVM Express Base Specification 1.4c, section 6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from hdvlab.devices.nvme import spec
from hdvlab.devices.nvme.command import Command, CommandError
from hdvlab.devices.nvme.identify import NSID
from hdvlab.devices.nvme.spec import NvmOpcode, Status

if TYPE_CHECKING:
    from hdvlab.devices.nvme.controller import Controller


def _range(controller: Controller, command: Command) -> tuple[int, int]:
    """Offset and bytes in the namespace that a command speaks of."""
    if command.nsid != NSID:
        raise CommandError(Status.INVALID_NAMESPACE, location=4)
    return _bytes(controller, command.slba, command.blocks)


def _bytes(controller: Controller, slba: int, blocks: int) -> tuple[int, int]:
    offset, size = slba * controller.block, blocks * controller.block
    if offset + size > controller.namespace.size:
        raise CommandError(Status.LBA_OUT_OF_RANGE, location=40)
    return offset, size


def _read(controller: Controller, command: Command) -> int:
    offset, size = _range(controller, command)
    namespace, write = controller.namespace, controller.port.dma_write
    for address, part in controller.runs(command, size):
        write(address, namespace.read(offset, part))
        offset += part
    controller.health.reads += 1
    controller.health.bytes_read += size
    return 0


def _write(controller: Controller, command: Command) -> int:
    offset, size = _range(controller, command)
    namespace, read = controller.namespace, controller.port.dma_read
    for address, part in controller.runs(command, size):
        namespace.write(offset, read(address, part))
        offset += part
    controller.health.writes += 1
    controller.health.bytes_written += size
    if command.cdw12 & spec.CDW12_FUA:
        namespace.flush()
    return 0


def _compare(controller: Controller, command: Command) -> int:
    offset, size = _range(controller, command)
    if controller.data_in(command, size) != bytes(controller.namespace.read(offset, size)):
        raise CommandError(Status.COMPARE_FAILURE)
    return 0


def _write_zeroes(controller: Controller, command: Command) -> int:
    controller.namespace.zero(*_range(controller, command))
    return 0


def _flush(controller: Controller, command: Command) -> int:
    if command.nsid not in (NSID, spec.NSID_ALL):
        raise CommandError(Status.INVALID_NAMESPACE, location=4)
    controller.namespace.flush()
    return 0


def _dataset_management(controller: Controller, command: Command) -> int:
    if command.nsid != NSID:
        raise CommandError(Status.INVALID_NAMESPACE, location=4)
    count = (command.cdw10 & 0xFF) + 1
    ranges = [
        _bytes(controller, slba, blocks)
        for _, blocks, slba in struct.iter_unpack("<IIQ", controller.data_in(command, count * spec.DSM_RANGE_SIZE))
    ]
    if command.cdw11 & spec.DSM_DEALLOCATE:
        for offset, size in ranges:
            controller.namespace.deallocate(offset, size)
    return 0


#: Opcode to what executes it; the answer is DW0 of the completion.
COMMANDS: dict[int, Callable[[Controller, Command], int | None]] = {
    NvmOpcode.FLUSH: _flush,
    NvmOpcode.WRITE: _write,
    NvmOpcode.READ: _read,
    NvmOpcode.COMPARE: _compare,
    NvmOpcode.WRITE_ZEROES: _write_zeroes,
    NvmOpcode.DATASET_MANAGEMENT: _dataset_management,
}
