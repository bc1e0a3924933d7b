"""The C edu and the Python edu are the same device: the same driver leaves the same rows.

Compared are all columns but ``t_ns`` and ``dur_ns``, in order: kind, origin, device, bar, size, address, value, status,
cause, payload and pc, and what decoding adds (name, register, fields, source); then the payload bytes, config space,
and the registers. The order is definite by design in both: whatever happens outside of a callback happens before the
interrupt that the driver waits for.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hdvlab import Lab, commands
from hdvlab._core.where import compile_flags, link_flags
from hdvlab.device import CompiledDevice
from hdvlab.device.compiler import find_compiler
from hdvlab.devices import edu
from hdvlab.devices.edu import Edu, EduDriver
from hdvlab.errors import HResult
from hdvlab.guest import Guest

from ...labs import PATIENCE

TIMES = ["t_ns", "dur_ns"]


@pytest.fixture(scope="module")
def c_edu() -> CompiledDevice:
    """Compiled once; each lab loads the file again."""
    from hdvlab.commands.c_device import open_device

    return open_device(edu.C_SOURCE)


@dataclass
class Left:
    """What a run left behind."""

    frame: pd.DataFrame
    payloads: list[bytes]
    config: bytes
    registers: pd.DataFrame
    value: Any


def run(device: Any, driver: Callable[[Guest], Any], *configuration: str) -> Left:
    """Plug in, drive, look, power off, in a lab of its own."""
    with Lab() as lab:
        one = lab.plug(device, configuration=["dma_delay_ms=1", *configuration])
        value = lab.run(driver).value
        config, registers = lab.machine.config_peek(one.slot), one.registers()
        lab.stop()
        assert lab.faults == []
        frame = lab.trace.frame(decode=True)
        payloads = [lab.trace.payload(int(row)) for row in frame.index[frame["payload"] >= 0]]
        return Left(frame.drop(columns=TIMES).copy(), payloads, config, registers, value)


def both(c_edu: CompiledDevice, driver: Callable[[Guest], Any], *configuration: str) -> Left:
    """Run it on both, compare, hand one of them on."""
    python = run(Edu, driver, *configuration)
    c = run(CompiledDevice(c_edu.path), driver, *configuration)
    pd.testing.assert_frame_equal(python.frame, c.frame)
    assert python.payloads == c.payloads
    assert python.config == c.config
    pd.testing.assert_frame_equal(python.registers, c.registers)
    assert python.value == c.value
    return c


def test_the_shipped_driver_leaves_equal_traces(c_edu: CompiledDevice) -> None:
    left = both(c_edu, edu.driver)
    kinds = left.frame["kind"].value_counts()
    assert (kinds["dma_read"], kinds["dma_write"], kinds["interrupt"], kinds["teardown"]) == (1, 1, 4, 1)
    assert left.payloads == [bytes(range(256))] * 2
    interrupts = left.frame[left.frame["kind"] == "interrupt"]
    assert list(left.frame.loc[interrupts["cause"], "register"]) == [
        "FACTORIAL", "IRQ_RAISE", "DMA_COMMAND", "DMA_COMMAND",
    ]  # fmt: skip
    assert set(left.frame["status"]) == {0}


def test_accesses_of_every_size_to_every_place_are_answered_alike(c_edu: CompiledDevice) -> None:
    def driver(guest: Guest) -> list[int]:
        bar0 = guest["edu"].bar0
        answers = []
        for offset in range(0, 0xA8, 4):
            for size in (1, 2, 4, 8):
                if offset % size == 0:
                    answers.append(bar0.read(offset, size))
                    if offset not in (0x08, 0x98):  # these two set something going
                        bar0.write(offset, 0xA5A5A5A5A5A5A5A5 & (1 << 8 * size) - 1, size)
                        answers.append(bar0.read(offset, size))
        return answers

    def msi(guest: Guest) -> list[int]:  # else Python's notes an interrupt that has no message
        EduDriver(guest)
        return driver(guest)

    left = both(c_edu, msi)
    assert {HResult.symbol_of(status) for status in left.frame["status"]} == {
        "S_OK", "E_INVALIDARG", "ERROR_NOT_FOUND", "E_ACCESSDENIED",
    }  # fmt: skip


def test_a_busy_device_takes_nothing_new(c_edu: CompiledDevice) -> None:
    def driver(guest: Guest) -> list[int]:
        one = EduDriver(guest)
        one.bar0.DMA_COUNT.write(8)
        one.bar0.DMA_DESTINATION.write(0x40000)
        one.bar0.DMA_SOURCE.write(0x10_0000)
        one.bar0.DMA_COMMAND.write(5)
        for register in (one.bar0.DMA_COUNT, one.bar0.DMA_SOURCE, one.bar0.DMA_DESTINATION, one.bar0.DMA_COMMAND):
            register.write(0x7)
        guest.wait_interrupt(one.function, PATIENCE)
        return [register.read() for register in one.bar0 if register.register.name not in ("IRQ_RAISE",)]

    both(c_edu, driver, "dma_delay_ms=200")


def test_masked_transfers_and_factorials_are_the_same(c_edu: CompiledDevice) -> None:
    def driver(guest: Guest) -> list[int]:
        one = EduDriver(guest)
        for from_device in (False, True):
            here = 0xFFFF_FFFF_0010_2008
            one.dma(*((0x40FF8, here) if from_device else (here, 0x40FF8)), 8, from_device)
        return [one.factorial(n) for n in (0, 1, 12, 13, 33, 34, 0xFFFF_FFFF)]

    left = both(c_edu, driver, "dma_mask=0x1fffff")
    assert left.value == [1, 1, 479001600, 1932053504, 2147483648, 0, 0]


@pytest.mark.fault(21)
@pytest.mark.parametrize("from_device", [False, True])
@pytest.mark.parametrize(
    ("place", "count"),
    [(0x3FFFF, 4), (0x40000, 4097), (0x41000, 1), (0, 4), (0x40000, (1 << 64) - 1), ((1 << 64) - 1, 2)],
)
def test_a_range_outside_the_buffer_moves_nothing_and_the_engine_comes_to_rest(
    lab: Lab, c_edu: CompiledDevice, from_device: bool, place: int, count: int
) -> None:
    """Python's edu leaves a row for the exception as well, which C has no way to."""

    def driver(guest: Guest) -> int:
        one = EduDriver(guest)
        source, destination = (place, 0x10_0000) if from_device else (0x10_0000, place)
        one.dma(source, destination, count, from_device)
        return one.bar0.DMA_COMMAND.read()

    lab.plug(CompiledDevice(c_edu.path), configuration=["dma_delay_ms=0"])
    assert lab.run(driver).value & 1 == 0
    assert not lab.trace.frame()["kind"].isin(["dma_read", "dma_write"]).any()


