"""edu driven in a VM and on the embedded machine, by the same steps: the same rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hdvlab.devices.edu
from hdvlab import Lab
from hdvlab.analysis.agreement import compare_accesses
from hdvlab.devices.edu import Edu, driver
from hdvlab.lab.run import Run
from hdvlab.systems.qemu.guest_c import compile_guest_program, run_guest_program
from hdvlab.trace.schema import KIND_GROUPS, Kind, Origin

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm

C_DRIVER = Path(hdvlab.devices.edu.__file__).with_name("driver.c")

#: Writes of a guest address, which is wherever the guest has memory: the first one to DMA_SOURCE (RAM to device), and
#: the second one to DMA_DESTINATION (device to RAM).
ADDRESSES = {(0x80, 1), (0x88, 2)}
_COMPARED = KIND_GROUPS["mmio"] | KIND_GROUPS["dma"] | KIND_GROUPS["interrupt"]


def steps(run: Run) -> list[tuple[Any, ...]]:
    """What a run's rows say apart from times and addresses, one tuple a row.

    Kind, origin, BAR and its offset, width, value or bytes moved, status, and which row caused it. Left out are guest
    addresses: those that DMA goes to and that its two registers are given, and that of the interrupt message, whose
    data is the system's choice too. Rows of other kinds are of other code: config space is set up by Linux and by the
    guest library here, by a Python guest there; lifecycle is the machine's.
    """
    rows = run.frame()
    chosen = np.isin(rows["kind"].cat.codes, [int(kind) for kind in _COMPARED])
    chosen &= rows["origin"].cat.codes.isin([int(Origin.guest), int(Origin.device)]).to_numpy()
    rows = rows[chosen]
    number = {row: place for place, row in enumerate(rows.index)}
    told: list[tuple[Any, ...]] = []
    written: Counter[int] = Counter()
    for row, one in rows.iterrows():
        on_bar = one["kind"] in (Kind.mmio_read.name, Kind.mmio_write.name)
        written[one["address"]] += on_bar
        guest_address = on_bar and (one["address"], written[one["address"]]) in ADDRESSES
        data = run.trace.payload(row) if one["kind"].startswith("dma") else None
        value = one["value"] if on_bar and not guest_address else None
        place = one["address"] if on_bar else None
        cause = number.get(one["cause"], -1)
        told.append((one["kind"], one["origin"], one["bar"], place, one["size"], value, data, one["status"], cause))
    return told


@pytest.mark.usefixtures("installation")
def test_the_same_driver_leaves_the_same_rows_in_a_vm_and_on_the_embedded_machine() -> None:
    with Lab() as embedded:
        embedded.plug(Edu, name="edu", configuration=["dma_delay_ms=1"])
        there = embedded.run(driver, 12)
        expected, accesses = steps(there), there.frame()
        assert there.value.factorial == 479001600
    with Lab(machine="vm") as lab:
        lab.plug(Edu, name="edu", configuration=["dma_delay_ms=1"])
        vm = lab.boot()
        program = compile_guest_program(C_DRIVER.read_text(), "driver")
        with lab.record() as run:
            done = run_guest_program(vm.agent, program, ["msi", "12"], timeout=60)
        assert done.status == 0, done.output
        assert "12! = 479001600 modulo 2^32" in done.output.decode()
        got = steps(run)
        pairs = enumerate(zip(expected, got, strict=False))
        difference = next((n for n, (a, b) in pairs if a != b), min(len(expected), len(got)))
        around = slice(max(0, difference - 3), difference + 4)
        assert got == expected, f"from step {difference} on\nembedded {expected[around]}\nVM {got[around]}"
        agreement = compare_accesses(accesses, run.frame())
        assert set(agreement.differences["what"]) <= {"value"}
        assert len(agreement.differences) <= len(ADDRESSES)
    assert len(expected) > 25
    kinds = {kind for kind, *_ in expected}
    assert kinds == {"mmio_read", "mmio_write", "dma_read", "dma_write", "interrupt"}
