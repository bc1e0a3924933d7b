from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Lab, Register, commands
from hdvlab.commands.rows import SHOWN
from hdvlab.errors import UsageError


class Broken(Device):
    vendor_id, device_id = 0x1234, 0x0003

    class bar0(Bar, size=4096):
        RATIO = Register(0x00, access="ro")

    @bar0.RATIO.on_read
    def ratio(self) -> int:
        return 1 // 0


@pytest.fixture
def busy(lab: Lab) -> Iterator[Lab]:
    """Pokes and accesses of both registers, with a mark between."""
    commands.poke(lab, "CTRL.EN=1")
    commands.mark(lab, "half way")
    commands.write(lab, "CTRL", 4)
    commands.read(lab, "COUNT")
    return lab


def test_rows_are_decoded_and_keep_their_numbers(busy: Lab) -> None:
    frame = commands.trace(busy, last=3)
    assert tuple(frame.columns) == SHOWN
    assert list(frame.index) == [len(busy.trace) - 3 + n for n in range(3)]
    assert list(frame["register"]) == ["", "CTRL", "COUNT"]
    assert frame["value"].dtype == "uint64"
    assert frame["fields"].iloc[1] == "EN=0 RATE=2 MODE=slow"


def test_a_mark_says_its_text(busy: Lab) -> None:
    assert list(commands.trace(busy, kind=["mark"])["fields"]) == ["half way"]


def test_raw_rows_are_the_columns_as_recorded(busy: Lab) -> None:
    assert list(commands.trace(busy, raw=True).columns) == list(busy.trace.frame().columns)


def test_kinds_are_single_ones_or_groups_and_may_be_several(busy: Lab) -> None:
    assert set(commands.trace(busy, kind=["mmio"])["kind"]) == {"mmio_read", "mmio_write"}
    assert set(commands.trace(busy, kind=["mmio_read", "mark"])["kind"]) == {"mmio_read", "mark"}
    assert set(commands.trace(busy, kind=["lifecycle,mark"])["kind"]) >= {"initialize", "start", "mark"}
    with pytest.raises(UsageError, match=r"^no kind mmoi; did you mean mmio\?$"):
        commands.trace(busy, kind=["mmoi"])


def test_since_is_a_mark_or_a_row(busy: Lab) -> None:
    row = commands.trace(busy, kind=["mark"]).index[0]
    assert list(commands.trace(busy, since="half way").index) == [row, row + 1, row + 2]
    assert commands.trace(busy, since=str(row + 1)).index[0] == row + 1
    with pytest.raises(UsageError, match=r"^no mark 'half wy'; did you mean half way\?$"):
        commands.trace(busy, since="half wy")


@pytest.mark.parametrize("register", ["CTRL", "blink.CTRL", "CTRL.EN", "bar0+0x0"])
def test_rows_of_a_register_are_those_that_touch_it(busy: Lab, register: str) -> None:
    assert list(commands.trace(busy, register=register)["value"]) == [1, 4]


def test_a_register_that_the_trace_does_not_know_is_answered_with_the_nearest(busy: Lab) -> None:
    with pytest.raises(UsageError, match=r"^the trace has no register CTLR; did you mean CTRL\?$"):
        commands.trace(busy, register="CTLR")


def test_rows_are_chosen_by_origin_and_device(busy: Lab) -> None:
    assert set(commands.trace(busy, origin="user")["origin"]) == {"user"}
    assert set(commands.trace(busy, device="blink")["name"]) == {"blink"}
    with pytest.raises(UsageError, match=r"^the trace has no device blnk; did you mean blink\?$"):
        commands.trace(busy, device="blnk")
    with pytest.raises(UsageError, match=r"^no origin gest; did you mean guest\?$"):
        commands.trace(busy, origin="gest")


def test_a_device_that_was_plugged_in_again_keeps_its_rows_by_name(busy: Lab) -> None:
    before = len(commands.trace(busy, device="blink"))

    class Blink(Device):
        vendor_id, device_id = 0x1234, 0x0001

        class bar0(Bar, size=4096):
            NEW = Register(0x00)

    commands.plug(busy, Blink)
    assert len(commands.trace(busy, device="blink")) > before
    assert len(commands.trace(busy, register="CTRL")) == 2


def test_failed_rows_are_faults_and_accesses_that_failed(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    commands.plug(lab, Broken)
    with pytest.warns(UserWarning, match="its handler failed"):
        commands.read(lab, "RATIO")
    frame = commands.trace(lab, failed=True)
    assert list(frame["kind"]) == ["mmio_read", "fault"]
    assert frame["fields"].iloc[1].startswith("ZeroDivisionError: ")
    assert "ZeroDivisionError" in commands.faults(lab)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_run_is_named_or_held_by_a_variable(busy: Lab) -> None:
    run = commands.record(busy, lambda: commands.poke(busy, "CTRL=9"), name="nine")
    assert list(commands.trace(busy, run="nine")["value"]) == [9]
    assert list(commands.trace(busy, run="mine", namespace={"mine": run})["value"]) == [9]
    assert len(commands.trace(busy, run="all", namespace={"all": busy.trace})) == len(busy.trace)
    with pytest.raises(UsageError, match=r"^no run nin; did you mean nine\?$"):
        commands.trace(busy, run="nin")


def test_a_mark_needs_a_text(lab: Lab) -> None:
    with pytest.raises(UsageError, match="a mark needs a text"):
        commands.mark(lab, " ")


def test_a_place_in_the_middle_of_a_register_means_accesses_that_begin_there(busy: Lab) -> None:
    with pytest.raises(UsageError, match=r"^bar0\+10: nothing begins at bar0\+0xa; it is inside EVENTS, write that$"):
        commands.trace(busy, register="bar0+10")
    commands.write(busy, "bar0+0x14", 7)
    commands.write(busy, "bar0+0x10", 6)
    assert list(commands.trace(busy, register="bar0+0x14")["value"]) == [7]
    assert list(commands.trace(busy, register="blink.bar0+0x14")["value"]) == [7]
