"""Kernels come and go while a guest works in the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdvlab.host import attach
from hdvlab.host.record import latest
from tests.kernels import Kernel

DEVICE = """
from hdvlab import Bar, Device, Register
class Count(Device):
    vendor_id, device_id = 0x1234, 7
    class bar0(Bar, size=4096):
        NEXT = Register(0x00, 64)
        STOP = Register(0x08)
    @bar0.NEXT.on_write
    def on_next(self, value): pass
def driver(guest):
    import time
    bar, number = guest["count"].bar0, 0
    while number % 50 or not bar.STOP.read():
        bar.NEXT.write(number)
        number += 1
        if number % 50 == 0:
            time.sleep(0.001)
    return number
"""


@pytest.mark.fault(47)
def test_kernels_killed_while_a_guest_program_runs_lose_no_row(places: Path) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext hdvlab\n%hdv host lab --lease 60;")
        kernel.run(DEVICE)
        kernel.run("%hdv plug Count")
        kernel.run("import hdvlab\nrun = hdvlab.current_lab().run(driver, name='whole', wait=False)")
        kernel.kill()
    for _ in range(4):
        with Kernel() as kernel:
            kernel.run("%load_ext hdvlab\nimport hdvlab.host\nlab = hdvlab.host.attach('lab')")
            assert "1234:0007" in kernel.text("lab['count']")
            kernel.send("while True: lab['count'].peek(0, 0, 8); lab.trace.frame()")
            kernel.kill()
    record = latest("lab")
    assert record is not None
    assert record.is_alive
    with attach("lab") as lab:
        (run,) = lab.programs()
        assert run.program is not None
        assert run.program.running  # all the while
        lab["count"].bar0.STOP.write(1)
        writes = run.program.result()
        assert writes > 1000
        assert np.array_equal(_written(lab.trace), np.arange(writes))
        assert len(lab.runs["whole"]) >= writes
        attributes = lab.trace.frame().attrs
        assert (attributes["lost"], attributes["holes"], attributes["pending"]) == (0, 0, 0)
        lab.shut_down()


def _written(trace) -> np.ndarray:  # type: ignore[no-untyped-def,type-arg]
    frame = trace.frame()
    chosen = frame[(frame["kind"] == "mmio_write") & (frame["origin"] == "guest") & (frame["address"] == 0)]
    return chosen["value"].to_numpy()
