"""Controller registers in BAR0.

Ref: NVM Express Base Specification 1.4c, section 3.1.
"""

from __future__ import annotations

from hdvlab.devices.nvme import spec
from hdvlab.registers import Bar, Field, Register

#: I/O queue pairs, beside the admin queue pair. Interrupt vectors: one for each pair.
IO_QUEUES = 4
VECTORS = IO_QUEUES + 1
#: Largest number of entries that a queue may have.
QUEUE_ENTRIES = 1024
#: Where the MSI-X table and its pending bits are: pages of their own.
MSIX_TABLE = 0x2000
MSIX_PENDING = 0x3000

_CAP = (
    (QUEUE_ENTRIES - 1)  # MQES
    | 1 << 16  # CQR
    | 20 << 24  # TO, units of 500 ms
    | 1 << 37  # CSS: the NVM command set
)


class NvmeRegisters(Bar, size=0x4000, bits=64):
    """BAR0: registers in the first page, doorbells in the second, MSI-X table and pending bits behind."""

    CAP = Register(
        0x00,
        64,
        access="ro",
        reset=_CAP,
        fields={
            "MQES": Field(0, 16, doc="entries of the largest queue, less one"),
            "CQR": Field(16, doc="queues are physically contiguous"),
            "AMS": (17, 2),
            "TO": Field(24, 8, doc="longest wait for CSTS.RDY, units of 500 ms"),
            "DSTRD": Field(32, 4, doc="doorbells are 2^(2 + DSTRD) bytes apart"),
            "NSSRS": 36,
            "CSS": Field(37, 8, meanings={1: "NVM"}),
            "MPSMIN": Field(48, 4, doc="smallest page: 2^(12 + MPSMIN) bytes"),
            "MPSMAX": (52, 4),
        },
        doc="controller capabilities",
    )
    VS = Register(0x08, access="ro", reset=spec.VERSION_1_4, doc="version: 1.4.0")
    INTMS = Register(0x0C, access="w1s", doc="interrupt mask set; without meaning with MSI-X")
    INTMC = Register(0x10, access="w1c", doc="interrupt mask clear; without meaning with MSI-X")
    CC = Register(
        0x14,
        fields={
            "EN": 0,
            "CSS": (4, 3),
            "MPS": Field(7, 4, doc="page size: 2^(12 + MPS) bytes"),
            "AMS": (11, 3),
            "SHN": Field(14, 2, meanings={0: "none", 1: "normal", 2: "abrupt"}),
            "IOSQES": (16, 4),
            "IOCQES": (20, 4),
        },
        doc="controller configuration",
    )
    CSTS = Register(
        0x1C,
        access="ro",
        fields={
            "RDY": 0,
            "CFS": Field(1, doc="fatal: reset the controller"),
            "SHST": Field(2, 2, meanings={0: "normal", 1: "occurring", 2: "complete"}),
            "NSSRO": 4,
            "PP": 5,
        },
        doc="controller status",
    )
    NSSR = Register(0x20, access="ro", doc="subsystem reset: not supported")
    AQA = Register(0x24, fields={"ASQS": (0, 12), "ACQS": (16, 12)}, doc="entries of the admin queues, less one")
    ASQ = Register(0x28, 64, fields={"ASQB": (12, 52)}, doc="admin submission queue: guest-physical address")
    ACQ = Register(0x30, 64, fields={"ACQB": (12, 52)}, doc="admin completion queue: guest-physical address")
    CMBLOC = Register(0x38, access="ro", doc="no controller memory buffer")
    CMBSZ = Register(0x3C, access="ro", doc="no controller memory buffer")
    # Doorbells: section 3.1.24 (tails of submission queues), 3.1.25 (heads of completion queues).
    SQ0TDBL = Register(0x1000, access_sizes=[4], doc="admin submission queue's tail")
    CQ0HDBL = Register(0x1004, access_sizes=[4], doc="admin completion queue's head")
    SQ1TDBL = Register(0x1008, access_sizes=[4])
    CQ1HDBL = Register(0x100C, access_sizes=[4])
    SQ2TDBL = Register(0x1010, access_sizes=[4])
    CQ2HDBL = Register(0x1014, access_sizes=[4])
    SQ3TDBL = Register(0x1018, access_sizes=[4])
    CQ3HDBL = Register(0x101C, access_sizes=[4])
    SQ4TDBL = Register(0x1020, access_sizes=[4])
    CQ4HDBL = Register(0x1024, access_sizes=[4])


#: The doorbells of queue ``i``: of its submission queue at ``2 * i``, of its completion queue behind.
DOORBELLS = tuple(
    NvmeRegisters.map[f"{kind}{i}{end}"] for i in range(VECTORS) for kind, end in (("SQ", "TDBL"), ("CQ", "HDBL"))
)
