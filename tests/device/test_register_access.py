"""What a driver's reads and writes do to registers of each access mode, all the way through the machine."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Bar, Device, Field, Lab, Register
from hdvlab.errors import AccessWarning, HResult
from hdvlab.guest import GuestBar


class Modes(Device):
    vendor_id, device_id = 0x1234, 2

    class bar0(Bar):
        RW = Register(0x00, reset=0x1234_5678)
        RO = Register(0x04, access="ro", reset=0xCAFE_BABE)
        WO = Register(0x08, access="wo")
        W1C = Register(0x0C, access="w1c", reset=0xFF)
        W1S = Register(0x10, access="w1s")
        RC = Register(0x14, access="rc", reset=0xA5)
        MIXED = Register(
            0x18,
            reset=0xF000_00FF,
            fields={
                "DATA": (0, 4),
                "DONE": Field(4, 4, access="w1c"),
                "KEY": Field(8, 4, access="wo"),
                "SET": Field(12, 4, access="w1s"),
                "ID": Field(16, 4, access="ro"),
                "ONCE": Field(20, 4, access="rc"),
            },
        )
        BYTE = Register(0x20, 8, reset=0xEE)
        WORD = Register(0x22, 16)
        QWORD = Register(0x28, 64)


@pytest.fixture
def bar0(lab: Lab) -> GuestBar:
    return lab.plug(Modes).bar0


def stored(lab: Lab, name: str) -> int:
    """The stored value, seen from the device."""
    return int(getattr(lab["modes"].device.bar0, name))


def last_status(lab: Lab) -> int:
    return int(lab.trace.frame()["status"].iloc[-1]) & 0xFFFF_FFFF


def test_rw_stores_and_gives_back(bar0: GuestBar) -> None:
    assert bar0.RW.read() == 0x1234_5678
    bar0.RW.write(0xFFFF_FFFF)
    assert bar0.RW.read() == 0xFFFF_FFFF


def test_ro_drops_writes_and_the_row_says_so(bar0: GuestBar, lab: Lab) -> None:
    with pytest.warns(AccessWarning, match=r"write of modes RO had no effect: the register is read-only"):
        bar0.RO.write(0)
    assert last_status(lab) == HResult.E_ACCESSDENIED
    assert bar0.RO.read() == 0xCAFE_BABE


def test_wo_stores_and_reads_all_ones(bar0: GuestBar, lab: Lab) -> None:
    bar0.WO.write(0x77)
    assert bar0.WO.read() == 0xFFFF_FFFF
    assert last_status(lab) == HResult.S_OK
    assert stored(lab, "WO") == 0x77


def test_w1c_clears_where_1_is_written(bar0: GuestBar) -> None:
    bar0.W1C.write(0x0F)
    assert bar0.W1C.read() == 0xF0
    bar0.W1C.write(0)
    assert bar0.W1C.read() == 0xF0


def test_w1s_sets_where_1_is_written(bar0: GuestBar) -> None:
    bar0.W1S.write(0x0F)
    bar0.W1S.write(0xF0)
    bar0.W1S.write(0)
    assert bar0.W1S.read() == 0xFF


def test_rc_is_cleared_by_reading_and_drops_writes(bar0: GuestBar, lab: Lab) -> None:
    with pytest.warns(AccessWarning, match="read-only"):
        bar0.RC.write(0)
    assert bar0.RC.read() == 0xA5
    assert bar0.RC.read() == 0
    assert stored(lab, "RC") == 0


def test_reading_a_byte_of_rc_clears_that_byte_alone(bar0: GuestBar, lab: Lab) -> None:
    lab["modes"].device.bar0.RC = 0x0403_0201
    assert bar0.read(0x15, 1) == 2
    assert bar0.RC.read() == 0x0403_0001


def test_fields_have_their_own_access_and_reserved_bits_stay(bar0: GuestBar) -> None:
    assert bar0.MIXED.read() == 0xF000_0FFF, "KEY reads as ones, reserved bits as they were reset"
    bar0.MIXED.write(0xFFFF_FFFF)
    assert bar0.MIXED.read() == 0xF000_FF0F, "DATA kept, DONE cleared, SET set, ID and reserved bits as before"
    bar0.MIXED.write(0)
    assert bar0.MIXED.read() == 0xF000_FF00


def test_a_rc_field_is_cleared_alone(bar0: GuestBar, lab: Lab) -> None:
    lab["modes"].device.bar0.MIXED.ONCE = 9
    assert bar0.MIXED.ONCE.read() == 9
    assert bar0.MIXED.ONCE.read() == 0
    assert bar0.MIXED.DATA.read() == 0xF


@pytest.mark.parametrize(("name", "value"), [("BYTE", 0xFF), ("WORD", 0xABCD), ("QWORD", 0x0123_4567_89AB_CDEF)])
def test_registers_of_each_width_hold_their_whole_value(bar0: GuestBar, name: str, value: int) -> None:
    register = getattr(bar0, name)
    register.write(value)
    assert register.read() == value


def test_a_register_reads_its_reset_value_after_a_power_cycle(bar0: GuestBar, lab: Lab) -> None:
    bar0.RW.write(0)
    bar0.BYTE.write(0)
    lab.stop()
    lab.start()
    again = lab["modes"].bar0
    assert (again.RW.read(), again.BYTE.read()) == (0x1234_5678, 0xEE)


def test_a_plain_register_is_one_row_with_its_value_and_no_warning(bar0: GuestBar, lab: Lab) -> None:
    with lab.record() as run:
        bar0.RW.write(0x42)
        bar0.RW.read()
    frame = run.frame(decode=True)
    assert list(frame["kind"]) == ["mmio_write", "mmio_read"]
    assert list(frame["value"]) == [0x42, 0x42]
    assert list(frame["register"]) == ["RW", "RW"]
    assert set(frame["status"]) == {0}
    assert set(frame["bar"]) == {0}
    assert set(frame["origin"]) == {"user"}


@pytest.mark.fault(16)
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_an_offset_without_a_register_reads_all_ones_of_its_width(bar0: GuestBar, lab: Lab, size: int) -> None:
    with pytest.warns(AccessWarning, match="no register claims that offset"):
        assert bar0.read(0x800, size) == (1 << 8 * size) - 1
    assert last_status(lab) == HResult.ERROR_NOT_FOUND
    with pytest.warns(AccessWarning, match="had no effect"):
        bar0.write(0x800, 0, size)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.fault(14)
def test_sizes_other_than_1_2_4_8_and_places_outside_are_our_own_mistake(bar0: GuestBar, lab: Lab) -> None:
    rows = len(lab.trace)
    for size in (0, 3, 5, 16, 1 << 20):
        assert f"not {size}" in refused(bar0.read, 0, size)
    for offset, size in ((4096, 1), (4093, 4), (-1, 1), ((1 << 64) - 1, 8)):
        assert "bar0 is 0x1000 bytes long" in refused(bar0.read, offset, size)
        assert "bar0 is 0x1000 bytes long" in refused(bar0.write, offset, 0, size)
    assert "RW is 32 bits wide; 0x100000000 does not fit" in refused(bar0.RW.write, 1 << 32)
    assert "RW is 32 bits wide; -0x1 does not fit" in refused(bar0.RW.write, -1)
    assert "0x100 does not fit 1 bytes" in refused(bar0.write, 0, 256, 1)
    assert len(lab.trace) == rows, "what was never made is no access"