def test_both_describe_the_same_registers(c_edu: CompiledDevice) -> None:
    """But for what only a register file needs to serve them: reset values, access sizes, what narrow accesses do."""
    served = ("reset", "access_sizes", "narrow")

    def told(registers: Any) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in one.to_dict().items() if key not in served} for one in registers.registers
        ]

    assert told(c_edu.description.bars[0].map) == told(Edu.description.bars[0].map)
    assert c_edu.description.bars[0].bar_size == Edu.description.bars[0].bar_size
    assert (c_edu.vendor_id, c_edu.device_id, c_edu.type_name) == (Edu.vendor_id, Edu.device_id, "edu")


def test_settings_that_are_none_are_refused_as_pythons_are(lab: Lab, c_edu: CompiledDevice) -> None:
    for setting in ("speed=3", "dma_mask=many", "dma_delay_ms=", "dma_mask"):
        for device in (Edu(), CompiledDevice(c_edu.path)):
            with pytest.raises(Exception, match="E_INVALIDARG|no setting|no number"):
                lab.plug(device, configuration=[setting])


def test_it_is_plugged_in_by_name() -> None:
    with Lab() as lab:
        plugged = commands.plug(lab, "edu.c", config=["dma_delay_ms=0"])
        assert repr(plugged) == "<edu at 00:01.0, 1234:11e8, on>"
        assert commands.run(lab, "edu").value.factorial == 3628800


def test_power_off_in_the_middle_of_a_transfer_waits_for_nothing(lab: Lab, c_edu: CompiledDevice) -> None:
    bar0 = lab.plug(CompiledDevice(c_edu.path), configuration=["dma_delay_ms=600000"]).bar0
    bar0.DMA_COMMAND.write(5)
    lab.stop()
    lab.start()
    assert lab["edu"].bar0.DMA_COMMAND.read() == 0


def test_the_same_source_is_a_device_of_a_program_without_python(tmp_path: Path) -> None:
    program = tmp_path / "alone"
    sources = [Path(__file__).with_name("alone.c"), edu.C_SOURCE]
    flags = ["-Wall", "-Werror", "-std=gnu11", *compile_flags()]
    subprocess.run([find_compiler(), *flags, *sources, *link_flags(), "-pthread", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "010000ed abc 3628800\n")
