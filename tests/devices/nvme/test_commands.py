"""Admin commands, and how commands fail."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab.devices.nvme import AdminOpcode, Nvme, NvmeDriver, NvmeError, NvmOpcode, Status
from hdvlab.devices.nvme.command import Command
from hdvlab.devices.nvme.driver import command
from hdvlab.devices.nvme.spec import NSID_ALL, FeatureId, Identify, LogPage
from hdvlab.errors import UsageError

Drive = Callable[..., Any]


def status_of(driver: NvmeDriver, wrong: Command, io: bool = False) -> int:
    """What a command ends with."""
    pair = driver.io[0] if io else driver.admin
    pair.submit(wrong)
    return pair.reap()[0].code


_CREATE = AdminOpcode.CREATE_IO_CQ, AdminOpcode.CREATE_IO_SQ
_ADMIN = [
    ("an opcode that does not exist", Status.INVALID_OPCODE, command(0x7F)),
    ("format", Status.INVALID_OPCODE, command(AdminOpcode.FORMAT_NVM, 1)),
    ("a fused command", Status.INVALID_FIELD, command(AdminOpcode.ABORT)._replace(flags=1)),
    ("an SGL", Status.INVALID_FIELD, command(AdminOpcode.IDENTIFY, 1, 0x100000, cdw10=1)._replace(flags=0x40)),
    ("identify of what is not there", Status.INVALID_FIELD, command(AdminOpcode.IDENTIFY, 1, 0x100000, cdw10=0x77)),
    ("namespace 2", Status.INVALID_NAMESPACE, command(AdminOpcode.IDENTIFY, 2, 0x100000)),
    ("identify to nowhere", Status.DATA_TRANSFER_ERROR, command(AdminOpcode.IDENTIFY, 1, 1 << 40, cdw10=1)),
    ("identify over the end", Status.DATA_TRANSFER_ERROR, command(AdminOpcode.IDENTIFY, 1, (1 << 64) - 4096, cdw10=1)),
    ("identify to half a word", Status.INVALID_PRP_OFFSET, command(AdminOpcode.IDENTIFY, 1, 0x100001, cdw10=1)),
    ("queue 0", Status.INVALID_QUEUE_ID, command(_CREATE[0], 0, 0x100000, cdw10=7 << 16, cdw11=1)),
    ("queue 5 of 4", Status.INVALID_QUEUE_ID, command(_CREATE[0], 0, 0x100000, cdw10=7 << 16 | 5, cdw11=1)),
    ("queue 1 again", Status.INVALID_QUEUE_ID, command(_CREATE[0], 0, 0x100000, cdw10=7 << 16 | 1, cdw11=1)),
    ("a queue of 1", Status.INVALID_QUEUE_SIZE, command(_CREATE[0], 0, 0x100000, cdw10=2, cdw11=1)),
    ("a queue of 65536", Status.INVALID_QUEUE_SIZE, command(_CREATE[0], 0, 0x100000, cdw10=0xFFFF << 16 | 2, cdw11=1)),
    ("a queue in pieces", Status.INVALID_FIELD, command(_CREATE[0], 0, 0x100000, cdw10=7 << 16 | 2)),
    ("a queue that is not on a page", Status.INVALID_PRP_OFFSET, command(_CREATE[0], 0, 8, cdw10=7 << 16 | 2, cdw11=1)),
    ("vector 9", Status.INVALID_INTERRUPT_VECTOR,
     command(_CREATE[0], 0, 0x100000, cdw10=7 << 16 | 2, cdw11=9 << 16 | 1)),
    ("a queue without completions", Status.CQ_INVALID,
     command(_CREATE[1], 0, 0x100000, cdw10=7 << 16 | 2, cdw11=4 << 16 | 1)),
    ("deletion of queue 3", Status.INVALID_QUEUE_ID, command(AdminOpcode.DELETE_IO_SQ, cdw10=3)),
    ("deletion of the admin queue", Status.INVALID_QUEUE_ID, command(AdminOpcode.DELETE_IO_CQ, cdw10=0)),
    ("deletion of a queue in use", Status.INVALID_QUEUE_DELETION, command(AdminOpcode.DELETE_IO_CQ, cdw10=1)),
    ("a feature that does not exist", Status.INVALID_FIELD, command(AdminOpcode.GET_FEATURES, cdw10=0x7F)),
    ("a feature to be saved", Status.FEATURE_NOT_SAVEABLE, command(AdminOpcode.SET_FEATURES, cdw10=1 << 31 | 6)),
    ("queues counted late", Status.COMMAND_SEQUENCE_ERROR, command(AdminOpcode.SET_FEATURES, cdw10=7)),
    ("a log that does not exist", Status.INVALID_LOG_PAGE, command(AdminOpcode.GET_LOG_PAGE, 0, 0x100000, cdw10=0x66)),
    ("a log of 16 GiB", Status.INVALID_FIELD,
     command(AdminOpcode.GET_LOG_PAGE, 0, 0x100000, cdw10=0xFFFF0002, cdw11=0xFFFF)),
    ("a log behind its end", Status.INVALID_FIELD, command(AdminOpcode.GET_LOG_PAGE, 0, 0x100000, cdw10=2, cdw12=4096)),
    ("doorbells nowhere", Status.INVALID_FIELD, command(AdminOpcode.DOORBELL_BUFFER_CONFIG, 0, 0x100000, 0x1008)),
    ("doorbells in no memory", Status.DATA_TRANSFER_ERROR,
     command(AdminOpcode.DOORBELL_BUFFER_CONFIG, 0, 0x100000, 1 << 40)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "wrong"), [row[1:] for row in _ADMIN], ids=[row[0] for row in _ADMIN])
def test_an_admin_command_that_is_wrong_ends_with_its_status(
    drive: Drive, nvme: Nvme, status: Status, wrong: Command
) -> None:
    def program(driver: NvmeDriver) -> None:
        assert status_of(driver, wrong) == status
        driver.write(0, b"x" * 512)  # and everything goes on
        assert driver.read(0) == b"x" * 512

    drive(program)


_IO = [
    ("an opcode that does not exist", Status.INVALID_OPCODE, command(0x7F, 1)),
    ("no namespace", Status.INVALID_NAMESPACE, command(NvmOpcode.READ, 0, 0x100000)),
    ("namespace 2", Status.INVALID_NAMESPACE, command(NvmOpcode.FLUSH, 2)),
    ("the last block and one more", Status.LBA_OUT_OF_RANGE,
     command(NvmOpcode.READ, 1, 0x100000, cdw10=32767, cdw12=1)),
    ("a block at 2^64", Status.LBA_OUT_OF_RANGE,
     command(NvmOpcode.WRITE, 1, 0x100000, cdw10=0xFFFFFFFF, cdw11=0xFFFFFFFF)),
    ("zeroes past the end", Status.LBA_OUT_OF_RANGE, command(NvmOpcode.WRITE_ZEROES, 1, cdw10=32768)),
    ("more than MDTS allows", Status.INVALID_FIELD, command(NvmOpcode.READ, 1, 0x100000, 0x200000, cdw12=2048)),
    ("data nowhere", Status.DATA_TRANSFER_ERROR, command(NvmOpcode.READ, 1, 1 << 40)),
    ("a PRP list nowhere", Status.DATA_TRANSFER_ERROR, command(NvmOpcode.WRITE, 1, 0x100000, 1 << 40, cdw12=100)),
    ("a second page that is none", Status.INVALID_PRP_OFFSET, command(NvmOpcode.READ, 1, 0x100000, 8, cdw12=15)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "wrong"), [row[1:] for row in _IO], ids=[row[0] for row in _IO])
def test_an_io_command_that_is_wrong_ends_with_its_status_and_is_logged(
    drive: Drive, nvme: Nvme, status: Status, wrong: Command
) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.write(1, b"x" * 512)
        assert status_of(driver, wrong, io=True) == status
        assert driver.read(1) == b"x" * 512
        count, queue, _, field = struct.unpack_from("<QHHH", driver.log_page(LogPage.ERROR_INFORMATION, 64))
        assert (count, queue, field >> 1 & 0x7FF, field >> 15) == (1, 1, status, 1)

    drive(program)


def test_identify_tells_what_there_is(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        assert driver.identify(Identify.ACTIVE_NAMESPACES)[:8] == struct.pack("<II", 1, 0)
        assert driver.identify(Identify.ACTIVE_NAMESPACES, 1)[:4] == bytes(4)
        descriptors = driver.identify(Identify.NAMESPACE_DESCRIPTORS, 1)
        assert (descriptors[0], descriptors[12]) == (1, 2)
        assert descriptors[16:32] == driver.namespace_data[104:120]
        assert driver.controller_data[77] == 8

    drive(program)


def test_features_and_logs(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        def get(feature: int, select: int = 0) -> int:
            return driver.admin.run(command(AdminOpcode.GET_FEATURES, cdw10=feature | select << 8)).result

        driver.admin.run(command(AdminOpcode.SET_FEATURES, cdw10=FeatureId.VOLATILE_WRITE_CACHE, cdw11=0))
        assert (get(FeatureId.VOLATILE_WRITE_CACHE), get(FeatureId.VOLATILE_WRITE_CACHE, 1)) == (0, 1)
        assert get(FeatureId.NUMBER_OF_QUEUES) == 3 | 3 << 16
        stamp = driver.guest.dma_alloc(8)
        stamp.write(struct.pack("<Q", 1_700_000_000_000))
        driver.admin.run(command(AdminOpcode.SET_FEATURES, prp1=stamp.address, cdw10=FeatureId.TIMESTAMP))
        driver.admin.run(command(AdminOpcode.GET_FEATURES, prp1=stamp.address, cdw10=FeatureId.TIMESTAMP))
        assert 0 <= (struct.unpack("<Q", stamp.read())[0] & (1 << 48) - 1) - 1_700_000_000_000 < 60_000
        driver.read(0, 8)
        smart = driver.log_page(LogPage.SMART, 512)
        assert (smart[64], smart[112]) == (1, 1)  # one read command, one power cycle
        assert driver.log_page(LogPage.FIRMWARE_SLOT, 16)[8:11] == b"1.0"
        assert driver.log_page(LogPage.SUPPORTED_EFFECTS, 4096)[1024 + 4 * NvmOpcode.WRITE] == 3

    drive(program)


def test_queues_are_deleted_and_made_again(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        for _ in range(3):
            driver.admin.run(command(AdminOpcode.DELETE_IO_SQ, cdw10=1))
            driver.admin.run(command(AdminOpcode.DELETE_IO_CQ, cdw10=1))
            driver.io.clear()
            driver.create_queues(1, 8)
            driver.write(0, b"y" * 512)

    drive(program, shadow=False)


def test_event_requests_are_held_aborted_and_limited(drive: Drive, nvme: Nvme) -> None:
    def program(driver: NvmeDriver) -> None:
        ask = command(AdminOpcode.ASYNC_EVENT_REQUEST)
        (first,) = driver.admin.submit(ask)
        driver.identify(Identify.CONTROLLER)  # which is answered, while the request is held
        driver.admin.submit(command(AdminOpcode.ABORT, cdw10=first << 16))
        done = {one.cid: one for one in driver.admin.reap(2)}
        assert done.pop(first).code == Status.ABORTED
        assert [one.result for one in done.values()] == [0]
        driver.admin.submit(ask, ask, ask, ask, ask)
        assert driver.admin.reap()[0].code == Status.ASYNC_EVENT_LIMIT_EXCEEDED
        aborted = driver.admin.run(command(AdminOpcode.ABORT, cdw10=1 | 7 << 16))
        assert aborted.result == 1  # it was not there any more

    drive(program)


@pytest.mark.parametrize("place", ["a value", "a register", "no register"])
def test_doorbells_that_make_no_sense_are_events(drive: Drive, nvme: Nvme, place: str) -> None:
    def program(driver: NvmeDriver) -> None:
        driver.admin.submit(command(AdminOpcode.ASYNC_EVENT_REQUEST))
        if place == "a value":
            driver.bar0.SQ1TDBL.write(4096)
        elif place == "a register":
            driver.bar0.SQ3TDBL.write(1)
        else:
            driver.bar0.write(0x1800, 1)
        (event,) = driver.admin.reap()
        information = 1 if place == "a value" else 0
        assert event.result == information << 8 | LogPage.ERROR_INFORMATION << 16
        driver.write(0, b"z" * 512)
        assert driver.read(0) == b"z" * 512

    drive(program, shadow=False)


def test_a_command_that_is_to_fail_fails_once_and_a_row_says_so(drive: Drive, lab: Any, nvme: Nvme) -> None:
    injection = nvme.fail("read", "unrecovered_read_error", block=9)
    nvme.fail(AdminOpcode.IDENTIFY, 0x006, retry=True)

    def program(driver: NvmeDriver) -> None:
        with pytest.raises(NvmeError, match=r"unrecovered read error \(281h\)") as caught:
            driver.read(8, 2)
        assert caught.value.completion.do_not_retry
        assert driver.read(8, 2) == bytes(1024)

    with pytest.raises(NvmeError, match="internal error"):
        drive(program)  # the driver's first identify
    assert injection.left == 1
    drive(program)
    assert injection.left == 0
    rows = lab.trace.frame()
    rows = rows[rows["kind"] == "fault"]
    assert len(rows) == 2
    assert lab.trace.frame(decode=True).loc[rows["cause"].iloc[1], "register"] == "SQ1TDBL"
    assert not lab.faults  # it was asked for


def test_failures_are_counted_and_can_be_taken_back(drive: Drive, nvme: Nvme) -> None:
    nvme.fail(NvmOpcode.WRITE, Status.WRITE_FAULT, count=2)
    nvme.fail("flush", Status.WRITE_FAULT)

    def program(driver: NvmeDriver) -> None:
        for _ in range(2):
            with pytest.raises(NvmeError):
                driver.write(0, bytes(512))
        driver.write(0, bytes(512))
        nvme.fail_no_more()
        driver.flush()

    drive(program)


@pytest.mark.parametrize(
    ("opcode", "status", "message"),
    [("reed", 0x281, "no opcode"), ("read", "bad", "no status"), ("read", 0, "is no failure"), (999, 0x281, "8 bits")],
)
def test_a_failure_that_makes_no_sense_is_refused(opcode: Any, status: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Nvme().fail(opcode, status)


def test_all_namespaces_at_once_can_be_flushed(drive: Drive, nvme: Nvme) -> None:
    drive(lambda driver: driver.io[0].run(command(NvmOpcode.FLUSH, NSID_ALL)))
