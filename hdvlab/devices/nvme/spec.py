"""Constants of NVM Express. No behaviour.

Ref: NVM Express Base Specification 1.4c; section numbers below are of that document.
"""

from __future__ import annotations

import enum
from typing import Final

#: VS of version 1.4 (section 3.1.2).
VERSION_1_4: Final = 0x0001_0400
#: Bytes of a submission queue entry and of a completion queue entry, and their logarithms (CC.IOSQES, CC.IOCQES).
SQE_SIZE: Final = 64
CQE_SIZE: Final = 16
SQE_SHIFT: Final = 6
CQE_SHIFT: Final = 4
#: Bytes that Identify returns, and of the smallest memory page.
IDENTIFY_SIZE: Final = 4096
PAGE_SIZE_MINIMUM: Final = 4096
#: Where doorbells start in BAR0 (section 3.1.24).
DOORBELL_BASE: Final = 0x1000
#: Namespace identifiers with a meaning of their own.
NSID_NONE: Final = 0
NSID_ALL: Final = 0xFFFF_FFFF
#: Fields of CDW0 (section 4.2, figure 104): fused operation and PRP or SGL.
CDW0_FUSE_PSDT: Final = 0xC3


class AdminOpcode(enum.IntEnum):
    """Section 5, figure 139."""

    DELETE_IO_SQ = 0x00
    CREATE_IO_SQ = 0x01
    GET_LOG_PAGE = 0x02
    DELETE_IO_CQ = 0x04
    CREATE_IO_CQ = 0x05
    IDENTIFY = 0x06
    ABORT = 0x08
    SET_FEATURES = 0x09
    GET_FEATURES = 0x0A
    ASYNC_EVENT_REQUEST = 0x0C
    NAMESPACE_MANAGEMENT = 0x0D
    FIRMWARE_COMMIT = 0x10
    FIRMWARE_DOWNLOAD = 0x11
    DOORBELL_BUFFER_CONFIG = 0x7C
    FORMAT_NVM = 0x80


class NvmOpcode(enum.IntEnum):
    """Section 6, figure 350."""

    FLUSH = 0x00
    WRITE = 0x01
    READ = 0x02
    COMPARE = 0x05
    WRITE_ZEROES = 0x08
    DATASET_MANAGEMENT = 0x09


class Status(enum.IntEnum):
    """Status code type (bits 10:8) and status code (bits 7:0), section 4.6.1."""

    SUCCESS = 0x000
    INVALID_OPCODE = 0x001
    INVALID_FIELD = 0x002
    COMMAND_ID_CONFLICT = 0x003
    DATA_TRANSFER_ERROR = 0x004
    INTERNAL_ERROR = 0x006
    ABORTED = 0x007
    ABORTED_SQ_DELETED = 0x008
    INVALID_NAMESPACE = 0x00B
    COMMAND_SEQUENCE_ERROR = 0x00C
    INVALID_PRP_OFFSET = 0x013
    LBA_OUT_OF_RANGE = 0x080
    CAPACITY_EXCEEDED = 0x081
    NAMESPACE_NOT_READY = 0x082
    CQ_INVALID = 0x100
    INVALID_QUEUE_ID = 0x101
    INVALID_QUEUE_SIZE = 0x102
    ABORT_LIMIT_EXCEEDED = 0x103
    ASYNC_EVENT_LIMIT_EXCEEDED = 0x105
    INVALID_INTERRUPT_VECTOR = 0x108
    INVALID_LOG_PAGE = 0x109
    INVALID_QUEUE_DELETION = 0x10C
    FEATURE_NOT_SAVEABLE = 0x10D
    FEATURE_NOT_CHANGEABLE = 0x10E
    WRITE_FAULT = 0x280
    UNRECOVERED_READ_ERROR = 0x281
    COMPARE_FAILURE = 0x285
    ACCESS_DENIED = 0x286
    DEALLOCATED_BLOCK = 0x287


class FeatureId(enum.IntEnum):
    """Section 5.21, figure 271."""

    ARBITRATION = 0x01
    POWER_MANAGEMENT = 0x02
    TEMPERATURE_THRESHOLD = 0x04
    ERROR_RECOVERY = 0x05
    VOLATILE_WRITE_CACHE = 0x06
    NUMBER_OF_QUEUES = 0x07
    INTERRUPT_COALESCING = 0x08
    INTERRUPT_VECTOR_CONFIGURATION = 0x09
    WRITE_ATOMICITY = 0x0A
    ASYNC_EVENT_CONFIGURATION = 0x0B
    TIMESTAMP = 0x0E


class LogPage(enum.IntEnum):
    """Section 5.14.1, figure 191."""

    SUPPORTED_EFFECTS = 0x05
    ERROR_INFORMATION = 0x01
    SMART = 0x02
    FIRMWARE_SLOT = 0x03
    CHANGED_NAMESPACES = 0x04


class Identify(enum.IntEnum):
    """Values of CNS, section 5.15.1."""

    NAMESPACE = 0x00
    CONTROLLER = 0x01
    ACTIVE_NAMESPACES = 0x02
    NAMESPACE_DESCRIPTORS = 0x03
    COMMAND_SET_NAMESPACE = 0x05
    COMMAND_SET_CONTROLLER = 0x06


class EventType(enum.IntEnum):
    """Asynchronous event types, section 5.2, figure 147."""

    ERROR = 0
    SMART = 1
    NOTICE = 2


class ErrorEvent(enum.IntEnum):
    """Error status events, figure 148."""

    INVALID_DOORBELL_REGISTER = 0
    INVALID_DOORBELL_VALUE = 1


class Shutdown(enum.IntEnum):
    """CSTS.SHST, section 3.1.6."""

    NORMAL = 0
    OCCURRING = 1
    COMPLETE = 2


#: Optional admin commands (OACS): Doorbell Buffer Config.
OACS_DOORBELL_BUFFER: Final = 1 << 8
#: Optional NVM commands (ONCS): Compare, Dataset Management, Write Zeroes, Timestamp.
ONCS_COMPARE: Final = 1 << 0
ONCS_DATASET_MANAGEMENT: Final = 1 << 2
ONCS_WRITE_ZEROES: Final = 1 << 3
ONCS_TIMESTAMP: Final = 1 << 6
#: Log page attributes (LPA): Commands Supported and Effects, extended data (length and offset).
LPA_EFFECTS: Final = 1 << 1
LPA_EXTENDED: Final = 1 << 2
#: FNA and VWC: a volatile write cache is present; Flush to all namespaces is supported (bits 2:1 = 11b).
VWC_PRESENT: Final = 0x07
#: NVM command bits in CDW12: force unit access, deallocate.
CDW12_FUA: Final = 1 << 30
CDW12_DEALLOCATE: Final = 1 << 25
#: Dataset Management: CDW11 bit 2, attribute deallocate; bytes of a range.
DSM_DEALLOCATE: Final = 1 << 2
DSM_RANGE_SIZE: Final = 16
#: Status field of a completion: bit 15 of the 16 is Do Not Retry; bit 0 is the phase tag.
DO_NOT_RETRY: Final = 1 << 14
#: CDW11 of Create I/O queue commands.
QUEUE_CONTIGUOUS: Final = 1 << 0
CQ_INTERRUPTS: Final = 1 << 1
