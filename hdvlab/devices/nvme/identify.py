"""What Identify answers.

Ref: NVM Express Base Specification 1.4c, section 5.15.2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hdvlab.devices.nvme import spec
from hdvlab.devices.nvme.command import Command, CommandError
from hdvlab.devices.nvme.events import LIMIT
from hdvlab.devices.nvme.health import ERROR_ENTRIES
from hdvlab.devices.nvme.spec import Identify, Status

if TYPE_CHECKING:
    from hdvlab.devices.nvme.controller import Controller

#: The only namespace's identifier.
NSID = 1
MODEL = "hdvlab NVMe controller"
SERIAL = "HDVLAB0001"
FIRMWARE = "1.0"
SUBSYSTEM = "nqn.2014-08.org.nvmexpress:uuid:6f1d9a0c-0f5e-4d6e-9a55-6864766c6162"
#: 64-bit extended unique identifier and namespace GUID.
EUI64 = bytes.fromhex("0068647600000001")
NGUID = bytes.fromhex("68647600000000000068647600000001")


def controller_data(controller: Controller, mdts: int) -> bytes:
    """Identify Controller, figure 247."""
    data = bytearray(spec.IDENTIFY_SIZE)
    struct.pack_into("<HH20s40s8s", data, 0, 0x1234, 0x1234, *(
        text.encode().ljust(size) for text, size in ((SERIAL, 20), (MODEL, 40), (FIRMWARE, 8))
    ))  # fmt: skip
    data[72] = 6  # RAB
    data[77] = mdts
    struct.pack_into("<HI", data, 78, 1, spec.VERSION_1_4)  # CNTLID, VER
    data[111] = 1  # CNTRLTYPE: I/O controller
    oacs = spec.OACS_DOORBELL_BUFFER if controller.shadow else 0
    struct.pack_into("<HBB", data, 256, oacs, 3, LIMIT - 1)  # OACS, ACL, AERL
    data[260] = 3  # FRMW: one slot, read-only
    data[261] = spec.LPA_EFFECTS | spec.LPA_EXTENDED
    data[262] = ERROR_ENTRIES - 1
    struct.pack_into("<HH", data, 266, 343, 353)  # WCTEMP, CCTEMP, kelvins
    data[512] = spec.SQE_SHIFT << 4 | spec.SQE_SHIFT
    data[513] = spec.CQE_SHIFT << 4 | spec.CQE_SHIFT
    oncs = spec.ONCS_COMPARE | spec.ONCS_DATASET_MANAGEMENT | spec.ONCS_WRITE_ZEROES | spec.ONCS_TIMESTAMP
    struct.pack_into("<IH", data, 516, 1, oncs)  # NN, ONCS
    data[525] = spec.VWC_PRESENT
    data[768 : 768 + len(SUBSYSTEM)] = SUBSYSTEM.encode()
    struct.pack_into("<H", data, 2048, 2500)  # power state 0: 25 W
    return bytes(data)


def namespace_data(controller: Controller) -> bytes:
    """Identify Namespace, figure 245."""
    data = bytearray(spec.IDENTIFY_SIZE)
    blocks = controller.namespace.size // controller.block
    struct.pack_into("<QQQ", data, 0, blocks, blocks, blocks)  # NSZE, NCAP, NUSE
    data[33] = 1 if controller.namespace.deallocated_is_zero else 0  # DLFEAT
    data[104:120] = NGUID
    data[120:128] = EUI64
    struct.pack_into("<HBB", data, 128, 0, controller.block.bit_length() - 1, 0)  # LBAF0
    return bytes(data)


def identify(controller: Controller, command: Command, mdts: int) -> None:
    """Identify, section 5.15.1."""
    cns, csi = command.cdw10 & 0xFF, command.cdw11 >> 24
    data = bytearray(spec.IDENTIFY_SIZE)
    if cns == Identify.CONTROLLER:
        data[:] = controller_data(controller, mdts)
    elif cns == Identify.NAMESPACE:
        if command.nsid not in (NSID, spec.NSID_ALL):
            raise CommandError(Status.INVALID_NAMESPACE, location=4)
        data[:] = namespace_data(controller)
    elif cns == Identify.ACTIVE_NAMESPACES:
        if command.nsid >= spec.NSID_ALL - 1:
            raise CommandError(Status.INVALID_NAMESPACE, location=4)
        if command.nsid < NSID:
            struct.pack_into("<I", data, 0, NSID)
    elif cns == Identify.NAMESPACE_DESCRIPTORS:
        _check_namespace(command)
        data[:32] = bytes((1, 8, 0, 0)) + EUI64 + bytes((2, 16, 0, 0)) + NGUID
    elif cns in (Identify.COMMAND_SET_NAMESPACE, Identify.COMMAND_SET_CONTROLLER) and csi == 0:
        if cns == Identify.COMMAND_SET_NAMESPACE:
            _check_namespace(command)
    else:
        raise CommandError(Status.INVALID_FIELD, location=40)
    controller.data_out(command, bytes(data))


def _check_namespace(command: Command) -> None:
    if command.nsid != NSID:
        raise CommandError(Status.INVALID_NAMESPACE, location=4)
