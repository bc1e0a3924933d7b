"""How a device's author sees its vectors: enabled, masked, pending, and what a raise leads to when."""

from __future__ import annotations

import pytest

from hdvlab import Bar, Device, Lab, MsiCapability, MsixCapability
from hdvlab.device import InterruptState
from hdvlab.errors import AccessError, GuestMemoryError, HResult
from hdvlab.guest import Function
from hdvlab.trace.schema import Kind

MSI = MSIX = 0x40
ADDRESS = 0xFEE0_0000


class WithMsi(Device):
    vendor_id, device_id = 0x1234, 20
    capabilities = (MsiCapability(vectors=4, per_vector_masking=True),)

    class bar0(Bar):
        pass


class WithMsi32(WithMsi):
    capabilities = (MsiCapability(vectors=4, bits64=False, per_vector_masking=True),)


class WithMsix(WithMsi):
    capabilities = (MsixCapability(vectors=3, table_offset=0x800),)


class Silent(WithMsi):
    capabilities = ()


def _program_msi(function: Function, wide: bool, vectors: int = 4, data: int = 0x40, address: int = ADDRESS) -> int:
    """Enable MSI as a driver does; returns the offset of its mask bits."""
    function.config_write(MSI + 4, address & 0xFFFF_FFFF)
    if wide:
        function.config_write(MSI + 8, address >> 32)
    function.config_write(MSI + (12 if wide else 8), data, 2)
    function.config_write(MSI + 2, 1 | (vectors.bit_length() - 1) << 4, 2)
    return MSI + (16 if wide else 12)


@pytest.mark.fault(31)
@pytest.mark.parametrize("device", [WithMsi, WithMsi32])
def test_msi_vectors_masked_pending_and_sent_when_unmasked(lab: Lab, device: type[Device]) -> None:
    plugged = lab.plug(device, name="one")
    one, function = plugged.device, plugged.on()
    assert one.interrupt_state(3) == InterruptState(3, None)
    assert not one.interrupt_enabled()
    assert not one.interrupt_masked()
    assert not one.interrupt_pending()
    assert one.interrupt(0) is False
    mask = _program_msi(function, wide=device is WithMsi)
    assert one.interrupt_state(2) == InterruptState(2, "msi", 4, False, False, ADDRESS, 0x42)
    assert one.interrupt_enabled(3)
    function.config_write(mask, 0b0100)
    assert one.interrupt(2) is True
    assert one.interrupt_masked(2)
    assert one.interrupt_pending(2)
    assert not one.interrupt_pending(1)
    assert function.config_read(mask + 4) == 0b0100, "the guest sees its pending bit"
    with lab.record() as run:
        function.config_write(mask, 0)
    sent = run.frame()[run.frame()["kind"] == "interrupt"]
    assert sent[["address", "value"]].values.tolist() == [[ADDRESS, 0x42]]
    assert not one.interrupt_pending(2)
    assert function.config_read(mask + 4) == 0
    assert lab.machine.wait_interrupt(0x42, 0) == 0


@pytest.mark.parametrize("device", [WithMsi, WithMsix])
def test_a_vector_whose_reason_is_gone_is_withdrawn_and_never_sent(lab: Lab, device: type[Device]) -> None:
    plugged = lab.plug(device, name="one")
    one, function = plugged.device, plugged.on()
    if device is WithMsi:
        mask = _program_msi(function, wide=True)
        function.config_write(mask, 0b1111)
    else:
        function.config_write(MSIX + 2, 0x8000, 2)
    assert one.interrupt(1) is True
    assert one.interrupt_pending(1)
    assert one.interrupt_withdraw(1) is True
    assert one.interrupt_withdraw(1) is False
    assert not one.interrupt_pending(1)
    with lab.record() as run:
        if device is WithMsi:
            assert function.config_read(mask + 4) == 0
            function.config_write(mask, 0)
        else:
            plugged.bar0.write(0x800 + 16 + 12, 0)
    assert "interrupt" not in list(run.frame()["kind"])


@pytest.mark.fault(31)
def test_msix_vectors_are_masked_one_by_one_and_together(lab: Lab) -> None:
    plugged = lab.plug(WithMsix, name="one")
    one, function, bar0 = plugged.device, plugged.on(), plugged.bar0
    assert one.interrupt_state(2).kind is None
    for at, value in ((0, ADDRESS), (4, 0), (8, 0x1_0051), (12, 0)):
        bar0.write(0x800 + 16 + at, value)
    function.config_write(MSIX + 2, 0x8000, 2)
    assert one.interrupt_state(1) == InterruptState(1, "msix", 3, False, False, ADDRESS, 0x1_0051)
    assert one.interrupt_masked(0), "as after reset"
    assert one.interrupt_enabled(0)
    function.config_write(MSIX + 2, 0xC000, 2)
    assert one.interrupt_masked(1), "the function's mask"
    assert one.interrupt(1) is True
    assert one.interrupt_pending(1)
    function.config_write(MSIX + 2, 0x8000, 2)
    assert lab.machine.wait_interrupt(0x51, 0) == 0
    assert not one.interrupt_pending(1)


@pytest.mark.fault(31)
def test_fewer_vectors_granted_than_there_are(lab: Lab) -> None:
    plugged = lab.plug(WithMsi, name="one")
    _program_msi(plugged.on(), wide=True, vectors=2)
    one = plugged.device
    assert [one.interrupt_enabled(vector) for vector in range(4)] == [True, True, False, False]
    with pytest.raises(AccessError, match="not granted"):
        one.interrupt(2)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("device", "vector"),
    [(WithMsi, 4), (WithMsi, 1 << 31), (WithMsix, 3), (Silent, 0), (WithMsi, -1), (WithMsi, 1 << 32)],
)
def test_a_vector_that_the_device_does_not_have_is_refused(lab: Lab, device: type[Device], vector: int) -> None:
    one = lab.plug(device, name="one").device
    for look in (one.interrupt_state, one.interrupt_enabled, one.interrupt_withdraw):
        with pytest.raises(AccessError) as caught:
            look(vector)
        assert caught.value.hresult == HResult.E_INVALIDARG


@pytest.mark.fault(31)
def test_before_start_and_after_stop_a_raise_is_a_row_and_no_message(lab: Lab) -> None:
    answers: list[bool] = []

    class Early(WithMsi):
        def initialize(self) -> None:
            answers.append(self.interrupt(0))

        def start(self) -> None:
            answers.append(self.interrupt(0))

        def stop(self) -> None:
            answers.append(self.interrupt(0))

    plugged = lab.plug(Early, name="one")
    _program_msi(plugged.on(), wide=True)
    lab.stop()
    assert answers == [False, False, False]
    assert plugged.device.interrupt(0) is False
    rows = lab.trace.frame()
    rows = rows[rows["kind"] == Kind.interrupt.name]
    assert len(rows) == 3
    assert set(rows["status"]) == {HResult.ERROR_INVALID_STATE.signed}
    assert lab.faults == []


@pytest.mark.fault(32)
def test_a_message_outside_the_interrupt_window_is_refused_and_writes_no_memory(lab: Lab) -> None:
    plugged = lab.plug(WithMsi, name="one")
    for address in (0x20_0000, 0xFEF0_0000, 0xFEDF_FFFC, 1 << 40):
        _program_msi(plugged.on(), wide=True, data=0x4141, address=address)
        with pytest.raises(GuestMemoryError) as caught:
            plugged.device.interrupt(0)
        assert caught.value.hresult == HResult.ERROR_NOACCESS
    assert lab.machine.ram_read(0x20_0000, 4) == bytes(4)
