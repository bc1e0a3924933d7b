"""Traces to draw: made from a seed, and small enough to know by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hdvlab.registers import Field, Register, RegisterMap
from hdvlab.trace.schema import E_PENDING, Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace

#: An Intel e1000 and an NVMe drive under Linux 6.1: 14,516 records of what their drivers did.
REAL_TRACE = Path(__file__).parents[2] / "notebooks/traces/linux61_nvme_e1000.mmiotrace.gz"

E_FAIL = 0x80004005 - (1 << 32)

REGISTERS = RegisterMap(
    [
        Register(0x00, fields={"EN": 0, "MODE": Field(1, 2, meanings={0: "idle", 1: "run", 2: "halt"})}, name="CTRL"),
        Register(0x04, access="ro", name="COUNT"),
        Register(0x08, access="w1c", fields={"DONE": 0, "ERR": 1}, name="STATUS"),
        Register(0x10, 64, name="RING"),
    ],
    4096,
    "bar0",
)

TABLES = Tables(
    [
        DeviceInfo("blink", 0x1234, 1, "00:03.0", bars={0: BarInfo(4096, 0xFEB00000, REGISTERS), 2: BarInfo(65536)}),
        DeviceInfo("edu", 0x1234, 0x11E8, "00:04.0", bars={0: BarInfo(1 << 20)}),
    ],
    facts={"marks": {}},
)


def trace_of(*rows: dict[str, Any], start: int = 0, tables: Tables = TABLES) -> Trace:
    """A trace with one row per dict; a row is an access of device 0, BAR 0, 4 bytes, unless it says otherwise."""
    names = ("t_ns", "dur_ns", "kind", "origin", "device", "bar", "size", "address", "value", "status", "cause")
    defaults = {"device": 0, "bar": 0, "size": 4, "cause": -1}
    columns = {name: np.array([row.get(name, defaults.get(name, 0)) for row in rows]) for name in names}
    made = Trace.from_columns(columns, tables)
    return Trace(made.columns(), tables, start=start)


def session(start: int = 0) -> Trace:
    """Sixteen rows of everything a timeline draws, 1 µs apart, with one mark named in the facts."""
    none = {"device": 0xFFFF, "bar": -1, "size": 0}
    kinds: list[dict[str, Any]] = [
        {"kind": Kind.start, "bar": -1, "size": 0},
        {"kind": Kind.config_read, "bar": -1, "dur_ns": 120},
        {"kind": Kind.config_write, "bar": -1, "address": 4, "value": 6, "dur_ns": 130},
        {"kind": Kind.mark, **none},
        {"kind": Kind.mmio_write, "address": 0, "value": 3, "dur_ns": 900},
        {"kind": Kind.dma_read, "bar": -1, "size": 64, "address": 0x1000, "cause": start + 4, "dur_ns": 300},
        {"kind": Kind.dma_write, "bar": -1, "size": 64, "address": 0x2000, "cause": start + 4, "dur_ns": 300},
        {"kind": Kind.interrupt, "bar": -1, "address": 0xFEE00000, "cause": start + 4},
        {"kind": Kind.mmio_read, "address": 4, "value": 7, "dur_ns": 210},
        {"kind": Kind.mmio_read, "address": 8, "value": 1, "dur_ns": 220},
        {"kind": Kind.mmio_write, "address": 8, "value": 1, "dur_ns": 230},
        {"kind": Kind.mmio_read, "address": 0x800, "value": 0xFFFFFFFF, "status": E_FAIL, "dur_ns": 90},
        {"kind": Kind.lost, **none, "value": 1204},
        {"kind": Kind.doorbell, "bar": 2, "address": 0x40, "value": 5},
        {"kind": Kind.mmio_write, "device": 1, "address": 0x20, "value": 12, "dur_ns": 1500},
        {"kind": Kind.mmio_read, "device": 1, "address": 0x20, "status": E_PENDING},
    ]
    rows = [{"t_ns": 1_000 * place, **row} for place, row in enumerate(kinds)]
    tables = Tables(TABLES.devices, facts={"marks": {start + 3: "load driver"}})
    return trace_of(*rows, start=start, tables=tables)


def busy(length: int, seed: int = 1, timed: bool = True) -> Trace:
    """A long trace of two devices: polls of a few registers, a table filled now and then, interrupts, some failures."""
    random = np.random.default_rng(seed)
    kind = random.choice(
        np.array([Kind.mmio_read, Kind.mmio_write, Kind.dma_write, Kind.interrupt, Kind.config_read], dtype=np.uint8),
        size=length,
        p=[0.6, 0.3, 0.07, 0.02, 0.01],
    )
    on_bar = (kind == Kind.mmio_read) | (kind == Kind.mmio_write)
    address = random.choice(np.array([0x00, 0x04, 0x08, 0x10, 0x100, 0x104, 0x800]), size=length).astype(np.uint64)
    burst = random.random(length) < 0.1
    address[burst] = 0x400 + 4 * random.integers(0, 128, int(burst.sum()), dtype=np.uint64)
    columns = {
        "t_ns": np.cumsum(random.exponential(400, length)).astype(np.int64),
        "dur_ns": (random.lognormal(6, 0.6, length) * np.where(kind == Kind.mmio_read, 1, 2)) if timed else 0 * kind,
        "kind": kind,
        "device": (random.random(length) < 0.1).astype(np.uint16),
        "bar": np.where(on_bar, 0, -1),
        "size": np.full(length, 4),
        "address": address,
        "value": random.integers(0, 8, length, dtype=np.uint64),
        "status": np.where(random.random(length) < 3 / max(length, 1), E_FAIL, 0),
    }
    return Trace.from_columns(columns, TABLES)
