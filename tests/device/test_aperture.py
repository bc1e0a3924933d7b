"""Apertures: a window on guest RAM, the pages themselves."""

from __future__ import annotations

import pytest

from hdvlab import Bar, Device, Lab
from hdvlab.errors import AccessError, GuestMemoryError, HdvError, HResult, StateError

BASE = 0x20_0000


class Windowed(Device):
    vendor_id, device_id = 0x1234, 14

    class bar0(Bar):
        pass


@pytest.fixture
def device(lab: Lab) -> Device:
    return lab.plug(Windowed).device


def test_the_pages_are_the_guests_own(lab: Lab, device: Device) -> None:
    with device.aperture(BASE + 3, 10) as aperture:
        lab.machine.ram_write(BASE + 3, b"from guest")
        assert bytes(aperture.raw) == b"from guest"
        aperture.raw[0:4] = b"FROM"
        assert lab.machine.ram_read(BASE + 3, 10) == b"FROM guest"


def test_mapping_and_unmapping_are_rows_and_raw_use_is_not(lab: Lab, device: Device) -> None:
    with lab.record() as run, device.aperture(BASE, 4096, write_protected=True) as aperture:
        assert aperture.raw[0] == 0
    frame = run.frame()
    assert list(frame["kind"]) == ["aperture_map", "aperture_unmap"]
    assert set(frame["address"]) == {BASE}
    assert set(frame["size"]) == {4096}
    assert list(frame["value"]) == [1, 0], "write-protected"


def test_read_and_write_are_transfers_with_rows(lab: Lab, device: Device) -> None:
    with device.aperture(BASE, 64) as aperture, lab.record() as run:
        aperture.write(8, b"0123456789")
        assert aperture.read(9, 3) == b"123"
    frame = run.frame()
    assert list(frame["kind"]) == ["dma_write", "dma_read"]
    assert list(frame["address"]) == [BASE + 8, BASE + 9]
    assert lab.trace.payload(int(frame.index[0])) == b"0123456789"


def test_outside_the_window_is_refused_with_both_numbers(device: Device) -> None:
    with device.aperture(BASE, 64) as aperture:
        for offset, size in ((-1, 1), (60, 5), (64, 1), (0, 65), (0, -1)):
            with pytest.raises(AccessError, match=r"is outside the aperture of 0x40 bytes"):
                aperture.read(offset, size)
        with pytest.raises(AccessError, match="0x3f"):
            aperture.write(63, memoryview(b"\1\0\2\0").cast("H"))


def test_a_write_protected_window_refuses_writes(lab: Lab, device: Device) -> None:
    with device.aperture(BASE, 64, write_protected=True) as aperture:
        with pytest.raises(GuestMemoryError, match="write-protected") as caught:
            aperture.write(0, b"1")
        assert caught.value.hresult == HResult.E_ACCESSDENIED
        with pytest.raises(TypeError, match="read-only"):
            aperture.raw[0] = 1
    assert lab.machine.ram_read(BASE, 1) == b"\0"


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("address", "size", "hresult"),
    [(1 << 40, 4, HResult.ERROR_NOACCESS), ((64 << 20) - 2, 4, HResult.ERROR_NOACCESS),
     ((1 << 64) - 2, 4, HResult.ERROR_ARITHMETIC_OVERFLOW), (BASE, 0, HResult.E_INVALIDARG)],
)  # fmt: skip
def test_a_window_on_what_is_not_ram_is_refused(
    lab: Lab, device: Device, address: int, size: int, hresult: HResult
) -> None:
    with pytest.raises(HdvError) as caught:
        device.aperture(address, size)
    assert caught.value.hresult == hresult
    assert lab.trace.frame()["status"].iloc[-1] == hresult.signed


@pytest.mark.fault(29)
def test_a_window_needs_bus_mastering(lab: Lab, device: Device) -> None:
    lab["windowed"].on().enable(bus_master=False)
    with pytest.raises(GuestMemoryError, match="bus mastering"):
        device.aperture(BASE, 16)


def test_too_many_windows_are_refused_with_what_to_do(device: Device) -> None:
    opened = [device.aperture(BASE, 16) for _ in range(1024)]
    with pytest.raises(HdvError, match="too many apertures are open; close some") as caught:
        device.aperture(BASE, 16)
    assert caught.value.hresult == HResult.ERROR_NOT_ENOUGH_QUOTA
    opened.pop().close()
    device.aperture(BASE, 16).close()


@pytest.mark.fault(27)
def test_a_window_of_a_device_that_is_gone_raises_and_never_dangles(lab: Lab, device: Device) -> None:
    aperture = device.aperture(BASE, 4096)
    lab.stop()
    for use in (lambda: aperture.raw, lambda: aperture.read(0, 1), lambda: aperture.write(0, b"1")):
        with pytest.raises(StateError, match="the aperture is closed"):
            use()
    aperture.close()
    assert list(lab.trace.frame()["kind"]).count("aperture_unmap") == 1


# ---- as a buffer ---------------------------------------------------------------------------------------------------


