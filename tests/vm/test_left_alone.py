"""A VM whose devices run in a process that was killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from hdvlab.systems.qemu.setup import Installation

pytestmark = pytest.mark.vm

_PROGRAM = """
from hdvlab import Lab
from hdvlab.devices.edu import Edu
lab = Lab(machine="vm")
lab.plug(Edu)
vm = lab.boot(wait=False)
print(vm.pid, vm.place.directory, flush=True)
input()
"""


@pytest.mark.fault(48)
def test_it_ends_soon_after(installation: Installation) -> None:
    command = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pid, directory = program.stdout.readline().split()
        vm = os.pidfd_open(int(pid))
        try:
            program.send_signal(signal.SIGKILL)
            program.wait()
            assert select.select([vm], [], [], 60.0)[0], "QEMU goes on for ever"
        finally:
            os.close(vm)
    assert directory
