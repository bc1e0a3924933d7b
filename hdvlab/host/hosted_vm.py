"""The VM of a host, as :class:`hdvlab.systems.qemu.vm.Vm` is one of this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hdvlab.host.connection import Connection
from hdvlab.host.wire import packed, unpacked
from hdvlab.systems.qemu.agent import Completed
from hdvlab.systems.qemu.vm import console_end, file_to_put


class HostedVm:
    """Asks its host; looking tells how it stands at that moment."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def _state(self) -> dict[str, Any]:
        return dict(self._call("vm_state"))

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return bool(self._state()["running"])

    @property
    def state(self) -> str:
        """``"off"``, ``"booting"``, ``"running"``, ``"paused"`` or ``"held"`` (a device owes it an answer)."""
        return str(self._state().get("state", "off"))

    @property
    def boot_seconds(self) -> float | None:
        """From QEMU's start to a guest that answered."""
        seconds: float | None = self._state().get("boot_seconds")
        return seconds

    @property
    def pid(self) -> int:
        """QEMU's process; 0 where it is off."""
        return int(self._state().get("pid", 0))

    def why_silent(self) -> str:
        """Why the VM may not answer now; "" where there is no reason known."""
        return str(self._state().get("why_silent", "the VM is off"))

    def wait_booted(self, timeout: float = 120.0) -> float:
        """Wait until the guest answers; seconds since the start."""
        return float(self._call("wait_booted", timeout=timeout))

    def pause(self) -> None:
        """Stop the VM's CPUs; devices are not told."""
        self._call("vm_action", action="pause")

    def resume(self) -> None:
        """Let them go on."""
        self._call("vm_action", action="resume")

    def reset(self) -> None:
        """The reset button. Returns at once; :meth:`wait_booted` waits."""
        self._call("vm_action", action="reset")

    def power_off(self, timeout: float = 20.0) -> None:
        """Have the guest power off in good order, within ``timeout`` seconds."""
        self._call("vm_action", action="power_off", timeout=timeout)

    def kill(self) -> None:
        """Pull the plug."""
        self._call("vm_action", action="kill")

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a shell command in the guest; see :meth:`hdvlab.systems.qemu.vm.Vm.run`."""
        told = self._call(
            "sh", on_progress=on_output, sees_end=True, gives_way=True,
            command=command, name="", stdin=packed(stdin), timeout=timeout,
        )  # fmt: skip
        return Completed(told["status"], unpacked(told["output"]))

    def put(self, source: bytes | str | os.PathLike[str], path: str, mode: int | None = None) -> int:
        """Copy bytes, or a file of this computer, into the guest; how many bytes. A file keeps its mode."""
        data, own_mode = file_to_put(source)
        return int(self._call("put", data=packed(data), path=path, mode=own_mode if mode is None else mode))

    def get(self, path: str) -> bytes:
        """A file of the guest's."""
        return unpacked(self._call("get", path=path))

    def console(self) -> str:
        """All that serial port 1 has said, as text."""
        return str(self._call("console"))

    def console_tail(self, lines: int = 20) -> str:
        """The last lines of it."""
        return console_end(self.console(), lines)

    def __repr__(self) -> str:
        return str(self._state().get("shown", "<VM: off>"))
