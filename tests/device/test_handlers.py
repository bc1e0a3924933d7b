"""Behaviour behind registers: what handlers are given, when they run, and what the guest gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdvlab import Bar, Device, Field, Lab, Register
from hdvlab.errors import AccessWarning

Calls = list[tuple[Any, ...]]


class Handled(Device):
    vendor_id, device_id = 0x1234, 5

    class bar0(Bar):
        CTRL = Register(0x00, reset=0x1111, fields={"EN": 0, "RATE": (4, 12)})
        BOTH = Register(0x04, reset=0x10)
        STATUS = Register(0x08, access="ro", reset=7)
        STORED = Register(0x0C, reset=0xAB)
        DONE = Register(0x10, access="w1c", reset=0xFFFF)
        WIDE = Register(0x18, 64)
        KEY = Register(0x20, access="wo")
        POP = Register(0x24, access="rc", reset=0x99)

    def initialize(self) -> None:
        self.calls: Calls = []

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.calls.append(("ctrl", value, int(self.bar0.CTRL)))

    @bar0.BOTH.on_write
    def both(self, value: int, old: int) -> None:
        self.calls.append(("both", value, old))

    @bar0.BOTH.on_read
    def both_read(self) -> int:
        return 0x5555

    @bar0.STATUS.on_write
    def status(self, value: int) -> None:
        self.calls.append(("status", value))

    @bar0.STORED.on_read
    def stored(self, value: int) -> int:
        return value + 1

    @bar0.DONE.on_write
    def done(self, value: int, old: int) -> None:
        self.calls.append(("done", value, old, int(self.bar0.DONE)))

    @bar0.WIDE.on_write
    @bar0.KEY.on_write
    def wide_or_key(self, value: int) -> None:
        self.calls.append(("wide or key", value))

    @bar0.on_read
    def rest_read(self, offset: int, size: int) -> int:
        return offset + size

    @bar0.on_write
    def rest_written(self, offset: int, size: int, value: int) -> None:
        self.calls.append(("rest", offset, size, value))


def calls_of(lab: Lab) -> Calls:
    device = lab["handled"].device
    assert isinstance(device, Handled)
    return device.calls


def test_a_write_handler_gets_the_value_written_after_it_was_stored(lab: Lab) -> None:
    lab.plug(Handled).bar0.CTRL.write(0xFFFF_FFF1)
    assert calls_of(lab) == [("ctrl", 0xFFFF_FFF1, 0xFFF1)], "bits 16 up are reserved, so not stored"


def test_a_third_parameter_gets_the_value_stored_before(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    bar0.BOTH.write(0x20)
    bar0.BOTH.write(0x30)
    assert calls_of(lab) == [("both", 0x20, 0x10), ("both", 0x30, 0x20)]


def test_a_read_handler_answers_and_its_answer_is_not_stored(lab: Lab) -> None:
    plugged = lab.plug(Handled)
    assert plugged.bar0.BOTH.read() == 0x5555
    assert plugged.peek(0, 4, 4) == 0x10
    assert plugged.bar0.STORED.read() == 0xAC
    assert plugged.bar0.STORED.read() == 0xAC


def test_a_narrow_read_gets_its_part_of_the_answer(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    assert bar0.read(0x05, 1) == 0x55
    assert bar0.read(0x0C, 1) == 0xAC
    assert bar0.read(0x0E, 2) == 0


def test_a_handler_on_a_read_only_register_sees_writes_that_change_nothing(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    bar0.STATUS.write(0x123)
    assert calls_of(lab) == [("status", 0x123)]
    assert bar0.STATUS.read() == 7


def test_a_narrow_write_gives_the_handler_the_whole_register(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    bar0.write(0x05, 0x77, 1)
    assert calls_of(lab) == [("both", 0x7710, 0x10)]


def test_a_narrow_write_of_write_1_bits_gives_0_for_the_bytes_it_does_not_touch(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    bar0.write(0x11, 0x0F, 1)
    assert calls_of(lab) == [("done", 0x0F00, 0xFFFF, 0xF0FF)]


def test_one_function_may_handle_several_registers(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    bar0.WIDE.write((1 << 64) - 1)
    bar0.KEY.write(3)
    assert calls_of(lab) == [("wide or key", (1 << 64) - 1), ("wide or key", 3)]
    assert bar0.KEY.read() == 0xFFFF_FFFF


def test_a_wide_write_over_two_registers_calls_both_handlers_in_order(lab: Lab) -> None:
    lab.plug(Handled).bar0.write(0, 0x0000_0022_0000_0001, 8)
    assert calls_of(lab) == [("ctrl", 1, 1), ("both", 0x22, 0x10)]


def test_a_bar_handler_gets_what_no_register_claims(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    assert bar0.read(0x100, 2) == 0x102
    assert bar0.read(0x100, 4) == 0x104
    bar0.write(0x104, 0xDEAD, 2)
    assert calls_of(lab) == [("rest", 0x104, 2, 0xDEAD)]
    assert set(lab.trace.frame()["status"].tail(3)) == {0}


def test_rows_of_handled_accesses_carry_the_answer_and_how_long_it_took(lab: Lab) -> None:
    bar0 = lab.plug(Handled).bar0
    with lab.record() as run:
        bar0.BOTH.read()
        bar0.BOTH.write(0x99)
    frame = run.frame()
    assert list(frame["value"]) == [0x5555, 0x99]
    assert (frame["dur_ns"] > 0).all()


def test_peek_runs_no_handler_and_leaves_no_row(lab: Lab) -> None:
    plugged = lab.plug(Handled)
    rows = len(lab.trace)
    assert plugged.peek(0, 0x24, 4) == plugged.peek(0, 0x24, 4) == 0x99, "read-to-clear is not cleared by looking"
    assert plugged.peek(0, 0x20, 4) == 0, "write-only can be looked at"
    assert plugged.peek(0, 0x05, 1) == 0x00
    assert plugged.registers().set_index("register")["value"]["BOTH"] == 0x10
    assert len(lab.trace) == rows
    assert calls_of(lab) == []


class Sealed(Device):
    """Changes its registers, then refuses."""

    vendor_id, device_id = 0x1234, 6

    class bar0(Bar):
        KEEP = Register(0x00, reset=0x42, fields={"A": (0, 8), "B": Field(8, 8, access="w1c")})
        OTHER = Register(0x04)

    @bar0.KEEP.on_write
    def keep(self, value: int) -> None:
        self.bar0.KEEP.A = 0x99
        self.bar0.OTHER = 1
        raise PermissionError("no")


def test_a_write_whose_handler_raises_leaves_its_register_as_it_was(lab: Lab) -> None:
    plugged = lab.plug(Sealed)
    plugged.device.bar0.KEEP = 0xFF42
    with pytest.warns(AccessWarning, match="had no effect: its handler failed"):
        plugged.bar0.KEEP.write(0xFFFF)
    assert plugged.bar0.KEEP.read() == 0xFF42
    assert plugged.bar0.OTHER.read() == 1, "what the handler did elsewhere is its own affair"


def test_a_read_may_be_answered_with_a_number_of_numpy(lab: Lab) -> None:
    class Numpy(Device):
        vendor_id, device_id = 0x1234, 0x00AB

        class bar0(Bar, size=4096):
            SUM = Register(0x00, access="ro")

        @bar0.SUM.on_read
        def total(self) -> object:
            return np.arange(5, dtype=np.uint32).sum()

    assert lab.plug(Numpy).bar0.SUM.read() == 10
    assert lab.faults == []
