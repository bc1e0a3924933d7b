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
