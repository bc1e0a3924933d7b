"""Several devices in one VM, at work at the same time; disks in files, over a power-off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab.devices.edu import Edu
from hdvlab.devices.nvme import Nvme
from hdvlab.devices.virtio import Blk
from hdvlab.lab import Lab
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.setup import Installation

from .linux_disk import PATIENCE, checked_on_the_host, fill, read_back, run

pytestmark = pytest.mark.vm

DISKS = {"nvme": "/dev/nvme0n1", "blk": "/dev/vda"}


def boot(lab: Lab, folder: Path) -> Lab:
    lab.plug(Nvme(), configuration=[f"file={folder / 'nvme.img'}", "size=128M"])
    lab.plug(Blk(), configuration=[f"file={folder / 'blk.img'}", "size=128M"])
    lab.plug(Edu(), configuration=["dma_delay_ms=1"])
    lab.boot(VmOptions(tools=("e2fsprogs",)))
    return lab


@pytest.fixture(scope="module")
def folder(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disks")


@pytest.fixture(scope="module")
def digests(folder: Path) -> dict[str, str]:
    """Of the files in a VM's disks; the VM is off, its lab is closed."""
    with Lab(machine="vm") as lab:
        boot(lab, folder)
        written = {name: fill(lab, disk) for name, disk in DISKS.items()}
        lab.vm.power_off()
        assert lab.faults == []
    return written


@pytest.fixture(scope="module")
def lab(folder: Path, digests: dict[str, str]) -> Iterator[Lab]:
    """Another VM, with new devices on the same files."""
    with Lab(machine="vm") as lab:
        yield boot(lab, folder)
        assert lab.faults == []


@pytest.mark.parametrize("name", DISKS)
def test_the_image_is_a_clean_file_system_to_this_computer(folder: Path, digests: dict[str, str], name: str) -> None:
    assert checked_on_the_host(folder / f"{name}.img") == ""


@pytest.mark.parametrize("name", DISKS)
def test_files_outlive_a_power_off(lab: Lab, digests: dict[str, str], name: str) -> None:
    assert read_back(lab, DISKS[name]) == digests[name]


def test_devices_work_at_the_same_time(lab: Lab, digests: dict[str, str]) -> None:
    load = " & ".join(f"(dd if={disk} bs=64k count=256 iflag=direct 2>/dev/null | sha256sum > /tmp/{name})"
                      for name, disk in DISKS.items())  # fmt: skip
    alone = [run(lab, f"dd if={disk} bs=1M count=16 2>/dev/null | sha256sum").text for disk in DISKS.values()]
    busy = lab.vm.start_command(f"{load} & wait")
    place = f"/sys/bus/pci/devices/0000:{lab['edu'].address}"
    factorial = f"""echo 1 > {place}/enable
base=$(head -n1 {place}/resource | cut -d' ' -f1)
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    devmem $((base + 8)) 32 $i
    while [ $(($(devmem $((base + 0x20)) 32) & 1)) = 1 ]; do :; done
done
devmem $((base + 8)) 32"""
    with lab.record() as recorded:
        assert int(run(lab, factorial).text, 0) == math.factorial(12)
    assert busy.wait(PATIENCE).status == 0
    assert [run(lab, f"cat /tmp/{name}").text for name in DISKS] == alone
    frame = recorded.frame(decode=True)
    assert {"nvme", "blk"} <= set(frame.loc[frame["kind"] == "interrupt", "name"])
    numbers = frame[(frame["name"] == "edu") & (frame["register"] == "FACTORIAL") & (frame["kind"] == "mmio_write")]
    assert numbers["value"].to_list() == list(range(1, 13))
