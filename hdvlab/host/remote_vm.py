"""The VM of a device host, as the notebook handles it; as :class:`hdvlab.systems.qemu.vm.Vm` is one of this process."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from hdvlab.errors import HResult, StateError, UsageError
from hdvlab.host.connection import Connection
from hdvlab.host.wire import packed, unpacked
from hdvlab.systems.qemu.agent import Completed
from hdvlab.systems.qemu.vm import BOOT_TIMEOUT, console_end, file_to_put

_SLICE = 0.5


class RemoteVm:
    """Every use is a message to the host, and any number of notebooks may use it at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._showing: dict[int, Callable[[bytes], None]] = {}

    def _state(self) -> dict[str, Any]:
        told: dict[str, Any] = self._connection.call("vm_state")
        return told

    def take_event(self, event: dict[str, Any]) -> None:
        """A piece of a command's output."""
        show = self._showing.get(event["number"])
        if show is not None:
            show(unpacked(event["data"]))

    @property
    def booted(self) -> bool:
        """Whether there is one; it may have ended."""
        return bool(self._state()["state"] != "none")

    @property
    def state(self) -> str:
        """See :attr:`Vm.state`."""
        return str(self._state()["state"])

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return self.state not in ("none", "off")

    @property
    def boot_seconds(self) -> float | None:
        """From QEMU's start to a guest that answers."""
        return self._state().get("boot_seconds")

    def served(self, name: str) -> str:
        """How a device stands with the VM."""
        return str(self._state().get("served", {}).get(name, "waiting for a VM"))

    def wait_booted(self, timeout: float = BOOT_TIMEOUT) -> float:
        """See :meth:`Vm.wait_booted`."""
        deadline = time.monotonic() + timeout
        while (seconds := self._connection.call("wait_booted", timeout=_SLICE)) is None:
            if time.monotonic() > deadline:
                last = self.console_tail(1) or "(nothing)"
                raise StateError(
                    f"no guest within {timeout:g} s; its console's last line: {last}", HResult.ERROR_TIMEOUT
                )
        return float(seconds)

    def pause(self) -> None:
        """See :meth:`Vm.pause`."""
        self._connection.call("vm_power", action="pause")

    def resume(self) -> None:
        """See :meth:`Vm.resume`."""
        self._connection.call("vm_power", action="resume")

    def reset(self) -> None:
        """See :meth:`Vm.reset`."""
        self._connection.call("vm_power", action="reset")

    def power_off(self, timeout: float = 20.0) -> None:
        """See :meth:`Vm.power_off`."""
        self._connection.call("vm_power", action="power_off", timeout=timeout)

    def kill(self) -> None:
        """See :meth:`Vm.kill`."""
        self._connection.call("vm_power", action="kill")

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """See :meth:`Vm.run`."""
        number = next(self._numbers)
        if on_output is not None:
            self._showing[number] = on_output
        try:
            told = self._connection.call("vm_run", command=command, stdin=packed(stdin), timeout=timeout, number=number)
        finally:
            self._showing.pop(number, None)
        return Completed(told["status"], unpacked(told["output"]))

    def put(self, source: bytes | str | os.PathLike[str], path: str, mode: int | None = None) -> int:
        """See :meth:`Vm.put`."""
        data, own_mode = file_to_put(source)
        self._connection.call("vm_put", data=packed(data), path=path, mode=own_mode if mode is None else mode)
        return len(data)

    def get(self, path: str) -> bytes:
        """See :meth:`Vm.get`."""
        if not path:
            raise UsageError("say which file of the guest's")
        return unpacked(self._connection.call("vm_get", path=path))

    def console(self) -> str:
        """See :meth:`Vm.console`."""
        return str(self._connection.call("vm_console"))

    def console_tail(self, lines: int = 20) -> str:
        """See :meth:`Vm.console_tail`."""
        return console_end(self.console(), lines)

    def __repr__(self) -> str:
        return str(self._state()["shown"])
