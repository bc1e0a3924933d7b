"""Enable, reset, shutdown, and guests that break the rules."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.devices.nvme import AdminOpcode, Nvme, NvmeDriver, NvmOpcode
from hdvlab.devices.nvme.driver import command
from hdvlab.errors import DeviceError
from hdvlab.guest import Guest

from .conftest import until

Drive = Callable[..., Any]


def test_a_reset_forgets_queues_and_keeps_blocks(drive: Drive, either: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.write(3, b"k" * 512)
        for _ in range(5):
            driver.disable()
            assert driver.bar0.CSTS.read() == 0
            driver.enable()
            driver.create_queues(1, 16)
            assert driver.read(3) == b"k" * 512

    drive(program)


def test_a_reset_in_the_middle_of_commands_ends_them(drive: Drive, either: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        for _ in range(10):
            data, prp1, prp2 = driver.buffer(1 << 20)
            driver.io[0].submit(*[command(NvmOpcode.READ, 1, prp1, prp2, cdw12=2047)] * 20)
            driver.disable()  # ready goes to 0 when the controller touches memory no more
            data.write(b"\xa5" * 4096)
            driver.enable()
            driver.create_queues(1, 64)
            assert driver.read(0) == bytes(512)
            assert driver.read(0, 2048)[:512] == bytes(512)

    drive(program)


def test_power_off_in_the_middle_of_commands(lab: Lab, either: Nvme) -> None:
    submitted = threading.Event()

    def program(guest: Guest) -> None:
        driver = NvmeDriver(guest)
        _, prp1, prp2 = driver.buffer(1 << 20)
        driver.io[0].submit(*[command(NvmOpcode.WRITE, 1, prp1, prp2, cdw12=2047)] * 30)
        submitted.set()
        guest.sleep(10)

    for _ in range(3):
        submitted.clear()
        run = lab.run(program, wait=False)
        assert submitted.wait(10)
        lab.stop()
        del run
        lab.start()
    assert not lab.faults
    assert lab.run(lambda guest: NvmeDriver(guest).blocks).value == 32768


def test_shutdown_is_told_and_the_next_enable_works(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.write(0, b"s" * 512)
        driver.shut_down()
        assert driver.bar0.CSTS.SHST.read() == 2
        driver.disable()
        assert driver.bar0.CSTS.SHST.read() == 0
        driver.enable()
        driver.create_queues(1, 16)
        assert driver.read(0) == b"s" * 512

    drive(program)


@pytest.mark.parametrize(
    ("registers", "control"),
    [
        ({"ASQ": 0}, 0x460001),
        ({"ACQ": 0}, 0x460001),
        ({"AQA": 0}, 0x460001),
        ({}, 0x460081),  # pages of 8 KiB
        ({}, 0x460011),  # another command set
    ],
)
def test_an_enable_that_cannot_be_is_fatal_until_a_reset(
    drive: Drive, nvme: Nvme, registers: dict[str, int], control: int
) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.disable()
        for name, value in registers.items():
            getattr(driver.bar0, name).write(value)
        driver.bar0.CC.write(control)
        until(lambda: driver.bar0.CSTS.CFS.read() == 1)
        with pytest.raises(DeviceError, match="fatal"):
            driver._wait_ready(1)
        driver.bar0.CC.write(0)
        until(lambda: driver.bar0.CSTS.read() == 0)
        driver.enable()
        assert driver.identify(1)[24:30] == b"hdvlab"

    drive(program)


def test_queues_that_are_not_in_memory_are_fatal(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.disable()
        driver.bar0.ASQ.write(1 << 40)
        driver.bar0.CC.write(0x460001)
        driver._wait_ready(1)
        driver.bar0.SQ0TDBL.write(1)
        until(lambda: driver.bar0.CSTS.CFS.read() == 1)
        driver.bar0.CC.write(0)
        until(lambda: driver.bar0.CSTS.read() == 0)
        driver.enable()

    drive(program)


def test_an_io_queue_that_is_not_in_memory_is_fatal_only_until_a_reset(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.admin.run(command(AdminOpcode.CREATE_IO_CQ, prp1=1 << 40, cdw10=2 | 7 << 16, cdw11=1))
        driver.admin.run(command(AdminOpcode.CREATE_IO_SQ, prp1=1 << 40, cdw10=2 | 7 << 16, cdw11=2 << 16 | 1))
        driver.bar0.SQ2TDBL.write(1)
        until(lambda: driver.bar0.CSTS.CFS.read() == 1)
        driver.bar0.CC.write(0)
        until(lambda: driver.bar0.CSTS.read() == 0)
        driver.enable()

    drive(program, shadow=False)


def test_registers_that_do_not_exist_read_zero_and_masks_mirror(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        assert driver.bar0.read(0xE00) == driver.bar0.CMBSZ.read() == driver.bar0.read(0x1FFC) == 0
        driver.bar0.INTMS.write(0b1010)
        driver.bar0.INTMC.write(0b0010)
        assert driver.bar0.INTMS.read() == driver.bar0.INTMC.read() == 0b1000

    drive(program)


@pytest.mark.parametrize("seed", range(4))
def test_no_sequence_of_writes_stops_the_controller_for_good(lab: Lab, either: Nvme, seed: int) -> None:
    chance = random.Random(seed)

    def hostile(guest: Guest) -> None:
        driver = NvmeDriver(guest, entries=8)
        memory = driver.admin.sq.address
        for _ in range(300):
            chosen = chance.randrange(5)
            if chosen == 0:
                driver.bar0.write(0x1000 + 4 * chance.randrange(16), chance.choice([0, 1, 7, 8, 0xFFFF, 0xFFFFFFFF]))
            elif chosen == 1:
                words = chance.randbytes(64)
                driver.admin.sq.write(
                    bytes([chance.choice([*AdminOpcode, 0x55])]) + words[1:64], 64 * chance.randrange(8)
                )
            elif chosen == 2:
                words = bytearray(chance.randbytes(64))
                words[0], words[1] = chance.choice([0, 1, 2, 5, 8, 9]), 0
                words[4:8] = (1).to_bytes(4, "little")
                words[24:32] = words[32:40] = (memory + 4096 * chance.randrange(4)).to_bytes(8, "little")
                words[40:48] = chance.randrange(40000).to_bytes(8, "little")
                driver.io[0].sq.write(bytes(words), 64 * chance.randrange(8))
            elif chosen == 3:
                driver.bar0.write(chance.choice([0x14, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x0C]), chance.getrandbits(32))
            else:
                driver.bar0.read(chance.randrange(0, 0x2000, 4))

    lab.run(hostile)
    assert lab.run(lambda guest: NvmeDriver(guest).blocks).value == 32768
    assert not lab.faults
