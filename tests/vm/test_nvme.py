"""hdvlab's NVMe controller under Linux's own driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab.devices.nvme import Nvme
from hdvlab.errors import StateError
from hdvlab.lab import Lab
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.setup import Installation

from .linux_disk import PATIENCE, fill, interrupts_and_what_led_to_them, kernel_said, lines_said, read_back, run

pytestmark = pytest.mark.vm

DISK = "/dev/nvme0n1"
READ = f"dd if={DISK} of=/dev/null bs=4k count=1 skip=1000 iflag=direct"
WRITE = f"dd if=/dev/zero of={DISK} bs=4k count=1 seek=32000 oflag=direct"


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Lab]:
    with Lab(machine="vm") as lab:
        lab.plug(Nvme(), name="nvme", configuration=["size=128M"])
        lab.boot(VmOptions(tools=("e2fsprogs",)))
        yield lab
        assert lab.faults == []


@pytest.fixture(scope="module")
def nvme(lab: Lab) -> Nvme:
    device = lab["nvme"].device
    assert isinstance(device, Nvme)
    return device


@pytest.fixture(scope="module")
def digest(lab: Lab) -> str:
    """Of a file in a file system on the drive."""
    return fill(lab, DISK)


@pytest.fixture(scope="module")
def after_reset(lab: Lab, digest: str) -> str:
    """The reset button was pressed."""
    lab.vm.reset()
    lab.vm.wait_booted()
    return digest


@pytest.fixture(scope="module")
def after_reboot(lab: Lab, after_reset: str) -> str:
    """Linux rebooted by itself."""
    with pytest.raises(StateError, match="the guest was reset; what ran in it is gone"):
        lab.sh("reboot -f", timeout=PATIENCE)
    lab.vm.wait_booted()
    return after_reset


def test_files_outlive_the_reset_button(lab: Lab, after_reset: str) -> None:
    assert read_back(lab, DISK) == after_reset


def test_files_outlive_a_reboot(lab: Lab, after_reboot: str) -> None:
    assert read_back(lab, DISK) == after_reboot


def test_every_interrupt_leads_back_to_the_doorbell_that_asked_for_it(lab: Lab, after_reboot: str) -> None:
    with lab.record() as recorded:
        run(lab, READ)
    stories = interrupts_and_what_led_to_them(recorded.frame())
    # The command is fetched, its data goes to memory, its completion too: all for the same doorbell.
    [story] = [one for one in stories if (one["size"] == 4096).any()]
    steps = [(row["kind"], row["size"]) for _, row in story.iterrows() if row["size"] != 4]  # 4: doorbell buffers
    assert steps == [("dma_read", 64), ("dma_write", 4096), ("dma_write", 16)]


@pytest.mark.parametrize(
    ("opcode", "status", "command", "said"),
    [
        ("read", "unrecovered_read_error", READ, "Cmd(0x2) @ LBA 8000, 8 blocks, I/O Error (sct 0x2 / sc 0x81) DNR"),
        ("write", "write_fault", WRITE, "Cmd(0x1) @ LBA 256000, 8 blocks, I/O Error (sct 0x2 / sc 0x80) DNR"),
    ],
)
def test_linux_reports_a_failed_command_and_goes_on(
    lab: Lab, nvme: Nvme, after_reboot: str, opcode: str, status: str, command: str, said: str
) -> None:
    before = lines_said(lab)
    nvme.fail(opcode, status)
    with lab.record() as recorded:
        assert lab.sh(command, timeout=PATIENCE).status == 1
    assert said in kernel_said(lab, before)
    frame = recorded.frame()
    [(row, fault)] = frame[frame["kind"] == "fault"].iterrows()
    assert (lab.trace.payload(row) or b"").startswith(f"injected: {opcode} (queue 1) ends with".encode())
    assert frame.loc[fault["cause"], "kind"] == "doorbell"
    run(lab, command)
    assert read_back(lab, DISK) == after_reboot


def test_linux_tries_again_where_it_may_and_the_program_does_not_notice(
    lab: Lab, nvme: Nvme, after_reboot: str
) -> None:
    injection = nvme.fail("read", "internal_error", retry=True, count=2)
    run(lab, READ)
    assert injection.left == 0


def test_a_reset_of_the_controller_loses_nothing(lab: Lab, after_reboot: str) -> None:
    before = lines_said(lab)
    with lab.record() as recorded:
        run(lab, "echo 1 > /sys/class/nvme/nvme0/reset_controller")
        assert read_back(lab, DISK) == after_reboot
    frame = recorded.frame(decode=True)
    written = frame[(frame["kind"] == "mmio_write") & (frame["register"] == "CC")]
    assert [int(value) & 1 for value in written["value"]][-2:] == [0, 1]
    assert "queues" in kernel_said(lab, before)


def test_unbinding_and_binding_the_driver_loses_nothing(lab: Lab, after_reboot: str) -> None:
    place = f"0000:{lab['nvme'].address}"
    driver = "/sys/bus/pci/drivers/nvme"
    wait = f"for i in $(seq 600); do [ -b {DISK} ] && break; sleep 0.1; done"
    run(lab, f"echo {place} > {driver}/unbind && [ ! -b {DISK} ] && echo {place} > {driver}/bind && {wait}")
    assert read_back(lab, DISK) == after_reboot
