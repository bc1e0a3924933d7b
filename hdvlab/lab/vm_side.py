"""The VM of a lab, as far as it is looked at and used; :meth:`hdvlab.Lab.boot` starts it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hdvlab.errors import HdvError, StateError
from hdvlab.lab.plugged import Plugged
from hdvlab.lab.power import Power
from hdvlab.lab.shell import ShellRun, ShellWait
from hdvlab.lab.stepping import SteppingLab
from hdvlab.systems.qemu.machine import VfioUserMachine
from hdvlab.trace.schema import Kind

if TYPE_CHECKING:
    from hdvlab.systems import EmbeddedMachine
    from hdvlab.systems.qemu.vm import Vm


class LabWithVm(SteppingLab):
    """A lab whose machine may be a VM."""

    _kind: str
    waits_while_held = False
    """Whether :meth:`sh` waits on where the guest is held: in a device host, whose clients do not."""

    @property
    def _power(self) -> Power | None:
        raise NotImplementedError

    @property
    def machine(self) -> EmbeddedMachine | VfioUserMachine:
        """The machine that is on."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Plugged]:
        raise NotImplementedError

    @property
    def has_vm(self) -> bool:
        """Whether its machine is a VM, on or off."""
        return self._kind == "vm"

    @property
    def vm_booted(self) -> bool:
        """Whether a VM was booted since the devices are on; it may have ended."""
        return getattr(self._power, "vm", None) is not None

    @property
    def vm_running(self) -> bool:
        """Whether a VM runs."""
        vm: Vm | None = getattr(self._power, "vm", None)
        return vm is not None and vm.running

    def served(self, one: Plugged) -> str:
        """How a device stands with the VM, in a few words."""
        machine = self.machine
        if not isinstance(machine, VfioUserMachine):
            return "in the embedded machine"
        state = machine.state(one.slot)
        hung = ", does not answer" if state.hung else ""
        what = f", interrupts: {state.interrupt_mode}, {state.messages:,} messages" if state.is_connected else ""
        return f"{state.state}{hung}{what}"

    @property
    def vm(self) -> Vm:
        """The VM.

        Raises
        ------
        StateError
            None was booted.
        """
        vm: Vm | None = getattr(self._power, "vm", None)
        if vm is None:
            raise StateError("there is no VM; boot one: lab.boot() or %hdv boot")
        return vm

    def sh(
        self,
        command: str,
        *,
        name: str = "",
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ShellRun:
        """Run a shell command in the VM's guest; the run is its output, its status and the rows of that time.

        Parameters
        ----------
        command : str
            For ``/bin/sh``; several lines are a script.
        name : str
            Keep the run in :attr:`runs` under this name.
        stdin : bytes
            What it reads.
        timeout : float, optional
            Seconds; then it is killed and StateError raised.
        on_output : callable, optional
            Called with each piece of output as it comes.
        """
        vm = self.vm
        run = ShellRun(self, name or "sh", command)
        if name:
            self.runs[name] = run
        known = self.stepper.tickets()
        try:
            waiting = ShellWait(vm.start_command(command, stdin), run, timeout, on_output)
            try:
                if self.waits_while_held:
                    waiting.finish()
                else:
                    self._finished(run, waiting.is_running, waiting.finish, known)
            except KeyboardInterrupt:
                waiting.stop()
                raise
        finally:
            if not any(one.run is run for one in self.stepper.pending):
                run.end()
        self.warn_of_loss()
        return run

    def is_posted(self, kind: Kind) -> bool:
        """Whether the guest does not wait for accesses of a kind: a VM's writes to memory BARs, unless told to."""
        vm: Vm | None = getattr(self._power, "vm", None)
        return vm is not None and vm.options.posted_writes and kind in (Kind.mmio_write, Kind.doorbell)

    def hung(self) -> dict[str, int]:
        """Devices that owe the VM an answer, and the thread (``pthread_t``) that each hangs in; 0 = not known."""
        power = self._power
        if power is None or not isinstance(machine := power.machine, VfioUserMachine):
            return {}
        found = {}
        for one in list(self):
            with contextlib.suppress(HdvError):  # not served now
                if machine.state(one.slot).hung:
                    found[one.name] = machine.hung_thread(one.slot)
        return found
