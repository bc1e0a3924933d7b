"""The VM that a dead host has left, before its keeper ends it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
from pathlib import Path

from hdvlab.host.record import Record


def open_orphan(record: Record) -> int | None:
    """A descriptor of the process of the VM that a dead host has left; None where it has left none."""
    if record.is_alive or not record.vm:
        return None
    try:
        told = json.loads((Path(record.vm) / "vm.json").read_text(encoding="utf-8"))
        process = os.pidfd_open(int(told["pid"]))
        words = Path(f"/proc/{told['pid']}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.fsencode(record.vm) in words:  # else its number is another's now
        return process
    os.close(process)
    return None


def end_orphan(record: Record) -> bool:
    """End the VM that a dead host has left, which its keeper would end after the lease; whether there was one."""
    process = open_orphan(record)
    if process is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], 10.0)
    finally:
        os.close(process)
    shutil.rmtree(record.vm, ignore_errors=True)
    return True
