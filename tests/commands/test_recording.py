from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Lab, commands
from hdvlab.errors import UsageError


def driver(guest: Any, value: int, text: str = "") -> tuple[int, str]:
    guest["blink"].bar0.CTRL.write(value)
    return value, text


def test_a_recording_is_what_happened_meanwhile(lab: Lab) -> None:
    run = commands.record(lab, lambda: commands.poke(lab, ["CTRL=1", "CTRL=2"]), name="two")
    assert repr(run) == "<two: 2 rows (2 mmio_write)>"
    commands.poke(lab, "CTRL=3")
    assert list(run.frame()["value"]) == [1, 2]
    assert lab.runs["two"] is run


def test_a_failing_body_leaves_its_rows(lab: Lab) -> None:
    def body() -> None:
        commands.poke(lab, "CTRL=1")
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        commands.record(lab, body, name="half")
    assert len(lab.runs["half"]) == 1


def test_a_driver_runs_as_the_guest_with_literals_and_variables(lab: Lab) -> None:
    run = commands.run(lab, "driver", ["0x11", "word"], namespace={"driver": driver, "word": "said"}, name="one")
    assert run.value == (0x11, "said")
    assert list(run.frame()["origin"]) == ["guest"]
    assert repr(run).startswith("<one: 1 row (1 mmio_write); returned (17, 'said') after")


def test_a_function_is_run_as_the_guest(lab: Lab) -> None:
    assert commands.guest(lab, lambda guest: driver(guest, 4)).value == (4, "")


def test_the_librarys_driver_is_found_by_its_devices_name(lab: Lab) -> None:
    commands.plug(lab, "edu", config=["dma_delay_ms=1"])
    run = commands.run(lab, "edu")
    assert run.value.factorial == 3628800
    assert len(repr(run)) < 300


def test_a_driver_that_is_not_there_is_answered_with_what_is(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"^no guest program drivr; did you mean driver\?$"):
        commands.run(lab, "drivr", namespace={"driver": driver, "len": len})
    with pytest.raises(UsageError, match=r"^no guest program drivr; def drivr\(guest\): ... makes one$"):
        commands.run(lab, "drivr", namespace={"len": len})
