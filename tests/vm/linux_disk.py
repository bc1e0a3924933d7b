"""What tests with a disk under Linux do in the guest: a file system with a file of random bytes, and a look at it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd

from hdvlab.lab import Lab
from hdvlab.lab.shell import ShellRun

MEBIBYTES = 64
#: Seconds for one command on a machine that does much else.
PATIENCE = 180.0


def run(lab: Lab, command: str) -> ShellRun:
    """Run a command in the guest that must end well."""
    done = lab.sh(command, timeout=PATIENCE)
    assert done.status == 0, done.text
    return done


def fill(lab: Lab, disk: str) -> str:
    """Make ext4 on a disk of the guest's and 64 MiB of random bytes in a file on it; their SHA-256."""
    script = f"""set -e
mkfs.ext4 -q {disk}
mount -t ext4 {disk} /mnt
dd if=/dev/urandom of=/mnt/random bs=1M count={MEBIBYTES} conv=fsync 2>/dev/null
sha256sum < /mnt/random
umount /mnt"""
    return run(lab, script).text.split()[0]


def read_back(lab: Lab, disk: str) -> str:
    """The SHA-256 of that file, read from the disk; the file system must be clean."""
    script = f"""set -e
fsck.ext4 -fn {disk} >/tmp/fsck 2>&1 || {{ cat /tmp/fsck; exit 1; }}
mount -t ext4 -o ro {disk} /mnt
sha256sum < /mnt/random
umount /mnt"""
    return run(lab, script).text.split()[0]


def kernel_said(lab: Lab, since: int) -> str:
    """What the guest's kernel has said after the first ``since`` lines."""
    return run(lab, f"dmesg | tail -n +{since + 1}").text


def lines_said(lab: Lab) -> int:
    """How many lines the guest's kernel has said."""
    return int(run(lab, "dmesg | wc -l").text)


def interrupts_and_what_led_to_them(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """For each interrupt of a frame: the rows before it with the same cause, which must be a doorbell's row."""
    found = []
    for row, interrupt in frame[frame["kind"] == "interrupt"].iterrows():
        assert frame.loc[interrupt["cause"], "kind"] == "doorbell"
        found.append(frame[(frame["cause"] == interrupt["cause"]) & (frame.index < row)])
    return found


def checked_on_the_host(image: Path) -> str:
    """What this computer's own fsck says of an image; "" where it has none."""
    try:
        done = subprocess.run(["fsck.ext4", "-fn", str(image)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return "" if done.returncode == 0 else done.stdout + done.stderr
