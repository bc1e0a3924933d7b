"""Every row of the register table in QEMU's docs/specs/edu.rst, as a driver meets it.

Ref: shared/reference/vfio-user.md, section 7.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdvlab import Lab
from hdvlab.devices.edu import Edu
from hdvlab.errors import AccessError, AccessWarning
from hdvlab.guest import GuestBar
from hdvlab.pci import CapabilityId

ONES = 0xFFFF_FFFF


@pytest.fixture
def bar0(lab: Lab) -> GuestBar:
    return lab.plug(Edu, configuration=["dma_delay_ms=600000"]).bar0


def test_it_is_qemus_device_to_config_space(lab: Lab, bar0: GuestBar) -> None:
    function = bar0.function
    assert function.config_read(0x00) == 0x11E8_1234
    assert function.config_read(0x08) == 0x00FF_0010
    assert function.config_read(0x0E, 1) == 0
    assert (bar0.size, bar0.address < 1 << 32) == (1 << 20, True)
    assert function.config_read(0x10) & 0xF == 0, "32-bit, not prefetchable, memory"
    place = function.find_capability(CapabilityId.MSI)
    control = function.config_read(place + 2, 2)
    assert control & 0x80, "64-bit address"
    assert control & 0x0E == 0, "1 vector"
    assert not control & 0x100, "no per-vector mask"
    assert function.find_capability(CapabilityId.MSI_X) == 0


def test_identification_is_read_only(bar0: GuestBar) -> None:
    assert bar0.IDENTIFICATION.read() == 0x0100_00ED
    with pytest.warns(AccessWarning, match="read-only"):
        bar0.IDENTIFICATION.write(0)
    assert bar0.IDENTIFICATION.read() == 0x0100_00ED


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.integers(0, ONES))
def test_liveness_reads_back_the_bitwise_not(bar0: GuestBar, value: int) -> None:
    bar0.LIVENESS.write(value)
    assert bar0.LIVENESS.read() == value ^ ONES


def test_power_on_values(bar0: GuestBar) -> None:
    names = ["LIVENESS", "FACTORIAL", "STATUS", "IRQ_STATUS", "DMA_SOURCE", "DMA_DESTINATION", "DMA_COUNT",
             "DMA_COMMAND"]  # fmt: skip
    assert [getattr(bar0, name).read() for name in names] == [0] * 8


def test_only_bit_7_of_status_is_writable(bar0: GuestBar) -> None:
    bar0.STATUS.write(ONES)
    assert bar0.STATUS.read() == 0x80
    bar0.STATUS.write(0)
    assert bar0.STATUS.read() == 0


def test_interrupt_status_is_read_only_and_raise_and_acknowledge_read_all_ones(bar0: GuestBar) -> None:
    with pytest.warns(AccessWarning, match="read-only"):
        bar0.IRQ_STATUS.write(5)
    assert bar0.IRQ_STATUS.read() == 0
    assert (bar0.IRQ_RAISE.read(), bar0.IRQ_ACKNOWLEDGE.read()) == (ONES, ONES)


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("offset", "size"),
    [(offset, size) for offset in (0x00, 0x04, 0x08, 0x20, 0x24, 0x60, 0x64) for size in (1, 2)]
    + [(offset, 8) for offset in (0x00, 0x08, 0x20, 0x60)],
)
def test_below_0x80_other_than_4_bytes_reads_ones_and_writes_nothing(
    lab: Lab, bar0: GuestBar, offset: int, size: int
) -> None:
    before = [lab["edu"].peek(0, at, 4) for at in (0, 4, 8, 0x20, 0x24)]
    with pytest.warns(AccessWarning):
        assert bar0.read(offset, size) == (1 << 8 * size) - 1
    with pytest.warns(AccessWarning):
        bar0.write(offset, 5, size)
    assert [lab["edu"].peek(0, at, 4) for at in (0, 4, 8, 0x20, 0x24)] == before
    assert (lab.trace.frame()["status"].tail(2) < 0).all()


@pytest.mark.parametrize("name", ["DMA_SOURCE", "DMA_DESTINATION", "DMA_COUNT"])
def test_dma_registers_take_4_and_8_bytes_and_4_replace_the_whole(bar0: GuestBar, name: str) -> None:
    register = getattr(bar0, name)
    offset = register.register.offset
    register.write(0x1122_3344_5566_7788)
    assert register.read() == 0x1122_3344_5566_7788
    assert bar0.read(offset, 4) == 0x5566_7788
    bar0.write(offset, 0xAABB_CCDD, 4)
    assert register.read() == 0xAABB_CCDD
    for size in (1, 2):
        with pytest.warns(AccessWarning):
            assert bar0.read(offset, size) == (1 << 8 * size) - 1
        with pytest.warns(AccessWarning):
            bar0.write(offset, 0, size)
    with pytest.warns(AccessWarning):
        bar0.write(offset + 4, 0, 4)
    assert register.read() == 0xAABB_CCDD


@pytest.mark.fault(16)
@pytest.mark.parametrize("offset", [0x0C, 0x10, 0x28, 0x68, 0xA0, 0x1000, 0x40000, 0x40FFC, 0xFFFFC])
def test_elsewhere_reads_are_all_ones_and_writes_ignored_also_over_the_buffer(bar0: GuestBar, offset: int) -> None:
    with pytest.warns(AccessWarning, match="no register claims that offset"):
        assert bar0.read(offset) == ONES
    with pytest.warns(AccessWarning):
        bar0.write(offset, 1)


def test_a_dma_command_without_the_start_bit_is_ignored(bar0: GuestBar) -> None:
    bar0.DMA_COMMAND.write(6)
    assert bar0.DMA_COMMAND.read() == 0


def test_while_dma_runs_writes_to_its_registers_are_ignored(bar0: GuestBar) -> None:
    for value, name in enumerate(["DMA_SOURCE", "DMA_DESTINATION", "DMA_COUNT"], 1):
        getattr(bar0, name).write(value)
    bar0.DMA_COMMAND.write(3)
    for name in ("DMA_SOURCE", "DMA_DESTINATION", "DMA_COUNT"):
        getattr(bar0, name).write(99)
    for command in (5, 0, 1, 7):
        bar0.DMA_COMMAND.write(command)
    bar0.write(0x80, 77, 4)
    assert [getattr(bar0, name).read() for name in ("DMA_SOURCE", "DMA_DESTINATION", "DMA_COUNT")] == [1, 2, 3]
    assert bar0.DMA_COMMAND.read() == 3


# ---- configuration --------------------------------------------------------------------------------------------------


def test_the_timer_takes_100_ms_and_the_mask_28_bits_where_nothing_else_is_said(lab: Lab) -> None:
    device: Any = lab.plug(Edu).device
    assert (device.dma_delay, device.dma_mask) == (0.1, 0x0FFF_FFFF)


def test_mask_and_delay_are_configured_by_strings(lab: Lab) -> None:
    device: Any = lab.plug(Edu, configuration=["dma_mask=0xffff", "dma_delay_ms=2.5"]).device
    assert (device.dma_delay, device.dma_mask) == (0.0025, 0xFFFF)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dma_mask=many", "dma_mask=many is no number"),
        ("dma_delay_ms=soon", "dma_delay_ms=soon is no number"),
        ("delay=2", "edu has no setting delay; it has dma_mask and dma_delay_ms"),
    ],
)
def test_configuration_that_cannot_be_used_fails_the_plugging_with_the_reason(lab: Lab, text: str, reason: str) -> None:
    with pytest.raises(AccessError, match=reason):
        lab.plug(Edu, configuration=[text])
    assert "edu" not in lab
    assert [str(fault.error) for fault in lab.faults] == [reason]
