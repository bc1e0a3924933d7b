"""The VM of a host, as the notebook handles it; what runs in its guest goes on when the notebook is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hdvlab.errors import StateError, UsageError
from hdvlab.host.connection import Connection, Ongoing
from hdvlab.host.hosted_stepper import HostedStepper
from hdvlab.host.hosted_vm import HostedVm
from hdvlab.host.record import Record
from hdvlab.host.wire import packed, unpacked
from hdvlab.lab import Plugged
from hdvlab.lab.shell import ShellRun
from hdvlab.lab.stepping import SteppingLab

if TYPE_CHECKING:
    from hdvlab.systems.qemu.command_line import VmOptions
    from hdvlab.systems.qemu.setup import Progress

#: Seconds of one look at a request that is waited for.
_SLICE = 0.05


class RemoteVm(SteppingLab):
    """A host's lab whose machine may be a VM."""

    host: Record
    connection: Connection
    _stepper: HostedStepper

    @property
    def attached(self) -> bool:
        """Whether the host is there, and this is its client."""
        return self.connection.gone is None

    def _waited(self, run: Any, ongoing: Ongoing, take: Callable[[Any], object], known: set[int]) -> Any:
        """Wait for a request that the guest may be held in; Ctrl-C gives it up, at the host, too."""
        try:
            return self._finished(run, lambda: not ongoing.poll(_SLICE), lambda: take(ongoing.result()), known)
        except KeyboardInterrupt:
            ongoing.cancel()
            raise

    def boot(
        self, options: VmOptions | None = None, *, wait: bool = True, progress: Progress | None = None
    ) -> HostedVm:
        """Start the host's VM with what is plugged in; see :meth:`hdvlab.Lab.boot`.

        Raises
        ------
        UsageError
            The host's machine is the embedded one.
        """
        from hdvlab.systems.qemu.command_line import VmOptions
        from hdvlab.systems.qemu.vm import installation

        if not self.has_vm:
            raise UsageError(
                f"host {self.host.name} has an embedded machine; hdvlab.host.start(NAME, machine='vm') has a VM"
            )
        installation(progress)
        given = (options or VmOptions()).to_dict()
        if wait:
            known = self._stepper.tickets()
            ongoing = self.connection.begin("boot", options=given, wait=True)
            self._waited(HostedVm(self.connection), ongoing, lambda told: told, known)
        else:
            self.connection.call("boot", options=given, wait=False)
        return HostedVm(self.connection)

    @property
    def has_vm(self) -> bool:
        """Whether the host's machine is a VM, on or off."""
        return self.host.machine == "vm"

    @property
    def vm_booted(self) -> bool:
        """Whether a VM was booted since the devices are on; it may have ended."""
        return self.has_vm and self.attached and bool(self.connection.call("vm_state")["booted"])

    @property
    def vm_running(self) -> bool:
        """Whether a VM runs."""
        return self.has_vm and self.attached and bool(self.connection.call("vm_state")["running"])

    @property
    def vm(self) -> HostedVm:
        """The VM.

        Raises
        ------
        StateError
            None was booted.
        """
        if not self.vm_booted:
            raise StateError("there is no VM; boot one: lab.boot() or %hdv boot")
        return HostedVm(self.connection)

    def served(self, one: Plugged) -> str:
        """How a device stands with the VM, in a few words."""
        return str(self.connection.call("served", name=one.name))

    def sh(
        self,
        command: str,
        *,
        name: str = "",
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ShellRun:
        """Run a shell command in the VM's guest; see :meth:`hdvlab.Lab.sh`. It goes on when this process dies."""
        run = ShellRun(self, name or "sh", command)
        if name:
            self.runs[name] = run

        def take(told: dict[str, Any]) -> None:
            run.start, run.stop = told["start"], told["stop"]
            run.status, run.output = told["status"], unpacked(told["output"])

        given = {"command": command, "name": name, "stdin": packed(stdin), "timeout": timeout}
        try:
            known = self._stepper.tickets()
            self._waited(run, self.connection.begin("sh", on_progress=on_output, **given), take, known)
        finally:
            if not any(one.run is run for one in self._stepper.pending):
                run.end()
        self.warn_of_loss()
        return run
