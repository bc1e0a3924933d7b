"""hdvlab's virtio devices under Linux's own drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab.devices.virtio import Blk, Rng
from hdvlab.lab import Lab
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.setup import Installation

from .linux_disk import PATIENCE, fill, interrupts_and_what_led_to_them, kernel_said, lines_said, read_back, run

pytestmark = pytest.mark.vm

DISK = "/dev/vda"
READ = f"dd if={DISK} of=/dev/null bs=4k count=1 skip=1000 iflag=direct"
WRITE = f"dd if=/dev/zero of={DISK} bs=4k count=1 seek=32000 oflag=direct"


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Lab]:
    with Lab(machine="vm") as lab:
        lab.plug(Blk(), name="disk", configuration=["size=128M", "id=a disk"])
        lab.plug(Rng(), name="rng")
        lab.boot(VmOptions(tools=("e2fsprogs",)))
        yield lab
        assert lab.faults == []


@pytest.fixture(scope="module")
def disk(lab: Lab) -> Blk:
    device = lab["disk"].device
    assert isinstance(device, Blk)
    return device


@pytest.fixture(scope="module")
def digest(lab: Lab) -> str:
    """Of a file in a file system on the disk, written before the guest was reset."""
    written = fill(lab, DISK)
    lab.vm.reset()
    lab.vm.wait_booted()
    return written


def test_random_bytes_come_from_the_device(lab: Lab) -> None:
    with lab.record() as recorded:
        script = "cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=512 count=8 2>/dev/null | sha256sum"
        chosen, first = run(lab, script).text.splitlines()
        assert chosen == "virtio_rng.0"
        assert run(lab, script).text.splitlines()[1] != first
    frame = recorded.frame()
    rng = frame[frame["device"] == lab["rng"].index]
    assert rng.loc[rng["kind"] == "dma_write", "size"].sum() >= 2 * 512 * 8
    assert {"doorbell", "interrupt"} <= set(rng["kind"])


def test_files_outlive_the_reset_button(lab: Lab, digest: str) -> None:
    assert read_back(lab, DISK) == digest


def test_linux_knows_the_disk(lab: Lab) -> None:
    assert run(lab, "cat /sys/block/vda/size /sys/block/vda/serial").text.splitlines() == [str(128 << 11), "a disk"]


def test_every_interrupt_leads_back_to_the_notification_that_asked_for_it(lab: Lab, digest: str) -> None:
    with lab.record() as recorded:
        run(lab, READ)
    stories = interrupts_and_what_led_to_them(recorded.frame())
    [story] = [one for one in stories if (one["size"] == 4096).any()]
    kinds = list(story["kind"])
    # The request is read, its data goes to memory, and then the used ring does.
    assert kinds[0] == "dma_read"
    assert "dma_write" in kinds[list(story["size"]).index(4096) + 1 :]


@pytest.mark.parametrize(("kind", "command", "said"), [
    ("in", READ, "I/O error, dev vda, sector 8000 op 0x0:(READ)"),
    ("out", WRITE, "I/O error, dev vda, sector 256000 op 0x1:(WRITE)"),
])  # fmt: skip
def test_linux_reports_a_failed_request_and_goes_on(
    lab: Lab, disk: Blk, digest: str, kind: str, command: str, said: str
) -> None:
    before = lines_said(lab)
    disk.fail(kind)
    with lab.record() as recorded:
        assert lab.sh(command, timeout=PATIENCE).status == 1
    assert said in kernel_said(lab, before)
    frame = recorded.frame()
    [(row, fault)] = frame[frame["kind"] == "fault"].iterrows()
    assert (lab.trace.payload(row) or b"").startswith(f"injected: {kind.upper()} of sector".encode())
    assert frame.loc[fault["cause"], "kind"] == "doorbell"
    run(lab, command)
    assert read_back(lab, DISK) == digest


def test_unbinding_and_binding_the_driver_loses_nothing(lab: Lab, digest: str) -> None:
    driver = "/sys/bus/virtio/drivers/virtio_blk"
    wait = f"for i in $(seq 600); do [ -b {DISK} ] && break; sleep 0.1; done"
    run(lab, f"echo virtio0 > {driver}/unbind && [ ! -b {DISK} ] && echo virtio0 > {driver}/bind && {wait}")
    assert read_back(lab, DISK) == digest
