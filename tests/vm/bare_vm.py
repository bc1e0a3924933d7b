"""QEMU by hand: no lab, no device of hdvlab's, just a guest with the agent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hdvlab.systems.qemu.agent import Agent, agent_binary
from hdvlab.systems.qemu.setup import Installation, build_initramfs

#: Seconds for a boot on a machine that does much else.
BOOT = 180.0


class BareVm:
    """A running VM with its agent connected."""

    def __init__(self, installation: Installation, folder: Path, devices: Sequence[str]) -> None:
        self._folder = folder
        files: dict[str, bytes | Path] = {"/agent": agent_binary()}
        initramfs = build_initramfs(installation, available=["uio_pci_generic"], files=files)
        command = [*installation.qemu, "-machine", "q35,accel=tcg,memory-backend=ram", "-m", "256M"]
        command += ["-object", "memory-backend-memfd,id=ram,size=256M,share=on", "-nodefaults", "-display", "none"]
        command += ["-chardev", f"file,id=console,path={folder / 'console'}", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=agent,path={folder / 'agent'},server=on,wait=off"]
        command += ["-serial", "chardev:agent", "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
        command += ["-kernel", str(installation.kernel), "-initrd", str(initramfs)]
        command += ["-append", "console=ttyS0 quiet panic=-1"]
        for one in devices:
            command += ["-device", one]
        self.process = subprocess.Popen(command, env={**os.environ, **installation.environment})
        self.agent = Agent(folder / "agent")
        try:
            self.agent.connect(BOOT)
        except BaseException:
            self.close()
            raise

    def qmp(self, execute: str) -> Any:
        """Run one command of QEMU's monitor."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(os.fspath(self._folder / "qmp"))
            with connection.makefile("rw") as lines:
                lines.readline()
                answers = []
                for one in ("qmp_capabilities", execute):
                    lines.write(json.dumps({"execute": one}) + "\n")
                    lines.flush()
                    while "event" in (answer := json.loads(lines.readline())):
                        pass
                    answers.append(answer)
        return answers[-1]["return"]

    def close(self) -> None:
        self.agent.close()
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> BareVm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
