"""A kernel, an initramfs or a disk image of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab import Lab
from hdvlab.devices.edu import Edu
from hdvlab.errors import StateError, UsageError
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.setup import Installation, build_initramfs

pytestmark = pytest.mark.vm


def test_a_disk_image_is_read_and_written_by_the_guest(tmp_path: Path, installation: Installation) -> None:
    image = tmp_path / "disk, raw.img"
    image.write_bytes(b"hello" + bytes(1 << 20))
    with Lab(machine="vm") as lab:
        lab.plug(Edu)
        vm = lab.boot(VmOptions(disk=image))
        assert lab.sh("head -c 5 /dev/vda").output == b"hello"
        lab.sh("echo WORLD | dd of=/dev/vda conv=notrunc 2>/dev/null; sync")
        vm.power_off()
    assert image.read_bytes()[:8] == b"WORLD\n\0\0"


def test_a_kernel_of_ones_own_gets_an_initramfs_without_modules(installation: Installation) -> None:
    with Lab(machine="vm") as lab:
        lab.plug(Edu)
        lab.boot(VmOptions(kernel=installation.kernel))
        assert lab.sh("find /lib/modules -name '*.ko*' | wc -l").text.strip() in ("0", "")


def test_a_guest_without_an_agent_has_its_console(installation: Installation) -> None:
    initramfs = build_initramfs(installation)
    with Lab(machine="vm") as lab:
        lab.plug(Edu)
        vm = lab.boot(VmOptions(initramfs=initramfs, agent=False))
        assert vm.state == "running"
        with pytest.raises(StateError, match="without hdvlab's agent"):
            lab.sh("ls")


@pytest.mark.parametrize("slot", [0, 31])
def test_a_slot_that_the_vm_needs_itself_is_refused(slot: int, installation: Installation) -> None:
    with Lab(machine="vm") as lab:
        lab.plug(Edu, slot=slot)
        with pytest.raises(UsageError, match=f"slot {slot}"):
            lab.boot()
