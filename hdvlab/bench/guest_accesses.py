"""MMIO from a real guest, through QEMU, beside the least C server that QEMU takes: what a round trip costs by itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from hdvlab.device import Device
from hdvlab.device.compiler import CompileError, find_compiler
from hdvlab.errors import BackendError
from hdvlab.registers import Bar, Register
from hdvlab.systems.qemu.command_line import VmOptions

FOLDER = Path(__file__).resolve().parent
#: The yardstick's slot; the lab fills its own from 3 on.
ECHO_SLOT = 0x1E
ECHO_PLACE = f"0000:00:{ECHO_SLOT:02x}.0"


class GuestBenchDevice(Device):
    """A register without behaviour, and one with."""

    vendor_id, device_id = 0x1234, 0xBE4D
    base_class, sub_class = 0x00, 0xFF

    class bar0(Bar, size=4096):
        PLAIN = Register(0x00, reset=0x12345678)
        HANDLED = Register(0x04)

    def start(self) -> None:
        self.written = 0

    @bar0.HANDLED.on_read
    def read(self) -> int:
        return self.written

    @bar0.HANDLED.on_write
    def write(self, value: int) -> None:
        self.written = value


class EchoServer:
    """The yardstick: ``echo_server.c``, compiled and running, for one VM."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hdvlab-echo-")
        folder = Path(self._folder.name)
        compiler = find_compiler()
        program, source = folder / "echo_server", FOLDER / "echo_server.c"
        command = [compiler, "-std=gnu11", "-O2", str(source), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise CompileError(f"{compiler} refused {source.name}:\n{done.stderr.strip()}")
        self.path = folder / "socket"
        self._process = subprocess.Popen(
            [str(program), str(self.path), "0x1234", "0xbe4e"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise BackendError(f"the echo server did not start: status {self._process.wait()}")

    def options(self, posted: bool) -> VmOptions:
        """A VM that has it beside the lab's devices."""
        device = {
            "driver": "vfio-user-pci",
            "bus": "pcie.0",
            "addr": f"{ECHO_SLOT:#x}",
            "rombar": 0,
            "x-no-posted-writes": not posted,
            "socket": {"type": "unix", "path": str(self.path)},
        }
        return VmOptions(posted_writes=posted, extra=("-device", json.dumps(device)))

    def __enter__(self) -> EchoServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()
