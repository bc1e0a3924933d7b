"""The trace's columns, row kinds and origins: the contract between the C writer and every reader.

The C side of it is ``_core/src/trace.h``; ``tests/trace/test_schema.py`` compares the two, value by value.
"""

from __future__ import annotations

import enum
from typing import Final

#: Version of the columns' layout. A reader refuses a newer one.
SCHEMA_VERSION: Final = 1

#: ``device`` and ``bar`` of a row that belongs to none, ``cause`` and ``payload`` of a row that has none.
NO_DEVICE: Final = 0xFFFF
NO_BAR: Final = -1
NO_ROW: Final = -1
NO_PAYLOAD: Final = -1

#: Column name to numpy type, in the order of a frame. What each means is in :data:`COLUMN_HELP`.
COLUMNS: Final[dict[str, str]] = {
    "t_ns": "<i8",
    "dur_ns": "<u4",
    "kind": "|u1",
    "origin": "|u1",
    "device": "<u2",
    "bar": "|i1",
    "size": "<u4",
    "address": "<u8",
    "value": "<u8",
    "status": "<i4",
    "cause": "<i8",
    "payload": "<i8",
    "pc": "<u8",
}

COLUMN_HELP: Final[dict[str, str]] = {
    "t_ns": "nanoseconds since the trace began; order is the row number, never the time",
    "dur_ns": "nanoseconds spent serving the access, saturating at 4,294,967,295",
    "kind": "what happened, a Kind",
    "origin": "who did it, an Origin",
    "device": "index into the trace's devices; 65535 = none",
    "bar": "BAR 0 to 5; -1 = none",
    "size": "bytes",
    "address": "BAR offset, config offset, guest-physical address, or MSI address",
    "value": "the first up to 8 bytes, little-endian, or MSI data",
    "status": "HRESULT, signed; E_PENDING (-2147483638) while the access is being served",
    "cause": "row of the access being served when this happened; -1 = none",
    "payload": "place in payload.bin of the bytes that do not fit value; -1 = none",
    "pc": "what the guest was executing: number of a source line, or a guest PC; 0 = unknown",
}


class Kind(enum.IntEnum):
    """What a row is. 0 marks a row that is reserved and not yet published; no frame shows one."""

    none = 0
    config_read = 1
    config_write = 2
    mmio_read = 3
    mmio_write = 4
    dma_read = 5
    dma_write = 6
    interrupt = 7
    doorbell = 8
    doorbell_register = 9
    doorbell_unregister = 10
    aperture_map = 11
    aperture_unmap = 12
    section_map = 13
    section_unmap = 14
    initialize = 15
    set_configuration = 16
    get_details = 17
    start = 18
    stop = 19
    teardown = 20
    reset = 21
    pause = 22
    resume = 23
    mark = 24
    fault = 25
    lost = 26


class Origin(enum.IntEnum):
    """Who made the access: the guest, a person poking, the device itself, a replay, an injected fault, or the machine.

    ``machine`` is what a VM does by itself: before its guest runs, and in a device's MSI-X table.
    """

    guest = 0
    user = 1
    device = 2
    replay = 3
    injected = 4
    machine = 5


#: Groups of kinds that ``--kind`` and plots speak of.
KIND_GROUPS: Final[dict[str, frozenset[Kind]]] = {
    "config": frozenset({Kind.config_read, Kind.config_write}),
    "mmio": frozenset({Kind.mmio_read, Kind.mmio_write, Kind.doorbell}),
    "dma": frozenset({Kind.dma_read, Kind.dma_write}),
    "interrupt": frozenset({Kind.interrupt}),
    "doorbell": frozenset({Kind.doorbell, Kind.doorbell_register, Kind.doorbell_unregister}),
    "memory": frozenset({Kind.aperture_map, Kind.aperture_unmap, Kind.section_map, Kind.section_unmap}),
    "lifecycle": frozenset(
        {
            Kind.initialize,
            Kind.set_configuration,
            Kind.get_details,
            Kind.start,
            Kind.stop,
            Kind.teardown,
            Kind.reset,
            Kind.pause,
            Kind.resume,
        }
    ),
    "mark": frozenset({Kind.mark}),
    "fault": frozenset({Kind.fault}),
    "lost": frozenset({Kind.lost}),
}

#: ``status`` of a row whose access is still being served.
E_PENDING: Final = 0x8000000A - (1 << 32)
