"""A long trace that looks like a driver at work: requests in bursts, each with its DMA, interrupt and answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdvlab.registers import Field, Register, RegisterMap
from hdvlab.trace.schema import Kind, Origin
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace

Array = np.ndarray[Any, Any]

_CTRL, _STATUS, _TAIL, _HEAD, _COUNTERS = 0x00, 0x08, 0x18, 0x1C, 0x400
_RING, _BUFFERS, _BUFFER_COUNT = 0x10_0000, 0x100_0000, 4096

REGISTERS = RegisterMap(
    [
        Register(_CTRL, fields={"EN": 0, "MODE": Field(1, 2, meanings={0: "idle", 1: "run", 2: "halt"})}, name="CTRL"),
        Register(_STATUS, access="w1c", fields={"DONE": 0, "ERR": 1}, name="STATUS"),
        Register(0x10, 64, name="RING"),
        Register(_TAIL, name="TAIL"),
        Register(_HEAD, access="ro", name="HEAD"),
        *(Register(_COUNTERS + 4 * n, access="ro", name=f"COUNTER{n}") for n in range(64)),
    ],
    4096,
    "bar0",
)

#: Rows of a request: kind, bytes, nanoseconds to the row before, nanoseconds that it takes, and whether the first one
#: of the request caused it.
_STEPS = (
    (Kind.mmio_write, 4, 900, 260, False),  # TAIL
    (Kind.dma_read, 16, 300, 180, True),  # a descriptor
    (Kind.dma_read, 2048, 250, 700, True),  # what it points at
    (Kind.dma_write, 16, 800, 190, True),  # done
    (Kind.interrupt, 4, 150, 60, True),
    (Kind.mmio_read, 4, 2_500, 210, False),  # STATUS
    (Kind.mmio_write, 4, 400, 220, False),  # acknowledged
    (Kind.mmio_read, 4, 500, 200, False),  # HEAD, or a counter
)


def make_long_trace(rows: int, seed: int = 1) -> Trace:
    """A trace of two devices alike, ``rows`` long, the same for the same seed."""
    random = np.random.default_rng(seed)
    step = np.arange(rows) % len(_STEPS)
    request = np.arange(rows) // len(_STEPS)
    requests = int(request[-1]) + 1
    kinds, sizes, gaps, takes, caused = (np.array(part) for part in zip(*_STEPS, strict=True))
    gap = gaps[step] * random.exponential(1.0, rows)
    idle = np.where(np.arange(requests) % 2_000 == 0, 40e6 * random.exponential(1.0, requests), 0)  # between bursts
    gap[:: len(_STEPS)] += idle
    device = (np.arange(requests) // 500 % 4 == 3).astype(np.uint16)[request]
    slot = request % 256
    buffer = random.integers(0, _BUFFER_COUNT, requests)[request]
    status = np.where(random.random(requests) < 1e-4, 3, 1)[request]  # an error now and then
    counter = np.where(request % 16 == 0, _COUNTERS + 4 * (request // 16 % 64), _HEAD)
    address = np.choose(
        step,
        [_TAIL, _RING + 16 * slot, _BUFFERS + 4096 * buffer, _RING + 16 * slot, 0xFEE0_0000, _STATUS, _STATUS, counter],
    )
    value = np.choose(step, [slot, request, request * 0x9E37, status, 0x41, status, status, slot])
    kind = kinds[step].astype(np.uint8)
    on_bar = (kind == Kind.mmio_read) | (kind == Kind.mmio_write)
    columns: dict[str, Array] = {
        "t_ns": np.cumsum(gap).astype(np.int64),
        "dur_ns": (takes[step] * random.lognormal(0, 0.3, rows)).astype(np.uint32),
        "kind": kind,
        "origin": np.where(caused[step] == 1, Origin.device, Origin.guest),
        "device": device,
        "bar": np.where(on_bar, 0, -1),
        "size": sizes[step],
        "address": address.astype(np.uint64),
        "value": value.astype(np.uint64),
        "cause": np.where(caused[step] == 1, request * len(_STEPS), -1),
    }
    names = ("nic0", "nic1")
    devices = [
        DeviceInfo(name, 0x1234, 0xBE4F, f"00:0{3 + n}.0", bars={0: BarInfo(4096, 0xFEB0_0000 + 4096 * n, REGISTERS)})
        for n, name in enumerate(names)
    ]
    return Trace.from_columns(columns, Tables(devices))