def test_an_aperture_is_a_buffer_each_of_whose_accesses_is_one_row(lab: Lab, device: Device) -> None:
    lab.machine.ram_write(BASE, bytes(range(64)))
    with device.aperture(BASE, 64) as aperture:
        steps = {
            "byte": (lambda: aperture[5], 5, "dma_read", BASE + 5, 1),
            "last": (lambda: aperture[-1], 63, "dma_read", BASE + 63, 1),
            "slice": (lambda: aperture[4:8], b"\4\5\6\7", "dma_read", BASE + 4, 4),
            "from the end": (lambda: aperture[-2:], b"\x3e\x3f", "dma_read", BASE + 62, 2),
            "all": (lambda: bytes(aperture), bytes(range(64)), "dma_read", BASE, 64),
            "iteration": (lambda: sum(aperture), sum(range(64)), "dma_read", BASE, 64),
            "member": (lambda: 63 in aperture, True, "dma_read", BASE, 64),
            "u16": (lambda: aperture.read_u16(2), 0x0302, "dma_read", BASE + 2, 2),
            "u32": (lambda: aperture.read_u32(4), 0x0706_0504, "dma_read", BASE + 4, 4),
            "u64": (lambda: aperture.read_u64(8), 0x0F0E_0D0C_0B0A_0908, "dma_read", BASE + 8, 8),
            "u8": (lambda: aperture.read_u8(9), 9, "dma_read", BASE + 9, 1),
            "store": (lambda: aperture.__setitem__(4, 0xAA), None, "dma_write", BASE + 4, 1),
            "store slice": (lambda: aperture.__setitem__(slice(8, 10), b"HI"), None, "dma_write", BASE + 8, 2),
            "store u8": (lambda: aperture.write_u8(0, 0xFF), None, "dma_write", BASE, 1),
            "store u16": (lambda: aperture.write_u16(16, 0x0102), None, "dma_write", BASE + 16, 2),
            "store u32": (lambda: aperture.write_u32(20, 0x0102_0304), None, "dma_write", BASE + 20, 4),
            "store u64": (lambda: aperture.write_u64(24, 1), None, "dma_write", BASE + 24, 8),
        }
        assert len(aperture) == 64
        for what, (access, answer, kind, address, size) in steps.items():
            with lab.record() as run:
                assert access() == answer, what
            rows = run.frame()[["kind", "address", "size"]].values.tolist()
            assert rows == [[kind, address, size]], what
    assert lab.machine.ram_read(BASE + 4, 8) == b"\xaa\5\6\7HI\x0a\x0b"
    assert lab.machine.ram_read(BASE + 20, 4) == b"\4\3\2\1"


def test_bytes_outside_an_aperture_are_refused_also_in_slices(lab: Lab, device: Device) -> None:
    with device.aperture(BASE, 64) as aperture, lab.record() as run:
        for key in (64, -65, slice(0, 65), slice(64, 65), slice(-65, None), slice(8, 4)):
            with pytest.raises(AccessError, match="is outside the aperture of 0x40 bytes"):
                aperture[key]
        with pytest.raises(AccessError, match="is outside the aperture"):
            aperture[64] = 1
        with pytest.raises(AccessError, match="0x3 bytes|3 bytes do not fit"):
            aperture[0:4] = b"abc"
        for value in (256, -1):
            with pytest.raises(AccessError, match="does not fit 1 byte"):
                aperture[0] = value
        with pytest.raises(AccessError, match="does not fit 4 bytes"):
            aperture.write_u32(0, 1 << 32)
        with pytest.raises(AccessError, match="without a step of 2"):
            aperture[::2]
        with pytest.raises(TypeError):
            aperture[0:4] = 7  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            memoryview(aperture)  # type: ignore[arg-type] # what it showed would be no rows
    assert len(run) == 0, "nothing was accessed"


@pytest.mark.fault(25)
def test_an_aperture_is_volatile_and_a_copy_of_it_is_not(lab: Lab, device: Device) -> None:
    with device.aperture(BASE, 16) as aperture:
        lab.machine.ram_write(BASE, b"length=4")
        copied, raw = aperture[0:8], aperture.raw
        lab.machine.ram_write(BASE, b"length=9")
        assert copied == b"length=4"
        assert bytes(raw[0:8]) == aperture[0:8] == b"length=9"


@pytest.mark.fault(27)
@pytest.mark.parametrize("end", ["close", "stop", "unplug"])
def test_a_raw_view_past_its_apertures_end_reads_zeros_and_harms_nobody(lab: Lab, device: Device, end: str) -> None:
    aperture = device.aperture(BASE, 4096)
    aperture[0:2] = b"\xff\xff"
    raw = aperture.raw
    {"close": aperture.close, "stop": lab.stop, "unplug": lambda: lab.unplug("windowed")}[end]()
    assert bytes(raw) == bytes(4096)
    raw[0] = 7
    if end != "stop":
        assert lab.machine.ram_read(BASE, 1) == b"\xff", "the guest's memory is out of its reach"
