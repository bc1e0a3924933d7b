"""The real kernel's modules; another program's modules.dep is the judge."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hdvlab.errors import UsageError
from hdvlab.systems.qemu.setup import Installation
from hdvlab.systems.qemu.setup.kernel_modules import ModuleFolder

from ...vm.conftest import installation as installation

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def folder(installation: Installation) -> ModuleFolder:
    return ModuleFolder(installation.modules)


def test_what_a_module_needs_is_loaded_before_it(folder: ModuleFolder) -> None:
    names = [module.name for module in folder.load_order(["vfio-pci", "uio_pci_generic"])]
    assert names[-2:] == ["uio", "uio_pci_generic"]
    assert names.index("vfio") < names.index("vfio_pci_core") < names.index("vfio_pci")
    assert len(names) == len(set(names))


def test_what_is_built_in_needs_no_loading(folder: ModuleFolder) -> None:
    assert folder.load_order(["nvme", "ext4"]) == []
    assert folder.has("nvme")


def test_a_module_that_is_not_there_is_named(folder: ModuleFolder) -> None:
    with pytest.raises(UsageError, match="has no module e1000"):
        folder.load_order(["e1000"])


def test_the_order_is_that_of_another_programs_table(
    folder: ModuleFolder, installation: Installation, tmp_path: Path
) -> None:
    wanted = ["vfio_pci", "uio_pci_generic", "virtio_blk", "virtio_rng", "virtio_net", "btrfs", "xfs", "overlay"]
    order = folder.load_order(wanted)
    home = tmp_path / "lib" / "modules" / installation.kernel_version
    for module in order:
        path = home / module.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module.image)
    depmod = [str(installation.busybox), "depmod", "-b", str(tmp_path), installation.kernel_version]
    subprocess.run(depmod, check=True, capture_output=True)
    table = {}
    for line in (home / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        table[Path(name).name] = {Path(one).name for one in needs.split()}
    seen: set[str] = set()
    for module in order:
        assert table[Path(module.path).name] <= seen, module.name
        seen.add(Path(module.path).name)
    assert len(order) > 10
    assert sum(map(len, table.values())) > 10
