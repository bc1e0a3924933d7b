"""QEMU without a guest: its PCI host, its RAM and its vfio-user devices, driven over the qtest protocol.

Ref: QEMU, docs/devel/testing/qtest.rst, system/qtest.c.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Longest wait for QEMU, seconds.
PATIENCE = 30.0
RAM = 64 << 20


class Qtest:
    """One QEMU. Devices are addressed by their slot on the root bus.

    Parameters
    ----------
    command, environment : sequence of str, mapping
        How QEMU is run.
    devices : mapping of int to (path, properties)
        Sockets of vfio-user servers by slot.
    shared : bool
        Whether guest RAM comes with a descriptor.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        devices: Mapping[int, tuple[str | Path, Mapping[str, Any]]],
        shared: bool = True,
    ) -> None:
        #: Lines "raise N" and "lower N" of interrupts that are intercepted.
        self.lines: list[str] = []
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            path = os.path.join(folder, "q")
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(PATIENCE)
            memory = ["-object", f"memory-backend-memfd,id=mem,size={RAM},share=on"] if shared else []
            arguments = [*command, "-accel", "qtest", "-qtest", f"unix:{path}", "-display", "none", "-nodefaults"]
            arguments += [*memory, "-machine", "q35" + (",memory-backend=mem" if shared else ""), "-m", f"{RAM >> 20}M"]
            for slot, (server, properties) in devices.items():
                device = {"driver": "vfio-user-pci", "addr": f"{slot:02x}.0", "id": f"device{slot}"}
                device |= {"socket": {"type": "unix", "path": os.fspath(server)}, **properties}
                arguments += ["-device", json.dumps(device)]
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            self.process = subprocess.Popen(
                arguments,
                env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL,
                stderr=self._log,
                stdout=self._log,
            )
            deadline = time.monotonic() + PATIENCE
            while not select.select([listener], [], [], 0.05)[0]:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise AssertionError(f"QEMU did not start: {self.log}")
            self._socket = listener.accept()[0]
        self._socket.settimeout(PATIENCE)
        self._file = self._socket.makefile("rb")

    @property
    def log(self) -> str:
        """What QEMU has said."""
        if self._log.closed:
            return self._last_log
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if not self._log.closed:
            self._last_log = self.log
            self._log.close()
        if hasattr(self, "_file"):
            self._file.close()
            self._socket.close()

    def __enter__(self) -> Qtest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the protocol ------------------------------------------------------------------------------------------

    def ask(self, command: str) -> str:
        """One command; what stands behind its OK."""
        self._socket.sendall(command.encode() + b"\n")
        while True:
            words = self._line()
            if words[0] == "IRQ":
                self.lines.append(" ".join(words[1:]))
                continue
            assert words[0] == "OK", (command, words, self.log)
            return " ".join(words[1:])

    def _line(self) -> list[str]:
        try:
            line = self._file.readline()
        except ConnectionResetError:
            line = b""
        assert line, f"QEMU is gone: {self.log}"
        return line.decode().split()

    def next_irq(self) -> str:
        """The next "raise N" or "lower N"."""
        while not self.lines:
            words = self._line()
            assert words[0] == "IRQ"
            self.lines.append(" ".join(words[1:]))
        return self.lines.pop(0)

    def load(self, address: int, size: int = 4) -> int:
        return int(self.ask(f"read{'bwlq'[size.bit_length() - 1]} {address:#x}"), 16)

    def store(self, address: int, value: int, size: int = 4) -> None:
        self.ask(f"write{'bwlq'[size.bit_length() - 1]} {address:#x} {value:#x}")

    def read(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"read {address:#x} {size:#x}")[2:])

    def write(self, address: int, data: bytes) -> None:
        self.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def config_load(self, slot: int, offset: int, size: int = 4) -> int:
        self.ask(f"outl 0xcf8 {0x80000000 | slot << 11 | offset & 0xFC:#x}")
        return int(self.ask(f"in{'bwl'[size.bit_length() - 1]} {0xCFC + (offset & 3):#x}"), 16)

    def config_store(self, slot: int, offset: int, value: int, size: int = 4) -> None:
        self.ask(f"outl 0xcf8 {0x80000000 | slot << 11 | offset & 0xFC:#x}")
        self.ask(f"out{'bwl'[size.bit_length() - 1]} {0xCFC + (offset & 3):#x} {value:#x}")

    def place(self, slot: int, address: int, bar: int = 0, command: int = 6) -> int:
        """Give a BAR its place, and turn decoding and bus mastering on."""
        self.config_store(slot, 0x10 + 4 * bar, address)
        self.config_store(slot, 4, command, 2)
        return address

    def reset(self) -> None:
        """What a guest does through the reset control register."""
        self.ask("outb 0xcf9 0x06")

    def until(self, address: int, value: int, size: int = 4) -> None:
        """Wait until RAM holds the value: interrupts and DMA come when QEMU's main loop has them."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.load(address, size)) != value:
            assert time.monotonic() < deadline, f"{found:#x} at {address:#x}; {self.log}"
