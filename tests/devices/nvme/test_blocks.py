"""What is written is read back, whatever the sizes, queues and kinds of doorbells."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Lab, commands
from hdvlab.devices import nvme as library
from hdvlab.devices.nvme import AdminOpcode, Nvme, NvmeDriver, NvmOpcode
from hdvlab.devices.nvme.driver import QueuePair, command
from hdvlab.devices.nvme.registers import MSIX_TABLE
from hdvlab.errors import HdvError
from hdvlab.guest import Guest

Drive = Callable[..., Any]


def pattern(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_the_shipped_driver_goes_through_with_a_clean_frame(lab: Lab) -> None:
    commands.plug(lab, "nvme", config=["size=16M"])
    run = lab.run(library.driver)
    assert run.value.model == "hdvlab NVMe controller"
    assert (run.value.blocks, run.value.block) == (32768, 512)
    frame = run.frame(decode=True)
    assert set(frame["status"]) == {0}
    assert frame.attrs["lost"] == frame.attrs["pending"] == 0
    mmio = frame[frame["kind"].isin(["mmio_read", "mmio_write"]) & (frame["address"] < MSIX_TABLE)]
    assert (mmio["register"] != "").all()
    assert not lab.faults


def test_everything_the_worker_does_has_a_cause(lab: Lab, either: Nvme, doorbells: str) -> None:
    frame = lab.run(library.driver).frame(decode=True)
    done = frame[frame["kind"].isin(["dma_read", "dma_write", "interrupt"])]
    causes = frame.loc[done["cause"]]
    assert set(causes["register"]) <= {"SQ0TDBL", "SQ1TDBL", "CC", "CQ1HDBL"}
    io = causes[causes["register"] == "SQ1TDBL"]
    assert set(io["kind"]) == {"doorbell" if doorbells == "shadow" else "mmio_write"}


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 1000, 2048])
def test_any_number_of_blocks(drive: Drive, nvme: Nvme, count: int) -> None:
    data = pattern(512 * count)

    def program(driver: NvmeDriver) -> bool:
        driver.write(5, data)
        return driver.read(5, count) == data and driver.read(4) + driver.read(5 + count) == bytes(1024)

    assert drive(program)


@pytest.mark.parametrize("seed", range(6))
def test_scattered_pages_and_chained_lists(drive: Drive, lab: Lab, nvme: Nvme, seed: int) -> None:
    chance = random.Random(seed)

    def program(driver: NvmeDriver) -> None:
        guest = driver.guest
        offset = 4 * chance.randrange(1024)
        blocks = chance.randrange(1, 2000)
        length = 512 * blocks
        count = -(-(offset + length) // 4096)
        memory = guest.dma_alloc(4096 * (count + 300))
        pages = [memory.address + 4096 * n for n in chance.sample(range(count + 300), count)]
        lists = [guest.dma_alloc(4096).address for _ in range(3)]
        rest, here = pages[1:], lists[0] + 8 * chance.choice([0, 300, 510, 511])
        prp2 = here if len(rest) > 1 else rest[0] if rest else 0
        for following in lists[1:]:
            room = (4096 - here % 4096) // 8
            part = rest if len(rest) <= room else [*rest[: room - 1], following]
            guest.bus.ram_write(here, struct.pack(f"<{len(part)}Q", *part))
            if len(rest) <= room:
                break
            rest, here = rest[room - 1 :], following
        data = pattern(length, seed)
        for n in range(0, length, 4):
            place = offset + n
            guest.bus.ram_write(pages[place // 4096] + place % 4096, data[n : n + 4])
        first = chance.randrange(1000)
        driver.io[0].run(command(NvmOpcode.WRITE, 1, pages[0] + offset, prp2, cdw10=first, cdw12=blocks - 1))
        assert driver.read(first, blocks) == data

    drive(program)


def test_queues_wrap_many_times_and_phases_alternate(drive: Drive, either: Nvme) -> None:
    drive(_wraps, entries=4)


def _wraps(driver: NvmeDriver) -> None:
    pair = driver.io[0]
    for turn in range(20):
        data = pattern(512, turn)
        driver.write(turn, data)
        assert driver.read(turn) == data
        cids = pair.submit(*[command(NvmOpcode.FLUSH, 1)] * 3)  # a ring of 4 holds 3
        assert [done.cid for done in pair.reap(3)] == cids
    assert pair.phase in (0, 1)


def test_a_full_completion_queue_waits_for_the_guest(drive: Drive, either: Nvme) -> None:
    """Two submission queues complete into one queue of 4, which holds 3: none of 6 is lost."""

    def program(driver: NvmeDriver) -> None:
        pair, other = driver.io[0], QueuePair(driver, 2, 4)
        made = command(AdminOpcode.CREATE_IO_SQ, prp1=other.sq.address, cdw10=2 | 3 << 16, cdw11=1 << 16 | 1)
        driver.admin.run(made)
        other.shadow, other.events = pair.shadow, pair.events
        for _ in range(5):
            pair.submit(*[command(NvmOpcode.FLUSH, 1)] * 3)
            other.submit(*[command(NvmOpcode.FLUSH, 1)] * 3)
            driver.identify(1)  # by now the controller has seen both
            assert sorted(done.sq_id for done in pair.reap(6)) == [1, 1, 1, 2, 2, 2]

    drive(program, entries=4)


def test_several_queues_each_with_its_vector(drive: Drive, either: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        for number, pair in enumerate(driver.io):
            data, prp1, prp2 = driver.buffer(4096)
            data.write(pattern(4096, number))
            pair.run(command(NvmOpcode.WRITE, 1, prp1, prp2, cdw10=8 * number, cdw12=7))
        for number in range(4):
            assert driver.read(8 * number, 8) == pattern(4096, number)

    drive(program, queues=4)


def test_zeroes_discards_and_compare(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        data = pattern(64 * 512)
        driver.write(0, data)
        assert driver.compare(0, data)
        assert not driver.compare(1, data)
        driver.write_zeroes(3, 30)
        driver.deallocate(40, 17)
        expected = bytearray(data)
        expected[3 * 512 : 33 * 512] = bytes(30 * 512)
        expected[40 * 512 : 57 * 512] = bytes(17 * 512)
        assert driver.read(0, 64) == bytes(expected)

    drive(program)


def test_memory_that_was_not_written_costs_nothing(lab: Lab) -> None:
    device = Nvme()
    lab.plug(device, configuration=["size=64G"])
    run = lab.run(lambda guest: NvmeDriver(guest).blocks)
    assert run.value == 64 * 2**30 // 512


def test_blocks_stay_over_power_off(lab: Lab, drive: Drive, nvme: Nvme) -> None:
    drive(lambda driver: driver.write(7, pattern(512)))
    lab.stop()
    lab.start()
    assert drive(lambda driver: driver.read(7)) == pattern(512)


@pytest.mark.parametrize("block", [512, 4096])
def test_blocks_in_a_file_are_there_for_the_next_device(tmp_path: Path, block: int) -> None:
    path = tmp_path / "disk.img"
    for turn in range(2):
        with Lab() as lab:
            settings = [f"file={path}", f"block={block}", *(["size=8M"] if turn == 0 else [])]
            lab.plug(Nvme(), configuration=settings)

            def program(guest: Guest, turn: int = turn) -> bytes:
                driver = NvmeDriver(guest)
                assert (driver.block, driver.blocks) == (block, (8 << 20) // block)
                if turn == 0:
                    driver.write(9, pattern(4 * block))
                    driver.flush()
                    driver.write_zeroes(10, 1)
                return driver.read(9, 4)

            expected = pattern(4 * block)[:block] + bytes(block) + pattern(4 * block)[2 * block :]
            assert lab.run(program).value == expected
    assert path.read_bytes()[9 * block : 13 * block] == expected
    assert path.stat().st_size == 8 << 20


def test_a_file_that_somebody_shortens_gives_errors(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    lab.plug(Nvme(), configuration=[f"file={path}", "size=8M"])

    def program(guest: Guest) -> int:
        driver = NvmeDriver(guest)
        path.write_bytes(b"")
        with pytest.raises(library.NvmeError) as caught:
            driver.read(0)
        return caught.value.status

    assert lab.run(program).value == library.Status.UNRECOVERED_READ_ERROR
    assert "somebody shortened it" in str(lab.faults[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["size=1000"], "multiple of 4096"),
        (["size=lots"], "no number of bytes"),
        (["block=1024"], "512 or 4096"),
        (["doorbells=brass"], "shadow or registers"),
        (["colour=red"], "no setting colour"),
    ],
)
def test_settings_that_make_no_sense_are_refused(lab: Lab, settings: list[str], message: str) -> None:
    with pytest.raises(HdvError, match=message):
        lab.plug(Nvme(), configuration=settings)


def test_a_file_that_cannot_be_opened_is_named(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(HdvError, match="needs a file it can write"):
        lab.plug(Nvme(), configuration=[f"file={tmp_path}/none/disk.img", "size=8M"])
    with pytest.raises(HdvError, match="give size="):
        lab.plug(Nvme(), configuration=[f"file={tmp_path}/empty.img"])
