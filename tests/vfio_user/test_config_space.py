"""Config space is region 7."""

from __future__ import annotations

import contextlib

import pytest

from hdvlab._core import lib
from hdvlab.trace.schema import Origin

from ..core.scaffold import S_OK, CallbackDevice, Recording
from .client import CONFIG, Client, Refused, caps_of
from .served import IN_64_BITS, PAGE, MessageDevice, Vm


def size_of(client: Client) -> int:
    return caps_of(client.region_info(CONFIG).payload)[0][4]


def test_it_is_read_whole_in_one_message_as_qemu_does(vm: Vm) -> None:
    client = vm.serve(MessageDevice())
    whole = client.read(CONFIG, 0, size_of(client))
    hresult, peeked = vm.config_peek(0)
    assert hresult == S_OK
    assert whole == peeked[: len(whole)]
    assert whole[:4] == bytes.fromhex("3412e811")
    assert whole[0x34] == 0x40
    for size in (1, 2, 4):
        assert b"".join(client.read(CONFIG, at, size) for at in range(0, 256, size)) == whole[:256]


def test_a_read_of_any_offset_and_length_is_the_bytes_that_are_there(client: Client) -> None:
    whole = client.read(CONFIG, 0, 256)
    for offset, size in ((1, 2), (1, 4), (3, 4), (2, 3), (0x2D, 8), (0x3F, 2), (5, 0), (7, 100)):
        assert client.read(CONFIG, offset, size) == whole[offset : offset + size], (offset, size)


def test_the_type_of_a_bar_and_its_region_agree(vm: Vm) -> None:
    # QEMU takes the type from config space and the size from the region.
    client = vm.serve(CallbackDevice((PAGE, 0, IN_64_BITS, 0xFFFFFFFF)))
    assert client.load(CONFIG, 0x10) & 0xF == 0
    assert client.load(CONFIG, 0x18) & 0xF == 0xC
    assert client.load(CONFIG, 0x1C) & 0xF == 0


def test_bars_are_sized_by_writes_as_cloud_hypervisor_does(vm: Vm) -> None:
    client = vm.serve(CallbackDevice((PAGE, 0, IN_64_BITS, 0xFFFFFFFF)))
    for at, mask in ((0x10, PAGE), (0x14, 0), (0x18, IN_64_BITS), (0x1C, 0xFFFFFFFF), (0x20, 0), (0x24, 0)):
        client.store(CONFIG, at, 0xFFFFFFFF)
        assert client.load(CONFIG, at) == mask, hex(at)
        client.store(CONFIG, at, 0)
        assert client.load(CONFIG, at) & ~0xF == 0


def test_there_is_no_rom_however_it_is_asked_for(client: Client) -> None:
    # A non-zero mask would make QEMU create one.
    client.store(CONFIG, 0x30, 0xFFFFF800)
    assert client.load(CONFIG, 0x30) == 0
    client.store(CONFIG, 0x30, 0)
    assert caps_of(client.region_info(6).payload)[0][4] == 0


@pytest.mark.parametrize("size", [1, 2, 4])
def test_writes_of_every_width_reach_the_device_as_dwords(client: Client, device: CallbackDevice, size: int) -> None:
    device.config[0x40:0x44] = bytes.fromhex("a0a1a2a3")
    for at in range(0x40, 0x44, size):
        expected = bytearray(device.config[0x40:0x44])
        expected[at - 0x40 : at - 0x40 + size] = b"\x5a" * size
        device.calls.clear()
        client.write(CONFIG, at, b"\x5a" * size)
        writes = [call for call in device.calls if call[0] == "config_write"]
        assert writes == [("config_write", 0x40, int.from_bytes(expected, "little"))]


def test_a_narrow_write_beside_status_does_not_write_its_bits_back(client: Client, device: CallbackDevice) -> None:
    device.config[4:8] = bytes.fromhex("000000f9")  # error bits that a 1 clears
    client.store(CONFIG, 4, 2, 2)
    assert device.calls[-1] == ("config_write", 4, 2)
    assert client.load(CONFIG, 4, 2) == 2


def test_every_access_is_a_row_with_its_bytes(client: Client, recording: Recording) -> None:
    client.reset()
    since = len(recording)
    client.store(CONFIG, 0x44, 0xBEEF, 2)
    client.load(CONFIG, 0x45, 1)
    rows = recording.rows(lib.HDVLAB_CONFIG_READ, lib.HDVLAB_CONFIG_WRITE, since=since)
    assert [(row["kind"], row["address"] & 0xFFF, row["size"], row["value"], row["origin"]) for row in rows] == [
        (lib.HDVLAB_CONFIG_WRITE, 0x44, 2, 0xBEEF, lib.HDVLAB_GUEST),
        (lib.HDVLAB_CONFIG_READ, 0x45, 1, 0, lib.HDVLAB_GUEST),
    ]


def test_what_comes_before_the_first_reset_is_the_machines(
    vm: Vm, recording: Recording, device: CallbackDevice
) -> None:
    client = vm.serve(device)
    since = len(recording)
    client.load(CONFIG, 0)
    client.enable()
    client.load(0, 0)
    client.reset()
    client.load(CONFIG, 0)
    kinds = lib.HDVLAB_CONFIG_READ, lib.HDVLAB_CONFIG_WRITE, lib.HDVLAB_MMIO_READ
    machine, guest = Origin.machine, lib.HDVLAB_GUEST
    assert [row["origin"] for row in recording.rows(*kinds, since=since)] == [machine, machine, machine, guest]


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("offset", "size"),
    [(4095, 4), (4096, 4), (4096, 1), (1 << 32, 4), ((1 << 64) - 1, 8), ((1 << 64) - 4, 4), (0, 1 << 20), (4094, 4)],
)
def test_an_access_behind_its_end_does_not_wrap_into_its_start(
    client: Client, device: CallbackDevice, offset: int, size: int
) -> None:
    device.config[0x40:0x44] = b"keep"
    asked = {call[1] for call in device.calls}
    try:
        answered = client.read(CONFIG, offset, size)
    except Refused:
        pass
    else:
        behind = max(0, 4096 - offset)
        assert set(answered[behind:]) <= {0, 0xFF}
    if size <= 8:
        with contextlib.suppress(Refused):
            client.write(CONFIG, offset, b"\x77" * size)
    assert {call[1] for call in device.calls} - asked <= {4092} | (set(range(0, 4096, 4)) if size > 8 else set())
    assert ("config_write", 0, 0x77777777) not in device.calls
    assert client.is_alive()


@pytest.mark.fault(19)
def test_a_device_that_fails_a_config_access_does_not_hang_cloud_hypervisor(
    client: Client, device: CallbackDevice
) -> None:
    # It never looks at the error flag: an error reply to a read blocks it for ever.
    from ..core.scaffold import Failure

    def fail(*_: int) -> int:
        raise Failure(0x80004005)

    device.config_read = device.config_write = fail
    assert client.load(CONFIG, 0x40) == 0xFFFFFFFF
    client.store(CONFIG, 0x40, 1)
    assert client.load(CONFIG, 0x00) == 0x11E81234
