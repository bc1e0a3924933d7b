"""The guest kernel's own recorder, mmiotrace, and hdvlab's, of the same run: record for record the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.analysis.agreement import Stretch, compare_accesses
from hdvlab.devices.nvme import Nvme
from hdvlab.devices.virtio import Rng
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.pci import MsixCapability
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.trace.schema import Kind, Origin

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm

ENOUGH = 10_000

#: Drivers let go of their devices; what they do from here on is not traced, and not compared.
UNBIND = """
set -e
echo 0000:00:01.0 > /sys/bus/pci/drivers/nvme/unbind
echo 0000:00:02.0 > /sys/bus/pci/drivers/virtio-pci/unbind
"""

#: mmiotrace sees only what is mapped while it is on. The reader runs all the while and writes into memory; it ends
#: when it has seen the mark that stands behind the last access.
RUN = f"""
set -e
cd /sys/kernel/tracing
echo 16384 > buffer_size_kb
echo mmiotrace > current_tracer
cat trace_pipe > /tmp/log &
reader=$!
echo 0000:00:01.0 > /sys/bus/pci/drivers/nvme/bind
echo 0000:00:02.0 > /sys/bus/pci/drivers/virtio-pci/bind
until [ -b /dev/nvme0n1 ]; do usleep 20000; done
until [ "$(cat /sys/class/misc/hw_random/rng_current)" != none ]; do usleep 20000; done
dd if=/dev/hwrng of=/dev/null bs=64 count=10
while [ $(wc -l < /tmp/log) -lt {ENOUGH + 200} ]; do
    dd if=/dev/nvme0n1 of=/tmp/read bs=512 iflag=direct count=2000
done
echo 1 > /sys/class/nvme/nvme0/reset_controller
echo hdvlab-end > trace_marker
until grep -q hdvlab-end /tmp/log; do usleep 20000; done
kill $reader
wait $reader || :
echo nop > current_tracer
gzip /tmp/log
"""


def table_of(device: Any) -> Stretch:
    """Where a device's MSI-X table is."""
    one = next(one for one in device.capabilities if isinstance(one, MsixCapability))
    return one.table_bar, one.table_offset, one.table_offset + 16 * one.vectors


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(machine="vm") as made:
        made.plug(Nvme, name="nvme", slot=1, configuration=["size=1M"])
        made.plug(Rng, name="rng", slot=2)
        yield made


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("hidden", [False, True], ids=["normal", "hidden capabilities"])
def test_ten_thousand_accesses_are_the_same_in_the_guest_kernels_mmiotrace(
    lab: Lab, hidden: bool, tmp_path: Path
) -> None:
    vm = lab.boot(VmOptions(hide_capabilities=hidden, modules=["virtio-rng"]))
    assert lab.sh(UNBIND, timeout=60).status == 0
    run = lab.sh(RUN, timeout=240)
    assert run.status == 0, run.text
    ours = run.frame()
    (tmp_path / "log.gz").write_bytes(vm.get("/tmp/log.gz"))
    theirs = read_mmiotrace(tmp_path / "log.gz")
    assert not theirs.bad_lines
    kernels = theirs.frame()
    assert not (kernels["kind"] == "fault").any(), "accesses that the kernel could not decode"

    # Where QEMU manages MSI-X, it answers the guest's table accesses itself; its own writes into the device's table,
    # by which the device learns of vectors, are the machine's and not the guest's.
    compared = []
    for index, name in enumerate(("nvme", "rng")):
        number = next(n for n, d in enumerate(theirs.tables.devices) if d.address == lab[name].address)
        leave_out = [] if hidden else [table_of(lab[name].device)]
        agreement = compare_accesses(kernels, ours, devices=(number, index), leave_out=leave_out)
        assert agreement, f"{name}: left is mmiotrace, right hdvlab; {agreement}"
        compared.append(agreement)
    nvme, rng = compared
    assert len(nvme.left) + len(rng.left) >= ENOUGH
    assert set(nvme.left["operation"]) == set(rng.left["operation"]) == {"read", "write"}
    assert set(rng.left["size"]) == {1, 2, 4}
    assert (ours["kind"] == Kind.doorbell.name).sum() > 1000  # they are writes to the kernel
    by_machine = ours[(ours["origin"] == Origin.machine.name) & (ours["kind"] == Kind.mmio_write.name)]
    if hidden:
        assert not len(by_machine)
        _, first, behind = table_of(Nvme)
        table = nvme.right[nvme.right["offset"].between(first, behind - 1)]
        assert set(table["operation"]) == {"read", "write"}
    else:
        assert all(one.left_out[0] > 0 and one.left_out[1] == 0 for one in compared)
        assert len(by_machine)
