"""The disk: requests of every type, every status, and what outlives what.

Ref: Virtio 1.2, section 5.2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Lab, commands
from hdvlab.devices import virtio
from hdvlab.devices.virtio import Blk, BlkDriver
from hdvlab.devices.virtio.spec import BlkFeature, BlkStatus, BlkType
from hdvlab.devices.virtio.store import MemoryStore, parse_size
from hdvlab.errors import DeviceError, HdvError, UsageError
from hdvlab.guest import Guest

from .echo import needs_reset

OK, IOERR, UNSUPP = BlkStatus.OK, BlkStatus.IOERR, BlkStatus.UNSUPP
SECTORS = 2048


def run(lab: Lab, function: Callable[[BlkDriver], Any], *settings: str, features: int = 0xFFFFFFFF) -> Any:
    """Plug a disk of 1 MiB in and run a driver on it; what it returned."""
    if "blk" not in lab:
        lab.plug(Blk, configuration=settings or ["size=1M"])
    return lab.run(lambda guest: function(BlkDriver(guest, features=features))).value


def pattern(size: int, seed: int = 1) -> bytes:
    return bytes((n * seed + n // 251) & 0xFF for n in range(size))


# ---- requests -------------------------------------------------------------------------------------------------------


def test_the_shipped_driver_writes_and_reads_back(lab: Lab) -> None:
    commands.plug(lab, "virtio.blk")
    assert lab.run(virtio.driver).value == 64 << 11, "64 MiB when nothing else is said"
    assert lab.faults == []


@pytest.mark.parametrize("features", [0, 0xFFFFFFFF])
@pytest.mark.parametrize(("sector", "size"), [(0, 512), (5, 4096), (0, 1 << 20), (SECTORS - 1, 512)])
def test_what_was_written_is_read(lab: Lab, features: int, sector: int, size: int) -> None:
    data = pattern(size)

    def driver(disk: BlkDriver) -> bytes:
        disk.write(sector, data)
        return disk.read(sector, size)

    assert run(lab, driver, features=features) == data


def test_what_was_not_written_is_zero_and_neighbours_are_left_alone(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> bytes:
        disk.write(1, b"x" * 512)
        return disk.read(0, 3 * 512)

    assert run(lab, driver) == bytes(512) + b"x" * 512 + bytes(512)


def test_64_mib_take_few_copies(lab: Lab) -> None:
    size, piece = 16 << 20, 1 << 20

    def driver(disk: BlkDriver) -> bool:
        buffer = disk.guest.dma_alloc(piece)
        buffer.write(pattern(piece))
        same = True
        for sector in range(0, size // 512, piece // 512):
            assert disk.raw(BlkType.OUT, sector, out=[(buffer.address, piece)])[0] == OK
        for sector in range(0, size // 512, piece // 512):
            assert disk.raw(BlkType.IN, sector, into=[(buffer.address, piece)]) == (OK, piece + 1)
            same &= buffer.read() == pattern(piece)
        return same

    assert run(lab, driver, "size=16M")
    frame = lab.trace.frame()
    assert len(frame[(frame["size"] == piece)]) == 32


@pytest.mark.parametrize(
    ("kind", "sector", "size", "status"),
    [
        (BlkType.OUT, SECTORS, 512, IOERR),
        (BlkType.OUT, SECTORS - 1, 1024, IOERR),
        (BlkType.OUT, (1 << 64) - 1, 512, IOERR),
        (BlkType.OUT, 0, 511, IOERR),
        (BlkType.OUT, 0, 0, OK),
        (BlkType.IN, SECTORS, 512, IOERR),
        (BlkType.IN, 1 << 63, 512, IOERR),
        (BlkType.IN, 0, 100, IOERR),
        (BlkType.IN, 0, 0, OK),
        (BlkType.FLUSH, 0, 0, OK),
        (2, 0, 512, UNSUPP),
        (0xFFFFFFFF, 0, 0, UNSUPP),
    ],
)
def test_every_request_has_its_status(lab: Lab, kind: int, sector: int, size: int, status: int) -> None:
    def driver(disk: BlkDriver) -> tuple[int, int]:
        ram = [(disk.guest.dma_alloc(4096).address, size)] if size else []
        return disk.raw(kind, sector, into=ram) if kind == BlkType.IN else disk.raw(kind, sector, out=ram)

    assert run(lab, driver)[0] == status
    assert lab.faults == []


def test_a_read_that_failed_leaves_the_buffer_and_says_that_nothing_was_written(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> tuple[int, int, bytes]:
        ram = disk.guest.dma_alloc(512)
        ram.write(b"old" * 100)
        return (*disk.raw(BlkType.IN, SECTORS, into=[(ram.address, 512)]), ram.read(0, 3))

    assert run(lab, driver) == (IOERR, 0, b"old")


@pytest.mark.fault(21)
@pytest.mark.parametrize("short", ["header", "status", "nothing"])
def test_a_request_without_header_or_status_needs_a_reset(lab: Lab, short: str) -> None:
    def driver(guest: Guest) -> bytes:
        disk = BlkDriver(guest)
        ram = guest.dma_alloc(64).address
        runs = {"header": ([(ram, 15)], [(ram, 1)]), "status": ([(ram, 16)], []), "nothing": ([], [(ram, 1)])}[short]
        disk.queues[0].add(*runs)
        disk.notify()
        needs_reset(disk)
        return BlkDriver(guest).read(0, 512)

    lab.plug(Blk, configuration=["size=1M"])
    assert lab.run(driver).value == bytes(512)
    assert len(lab.faults) == 1


@pytest.mark.fault(21)
def test_data_outside_of_memory_needs_a_reset_and_the_disk_is_as_it_was(lab: Lab) -> None:
    def driver(guest: Guest) -> bytes:
        disk = BlkDriver(guest)
        disk.write(0, b"k" * 512)
        disk._header.write(struct.pack("<IIQ", BlkType.OUT, 0, 0))
        disk.queues[0].add([(disk._header.address, 16), (1 << 40, 512)], [(disk._status.address, 1)])
        disk.notify()
        needs_reset(disk)
        return BlkDriver(guest).read(0, 512)

    lab.plug(Blk, configuration=["size=1M"])
    assert lab.run(driver).value == b"k" * 512


@pytest.mark.parametrize("kind", [BlkType.DISCARD, BlkType.WRITE_ZEROES])
def test_segments_are_cleared_to_the_byte(lab: Lab, kind: BlkType) -> None:
    def driver(disk: BlkDriver) -> bytes:
        disk.write(0, b"x" * (64 * 512))
        disk.clear(kind, [(1, 2), (5, 40), (63, 0)], flags=kind == BlkType.WRITE_ZEROES)
        return disk.read(0, 64 * 512)

    kept = [not (1 <= sector < 3 or 5 <= sector < 45) for sector in range(64)]
    assert run(lab, driver) == b"".join((b"x" if keep else b"\0") * 512 for keep in kept)


@pytest.mark.parametrize("kind", [BlkType.DISCARD, BlkType.WRITE_ZEROES])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (struct.pack("<QII", 0, 1, 2), UNSUPP),
        (struct.pack("<QII", SECTORS, 1, 0), IOERR),
        (struct.pack("<QII", (1 << 64) - 1, 0xFFFFFFFF, 0), IOERR),
        (struct.pack("<QII", 0, 1, 0) + b"x", IOERR),
        (struct.pack("<QII", 0, 1, 0) + struct.pack("<QII", SECTORS, 1, 0), IOERR),
        (struct.pack("<QII", 0, 1, 0) * 17, IOERR),
        (b"", IOERR),
    ],
)
def test_wrong_segments_are_refused_and_nothing_is_cleared(lab: Lab, kind: BlkType, data: bytes, status: int) -> None:
    def driver(disk: BlkDriver) -> tuple[int, bytes]:
        disk.write(0, b"x" * 512)
        ram = disk.guest.dma_alloc(4096)
        ram.write(data)
        return disk.raw(kind, 0, out=[(ram.address, len(data))] if data else [])[0], disk.read(0, 512)

    assert run(lab, driver) == (status, b"x" * 512)


def test_a_discard_may_not_say_unmap(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> None:
        disk.clear(BlkType.WRITE_ZEROES, [(0, 1)], flags=1)
        with pytest.raises(DeviceError, match="DISCARD of sector 0 ended with UNSUPP"):
            disk.clear(BlkType.DISCARD, [(0, 1)], flags=1)

    run(lab, driver)


def test_several_queues_are_one_disk(lab: Lab) -> None:
    class Wide(Blk):
        queue_count = 3

    def driver(guest: Guest) -> tuple[int, int, list[bytes]]:
        disk = BlkDriver(guest)
        ram = guest.dma_alloc(1024)
        back = []
        for number in range(3):
            ram.write(bytes([number]) * 512)
            assert disk.raw(BlkType.OUT, number, out=[(ram.address, 512)], number=number)[0] == OK
            assert disk.raw(BlkType.IN, number, into=[(ram.address + 512, 512)], number=2 - number)[0] == OK
            back.append(ram.read(512))
        return disk.offered() & BlkFeature.MQ, disk.bar0.QUEUES.read(), back

    lab.plug(Wide, configuration=["size=1M"])
    assert lab.run(driver).value == (BlkFeature.MQ, 3, [bytes([number]) * 512 for number in range(3)])


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("64M", 64 << 20), ("1g", 1 << 30), ("3 KiB", 3072), ("2TB", 2 << 40)]
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("size=many", "'many' is no size"),
        ("size=1000", "size=1000 is 1000 bytes; a disk has a multiple of 512"),
        ("size=0", "a disk has a multiple of 512"),
        ("file=/nowhere/disk.img", "no file /nowhere/disk.img; add size=64M to make one"),
        ("readonly=yes", "write readonly=1, or readonly=0"),
        ("id=a name that is far too long", "20 are the most"),
        ("colour=red", "blk has no setting colour; it has size, file, readonly and id"),
        ("size=9999999T", "take a smaller size"),
    ],
)
def test_a_wrong_setting_says_what_is_right(lab: Lab, setting: str, says: str) -> None:
    with pytest.raises(HdvError) as error:
        lab.plug(Blk, configuration=[setting])
    assert says in f"{error.value} {error.value.__cause__}"


def test_a_big_disk_takes_no_memory_until_it_is_written(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> tuple[int, bytes]:
        disk.write((1 << 31) - 1, b"e" * 512)
        return disk.capacity, disk.read((1 << 31) - 1, 512)

    assert run(lab, driver, "size=1T") == (1 << 31, b"e" * 512)


def test_it_says_its_id(lab: Lab) -> None:
    assert run(lab, lambda disk: disk.identity(), "size=1M", "id=my disk") == "my disk"


def test_a_read_only_disk_offers_it_and_refuses_writes(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> list[int]:
        ram = [(disk.guest.dma_alloc(512).address, 512)]
        kinds = (BlkType.IN, BlkType.OUT, BlkType.DISCARD, BlkType.FLUSH)
        status = [disk.raw(kind, 0, **({"into": ram} if kind == BlkType.IN else {"out": ram}))[0] for kind in kinds]
        offered = disk.offered()
        assert offered & BlkFeature.RO
        assert not offered & (BlkFeature.DISCARD | BlkFeature.WRITE_ZEROES)
        return status

    assert run(lab, driver, "size=1M", "readonly=1") == [OK, IOERR, UNSUPP, OK]


# ---- what outlives what ---------------------------------------------------------------------------------------------


def test_data_outlives_a_reset_and_power_off_and_registers_do_not(lab: Lab) -> None:
    run(lab, lambda disk: disk.write(7, b"d" * 512))
    assert run(lab, lambda disk: disk.read(7, 512)) == b"d" * 512, "a new driver begins with a reset"
    lab.stop()
    lab.start()
    assert lab["blk"].bar0.DEVICE_STATUS.read() == 0
    assert lab["blk"].bar0.CAPACITY.read() == SECTORS
    assert run(lab, lambda disk: disk.read(7, 512)) == b"d" * 512


def test_data_outlives_the_reset_of_the_machine_and_its_thread_is_another(lab: Lab) -> None:
    run(lab, lambda disk: disk.write(7, b"d" * 512))
    blk: Any = lab["blk"].device
    for _ in range(3):
        with blk.lock:
            blk.on_reset()  # as a VM's reset comes
        assert blk.join_work(10.0) == []
        function = lab["blk"].on()
        assert (lab["blk"].bar0.DEVICE_STATUS.read(), lab["blk"].bar0.CAPACITY.read()) == (0, SECTORS)
        assert not function.config_read(0x42, 2) & 0x8000, "MSI-X is off"
        assert run(lab, lambda disk: disk.read(7, 512)) == b"d" * 512
    assert lab.faults == []


def test_a_disk_in_a_file_is_the_files_bytes(lab: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    run(lab, lambda disk: (disk.write(3, b"f" * 512), disk.flush()), f"file={image}", "size=1M")
    assert image.stat().st_size == 1 << 20
    assert image.read_bytes()[3 * 512 : 4 * 512] == b"f" * 512
    lab.unplug("blk")
    assert run(lab, lambda disk: (disk.capacity, disk.read(3, 512)), f"file={image}") == (SECTORS, b"f" * 512)


def test_clearing_a_file_makes_it_zero(lab: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"x" * (4 << 20))
    run(lab, lambda disk: disk.clear(BlkType.WRITE_ZEROES, [(1, 8000)]), f"file={image}")
    assert image.read_bytes() == b"x" * 512 + bytes(8000 * 512) + b"x" * ((4 << 20) - 8001 * 512)


def test_a_file_that_was_cut_short_reads_zeroes_and_nothing_crashes(lab: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"x" * 8192)

    def driver(disk: BlkDriver) -> bytes:
        image.write_bytes(b"x" * 512)
        return disk.read(0, 1024)

    assert run(lab, driver, f"file={image}") == b"x" * 512 + bytes(512)


def test_a_store_that_fails_is_ioerr_for_the_driver_and_a_fault_for_the_person(lab: Lab) -> None:
    class Full(MemoryStore):
        def write(self, offset: int, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    def driver(disk: BlkDriver) -> int:
        blk: Any = lab["blk"].device
        blk.store = Full(1 << 20)
        ram = disk.guest.dma_alloc(512)
        return disk.raw(BlkType.OUT, 0, out=[(ram.address, 512)])[0]

    assert run(lab, driver) == IOERR
    assert [(fault.operation, type(fault.error)) for fault in lab.faults] == [("OUT", OSError)]


def test_memory_is_given_back_by_a_discard() -> None:
    store = MemoryStore(1 << 20)
    store.write(100, b"x" * 20000)
    store.clear(200, 19000)
    assert bytes(store.read(0, 1 << 20)) == bytes(100) + b"x" * 100 + bytes(19000) + b"x" * 900 + bytes(
        (1 << 20) - 20100
    )
    store.close()


# ---- failures that were asked for -----------------------------------------------------------------------------------


def test_a_failure_that_was_asked_for_happens_that_often_and_does_nothing(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> list[Any]:
        blk: Any = lab["blk"].device
        blk.fail("out", "ioerr", count=2)
        blk.fail(BlkType.IN, 7)
        status = []
        for _ in range(3):
            try:
                disk.write(0, b"n" * 512)
                status.append("OK")
            except DeviceError as error:
                status.append(str(error))
                assert disk.capacity == SECTORS
        with pytest.raises(DeviceError, match="IN of sector 0 ended with 7"):
            disk.read(0, 512)
        return [*status, disk.read(0, 512)]

    failed = "OUT of sector 0 ended with IOERR"
    assert run(lab, driver) == [failed, failed, "OK", b"n" * 512]


def test_each_has_a_row_that_says_injected_and_is_caused_by_the_notification(lab: Lab) -> None:
    def driver(disk: BlkDriver) -> None:
        blk: Any = lab["blk"].device
        blk.fail("flush", "unsupp", 2)
        for _ in range(2):
            assert disk.raw(BlkType.FLUSH, 0)[0] == UNSUPP

    run(lab, driver)
    frame = lab.trace.frame(decode=True)
    rows = frame[frame["kind"] == "fault"]
    texts = [(lab.trace.payload(int(row)) or b"").decode() for row in rows.index]
    assert len(texts) == 2
    assert all(re.match("injected: FLUSH of sector 0 ends with status 2", text) for text in texts)
    causes = set(frame.loc[rows["cause"], "register"])
    assert causes <= {"NOTIFY_0", "DEVICE_STATUS"}, "DRIVER_OK makes it look for itself, once, and may find the first"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("eject",), "no type 'eject'; there is in, out, flush"),
        (("in", "bad"), "no status 'bad'; there is ok, ioerr, unsupp"),
        (("in", 256), "does not fit 8 bits"),
        (("in", 1, 0), "1 request or more"),
    ],
)
def test_a_wrong_wish_says_what_is_right(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        Blk().fail(*arguments)
