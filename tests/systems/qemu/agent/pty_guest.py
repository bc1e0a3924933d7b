"""The agent on a pseudo terminal of this machine: everything but the guest and its serial port."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import threading
import tty
from pathlib import Path


class PtyGuest:
    """The agent, with a UNIX socket before it as QEMU has one; what passes can be held and disturbed."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.path = folder / "agent"
        self.to_host: list[bytes] = []
        """What is put between the agent's bytes, before the next of them."""
        self.to_agent: list[bytes] = []
        self.drop_to_host = 0
        """So many of the next bytes from the agent are lost."""
        self.drop_to_agent = 0
        self.passing = threading.Event()
        self.passing.set()
        self._binary = binary
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(self.path))
        self._listener.listen()
        self._wake_read, self._wake_write = os.pipe()
        self._ended = False
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.process = self._start()
        self._thread = threading.Thread(target=self._pump, name="pty-guest")
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self._binary, os.ttyname(self._slave)], stdin=subprocess.DEVNULL)

    def reset(self) -> None:
        """Kill the agent and start another, as a reboot of the guest does."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def close(self) -> None:
        """End all of it. Idempotent."""
        if self._ended:
            return
        self.passing.set()
        self._ended = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        self.process.kill()
        self.process.wait()
        self._listener.close()
        for fd in (self.master, self._slave, self._wake_read, self._wake_write):
            os.close(fd)

    def _pump(self) -> None:
        while not self._ended:
            ready, _, _ = select.select([self._listener, self._wake_read, self.master], [], [])
            if self.master in ready:
                os.read(self.master, 65536)  # nobody is connected: QEMU drops it
            if self._listener in ready:
                with self._listener.accept()[0] as connection:
                    self._carry(connection)

    def _carry(self, connection: socket.socket) -> None:
        while not self._ended:
            ready, _, _ = select.select([connection, self._wake_read, self.master], [], [])
            self.passing.wait()
            if self.master in ready:
                data = os.read(self.master, 65536)
                lost, self.drop_to_host = min(self.drop_to_host, len(data)), max(0, self.drop_to_host - len(data))
                noise = b"".join(self.to_host)
                self.to_host.clear()
                try:
                    connection.sendall(noise + data[lost:])
                except OSError:
                    return
            if connection in ready:
                data = connection.recv(1024)
                if not data:
                    return
                lost, self.drop_to_agent = min(self.drop_to_agent, len(data)), max(0, self.drop_to_agent - len(data))
                data = b"".join(self.to_agent) + data[lost:]
                self.to_agent.clear()
                while data:
                    data = data[os.write(self.master, data) :]
