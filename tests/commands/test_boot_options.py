"""What boot refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab import commands
from hdvlab.commands.virtual_machine import check_options
from hdvlab.errors import UsageError
from hdvlab.systems.qemu.command_line import VmOptions

NOWHERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (VmOptions(kernel=NOWHERE), "no kernel /nowhere; give a file's path"),
        (VmOptions(initramfs=NOWHERE), "no initramfs /nowhere; give a file's path"),
        (VmOptions(disk=NOWHERE), "no disk /nowhere; give a file's path"),
        (VmOptions(ram=1 << 20), "--ram: 1 MiB; a guest here takes 64 to"),
        (VmOptions(ram=1 << 60), "such as --ram 512M"),
        (VmOptions(cpus=1000), "--cpus: 1,000; a guest takes 1 to 255"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options: VmOptions, said: str) -> None:
    with pytest.raises(UsageError) as error:
        check_options(options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_can_be_is_not() -> None:
    check_options(VmOptions())


def test_a_boot_that_is_refused_starts_no_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(UsageError):
        commands.boot(None, ["edu"], ram=1 << 20)
    assert commands.existing_lab() is None
    assert len(commands.hosts()) == 0
