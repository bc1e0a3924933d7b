"""Looking, poking, reading and writing from the notebook."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import AccessError, AccessWarning, HdvError, HResult
from hdvlab.lab import Plugged
from hdvlab.registers import NoSuchRegisterError

from .blink import Blink


@pytest.fixture
def blink(lab: Lab) -> Plugged:
    return lab.plug(Blink)


def test_peek_has_no_side_effect_and_leaves_no_row(lab: Lab, blink: Plugged) -> None:
    rows = len(lab.trace)
    before = [int(value) for _, value in blink.device.bar0]
    assert [blink.peek(0, offset, 4) for offset in (0, 4, 8, 12)] == [0x10, 0x99, 0, 0]
    assert [blink.peek(0, 4, size) for size in (1, 2, 4, 8)] == [0x99, 0x99, 0x99, 0x99]
    assert blink.registers()["register"].tolist() == ["CTRL", "POP", "COUNT", "HANDLED", "CTRL"]
    assert [int(value) for _, value in blink.device.bar0] == before
    assert blink.device.calls == []
    assert len(lab.trace) == rows


def test_peek_where_nothing_is_says_which_nothing(blink: Plugged) -> None:
    for bar, offset, size in ((0, 4096, 1), (0, 4093, 4), (1, 0, 4), (6, 0, 4), (0, -1, 4), (0, 0, 0), (0, 0, 9)):
        with pytest.raises(AccessError, match=rf"peek BAR{bar}\+{offset:#x}/{size}: outside the BAR"):
            blink.peek(bar, offset, size)
    with pytest.raises(HdvError, match=r"peek BAR0\+0x800/4: no register there") as caught:
        blink.peek(0, 0x800, 4)
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND


def test_read_and_write_go_over_the_bus_with_side_effects_and_rows_of_the_user(lab: Lab, blink: Plugged) -> None:
    with lab.record() as run:
        assert blink.bar0.POP.read() == 0x99
        blink.bar0.CTRL.write(0x21)
        assert blink.bar0.HANDLED.read() == 0x42
    frame = run.frame()
    assert list(frame["kind"]) == ["mmio_read", "mmio_write", "mmio_read"]
    assert set(frame["origin"]) == {"user"}
    assert blink.peek(0, 4, 4) == 0
    assert blink.peek(0, 8, 4) == 1


def test_fields_are_read_and_written_by_whole_accesses(lab: Lab, blink: Plugged) -> None:
    with lab.record() as run:
        blink.bar0.CTRL.RATE.write(7)
        assert blink.bar0.CTRL.RATE.read() == 7
        assert blink.bar0.CTRL.modify(EN=1, RATE=2) == 0x21
    assert list(run.frame()["kind"]) == ["mmio_read", "mmio_write", "mmio_read", "mmio_read", "mmio_write"]


def test_poke_reaches_a_device_whose_decode_is_off_with_a_row_of_the_user(lab: Lab, blink: Plugged) -> None:
    blink.on().enable(memory=False)
    with lab.record() as run:
        assert blink.poke(0, 0, 4, 0x21) == 0
    [row] = run.frame().to_dict("records")
    assert (row["kind"], row["origin"], row["bar"], row["address"], row["value"]) == ("mmio_write", "user", 0, 0, 0x21)
    assert blink.peek(0, 0, 4) == 0x21
    assert blink.peek(0, 8, 4) == 1, "its handler ran"


def test_poke_answers_with_what_the_device_made_of_it(lab: Lab, blink: Plugged) -> None:
    assert blink.poke(0, 8, 4, 1) & 0xFFFF_FFFF == HResult.E_ACCESSDENIED
    assert blink.poke(0, 0x800, 4, 1) & 0xFFFF_FFFF == HResult.ERROR_NOT_FOUND
    assert blink.poke(0, 4096, 4, 1) & 0xFFFF_FFFF == HResult.E_INVALIDARG
    assert blink.poke(3, 0, 4, 1) & 0xFFFF_FFFF == HResult.E_INVALIDARG
    assert blink.poke(0, 0, 3, 1) & 0xFFFF_FFFF == HResult.E_INVALIDARG
    assert (lab.trace.frame()["status"].tail(5) < 0).all()


@pytest.mark.parametrize(("size", "value"), [(4, 1 << 32), (1, 256), (8, 1 << 64), (4, -1)])
def test_poke_never_cuts_a_value(lab: Lab, blink: Plugged, size: int, value: int) -> None:
    rows = len(lab.trace)
    with pytest.raises(AccessError, match=f"{value:#x} does not fit {size} bytes"):
        blink.poke(0, 0, size, value)
    assert len(lab.trace) == rows


def test_poking_a_field_keeps_the_others_and_does_not_clear_write_1_bits(blink: Plugged) -> None:
    device: Any = blink.device
    device.bar0.CTRL.DONE = 1
    _, register = blink.find("CTRL")
    blink.poke_field(register, 0, register.fields["RATE"], 5)
    assert (device.bar0.CTRL.RATE, device.bar0.CTRL.DONE, device.bar0.CTRL.EN) == (5, 1, 0)
    blink.poke_field(register, 0, register.fields["DONE"], 1)
    assert (device.bar0.CTRL.RATE, device.bar0.CTRL.DONE) == (5, 0)
    blink.poke_field(register, 0, None, 0x30)
    assert device.bar0.CTRL.RATE == 3


def test_registers_are_found_in_the_first_bar_that_has_them(blink: Plugged) -> None:
    assert blink.find("COUNT")[0] == 0
    assert blink.find("CTRL")[0] == 0


def test_a_register_that_is_not_there_names_the_nearest_even_where_two_bars_share_names(blink: Plugged) -> None:
    with pytest.raises(NoSuchRegisterError, match="blink has no register CNT; did you mean COUNT?"):
        blink.find("CNT")
    with pytest.raises(NoSuchRegisterError, match="blink has no register XYZ; it has CTRL, POP, COUNT, HANDLED"):
        blink.find("XYZ")
    with pytest.raises(NoSuchRegisterError, match="bar0 has no register CTR; did you mean CTRL?"):
        blink.bar0.CTR  # noqa: B018
    with pytest.raises(NoSuchRegisterError, match="CTRL has no field ENABLE; it has EN, RATE, DONE"):
        blink.bar0.CTRL.ENABLE  # noqa: B018
    with pytest.raises(AttributeError, match="bar1; blink has bar0, bar2"):
        blink.bar1  # noqa: B018


def test_a_refused_access_warns_with_the_reason_and_the_hresult(blink: Plugged) -> None:
    with pytest.warns(AccessWarning, match=r"write of blink COUNT had no effect: .* read-only.* \(E_ACCESSDENIED\)"):
        blink.bar0.COUNT.write(1)
    with pytest.warns(AccessWarning, match=r"read of blink bar0\+0x800 answered all ones: .*\(ERROR_NOT_FOUND\)"):
        blink.bar0.read(0x800)


def test_names_are_completed(blink: Plugged) -> None:
    assert {"bar0", "bar2", "peek", "poke"} <= set(dir(blink))
    assert {"CTRL", "POP", "read", "write"} <= set(dir(blink.bar0))
    assert {"EN", "RATE", "read", "write", "modify"} <= set(dir(blink.bar0.CTRL))
    assert [str(register) for register in blink.bar0][:2] == ["blink CTRL", "blink POP"]
    assert repr(blink) == "<blink at 00:01.0, 1234:0040, on>"


def test_a_poke_names_the_persons_line(lab: Lab, blink: Plugged) -> None:
    from hdvlab import commands

    blink.poke(0, 0, 4, 1)  # by hand
    commands.poke(lab, "bar0.CTRL=1")  # by command
    rows = lab.trace.frame(decode=True)
    sources = rows[(rows["origin"] == "user") & (rows["kind"] == "mmio_write")]["source"].tolist()
    assert [source.partition("  # ")[2] for source in sources] == ["by hand", "by command"]


def test_where_a_handler_does_not_return_looking_still_works_and_the_rest_says_why(lab: Lab) -> None:
    import threading

    from hdvlab import Bar, Device, Register, commands
    from hdvlab.errors import StateError

    from ..labs import PATIENCE, wait_for

    inside, go_on = threading.Event(), threading.Event()

    class Stuck(Device):
        vendor_id, device_id = 0x1234, 0x0077

        class bar0(Bar, size=4096):
            CTRL = Register(0x00, reset=5)

        @bar0.CTRL.on_read
        def wait(self) -> int:
            inside.set()
            go_on.wait(PATIENCE)
            return 1

    one = lab.plug(Stuck)
    run = lab.run(lambda guest: guest.functions["stuck"].bar0.CTRL.read(), wait=False)
    wait_for(inside)
    assert "bar0 at 0xe" in repr(commands.status(lab))
    assert one.peek(0, 0, 4) == 5
    for look in (one.lspci, lambda: one.rehearse("CTRL")):
        with pytest.raises(StateError, match="stuck is busy: one of its handlers does not return"):
            look()
    go_on.set()
    assert run.program.result() == 1  # type: ignore[union-attr]
