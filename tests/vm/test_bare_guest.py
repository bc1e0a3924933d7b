"""The guest by itself, on its console: no device of hdvlab's, no agent."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab.systems.qemu.setup import Installation, build_initramfs

pytestmark = pytest.mark.vm

_PATIENCE_S = 120.0
_PROMPT = "guest:~# "
_MACHINE = "-machine q35,accel=tcg -m 256M -nodefaults -nographic -serial stdio -no-reboot"


class Console:
    """QEMU with its serial console on pipes; killed when it takes too long."""

    def __init__(self, installation: Installation, initramfs: Path, *more: str) -> None:
        command = [
            *installation.qemu,
            *_MACHINE.split(),
            "-kernel",
            str(installation.kernel),
            "-initrd",
            str(initramfs),
        ]
        self.process = subprocess.Popen(
            [*command, "-append", "console=ttyS0 quiet panic=-1", *more],
            env={**os.environ, **installation.environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.timer = threading.Timer(_PATIENCE_S, self.process.kill)
        self.timer.start()
        self.said = ""

    def until(self, mark: str) -> str:
        """What it says up to and with ``mark``."""
        assert self.process.stdout is not None
        while mark not in self.said:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"ended before {mark!r}: {self.said}"
            self.said += data.decode(errors="replace")
        told, _, self.said = self.said.partition(mark)
        return told

    def run(self, command: str) -> str:
        """What a command prints. It is typed when there is a prompt: before, the terminal would echo it once more."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}; echo en''ded\n".encode())
        self.process.stdin.flush()
        self.until("en''ded\r\n")
        printed = self.until("ended\r\n").replace("\r\n", "\n")
        self.until(_PROMPT)
        return printed

    def close(self) -> None:
        self.timer.cancel()
        self.process.kill()
        self.process.communicate()
        self.timer.join()


@pytest.fixture(scope="module")
def console(installation: Installation) -> Iterator[Console]:
    files = {**installation.extra("pciutils"), **installation.extra("e2fsprogs")}
    initramfs = build_initramfs(installation, modules=["uio_pci_generic"], available=["vfio_pci"], files=files)
    opened = Console(installation, initramfs)
    try:
        assert f"hdvlab: guest is ready, Linux {installation.kernel_version}" in opened.until(_PROMPT)
        yield opened
    finally:
        opened.close()


def test_modules_are_loaded_and_others_can_be(console: Console) -> None:
    assert "uio_pci_generic" in console.run("lsmod")
    assert "vfio_pci_core" in console.run("modprobe vfio_pci && lsmod")


def test_what_is_in_the_kernel_is_not_missing_and_linux_finds_modprobe(console: Console) -> None:
    assert console.run("modprobe ext4; echo $?").split()[-1] == "0"
    assert console.run("test -x $(cat /proc/sys/kernel/modprobe); echo $?").split()[-1] == "0"


def test_programs_with_their_libraries_run(console: Console) -> None:
    assert "Host bridge: Intel Corporation" in console.run("lspci")
    made = console.run("dd if=/dev/zero of=/tmp/disk bs=1M count=8 2>/dev/null; mkfs.ext4 -q /tmp/disk; echo $?")
    assert made.split()[-1] == "0"


def test_the_kernel_traces_its_own_accesses(console: Console) -> None:
    assert "mmiotrace" in console.run("cat /sys/kernel/tracing/available_tracers")


def test_the_console_is_a_terminal_of_its_own(console: Console) -> None:
    assert console.run("tty").split() == ["/dev/ttyS0"]
    assert console.run("stty size").split() == ["50", "200"]


def test_poweroff_ends_it(installation: Installation) -> None:
    opened = Console(installation, build_initramfs(installation))
    try:
        opened.until(_PROMPT)
        assert opened.process.stdin is not None
        opened.process.stdin.write(b"poweroff\n")
        opened.process.stdin.flush()
        opened.until("Power down")
        assert opened.process.wait(_PATIENCE_S) == 0
    finally:
        opened.close()
