"""The shipped driver's run: its result, and a frame in which everything is accounted for."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hdvlab import Lab
from hdvlab.devices import edu
from hdvlab.errors import DeviceError
from hdvlab.lab import Run
from hdvlab.trace.schema import COLUMNS

DATA = bytes(range(256)) * 3


@pytest.fixture
def run(lab: Lab) -> Run:
    lab.plug(edu.Edu, configuration=["dma_delay_ms=1"])
    return lab.run(edu.driver, 12, DATA)


@pytest.fixture
def frame(run: Run) -> pd.DataFrame:
    return run.frame(decode=True)


def test_it_finds_a_device_that_behaves(run: Run) -> None:
    assert run.value == edu.EduResult((1, 0), math.factorial(12), DATA)


def test_every_access_is_a_row_and_none_is_lost_pending_or_failed(run: Run, frame: pd.DataFrame) -> None:
    assert list(run.frame().columns) == list(COLUMNS)
    assert frame.attrs["lost"] == frame.attrs["pending"] == 0
    assert set(frame["status"]) == {0}
    kinds = frame["kind"].value_counts()
    assert (kinds["dma_read"], kinds["dma_write"], kinds["interrupt"]) == (1, 1, 4)
    assert list(frame.index) == list(range(frame.index[0], frame.index[0] + len(frame)))
    mmio = frame[frame["kind"].isin(["mmio_read", "mmio_write"])]
    assert set(mmio["origin"]) == {"guest"}
    assert (mmio["register"] != "").all()
    assert (mmio["bar"] == 0).all()
    assert (frame["name"] == "edu").all()
    guest = frame[frame["origin"] == "guest"]
    assert (guest["pc"] > 0).all()
    assert guest["source"].str.len().gt(0).all()
    assert (frame[frame["origin"] == "device"]["pc"] == 0).all()


def test_interrupts_point_at_the_write_that_led_to_them(frame: pd.DataFrame) -> None:
    interrupts = frame[frame["kind"] == "interrupt"]
    causes = frame.loc[interrupts["cause"]]
    assert list(causes["register"]) == ["FACTORIAL", "IRQ_RAISE", "DMA_COMMAND", "DMA_COMMAND"]
    assert set(causes["kind"]) == {"mmio_write"}
    assert (interrupts.index.to_numpy() > causes.index.to_numpy()).all()
    assert set(interrupts["address"]) == {0xFEE0_0000}


def test_payloads_are_the_buffers(lab: Lab, frame: pd.DataFrame) -> None:
    for kind in ("dma_read", "dma_write"):
        [row] = frame.index[frame["kind"] == kind]
        assert lab.trace.payload(row) == DATA
        assert frame.loc[frame.loc[row, "cause"], "register"] == "DMA_COMMAND"


def test_the_driver_enables_msi_as_a_real_one_does(frame: pd.DataFrame) -> None:
    config = frame[frame["kind"] == "config_write"]
    assert list(zip(config["address"], config["value"], strict=True)) == [
        (0x44, 0xFEE0_0000), (0x48, 0), (0x4C, 0x20), (0x42, 0x81),
    ]  # fmt: skip


def test_the_fields_of_registers_are_told(frame: pd.DataFrame) -> None:
    commands = frame[(frame["register"] == "DMA_COMMAND") & (frame["kind"] == "mmio_write")]
    ways = ["RAM to device", "device to RAM"]
    assert list(commands["fields"]) == [f"RUN=1 FROM_DEVICE={way} IRQ=1" for way in ways]


def test_a_device_that_is_not_edu_is_found_out(lab: Lab) -> None:
    class Dead(edu.Edu):
        def liveness_written(self, value: int) -> None:
            pass

    lab.plug(Dead)
    with pytest.raises(DeviceError, match="liveness of 0x12345678 is 0x12345678"):
        lab.run(edu.driver)
