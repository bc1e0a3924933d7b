"""One power-on of a machine whose guest runs in a VM."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import numpy as np

from hdvlab.device import Device, Fault
from hdvlab.errors import StateError, UsageError
from hdvlab.guest import Guest
from hdvlab.lab.plugged import Plugged
from hdvlab.lab.power import Power
from hdvlab.pci import BarDescription
from hdvlab.systems.qemu.command_line import Place, VmOptions
from hdvlab.systems.qemu.lease import Lease
from hdvlab.systems.qemu.machine import VfioUserMachine
from hdvlab.systems.qemu.setup import Progress
from hdvlab.systems.qemu.vm import Vm, installation
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import E_PENDING, Kind, Origin

#: A UNIX socket's path has 107 bytes at most; this is what our names in the directory take.
_LONGEST = 107 - len("/console")


#: An access that takes less holds nobody, nanoseconds.
_MOMENT_NS = 500_000_000
#: What QEMU does not wait for, unless it is told to.
_POSTED = (Kind.mmio_write, Kind.doorbell)

#: Seconds that a VM goes on when this process was killed.
_WITHOUT_US = 5.0


def make_place() -> Place:
    """A directory of its own for a VM's sockets, of mode 0700."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    short = (one for one in (runtime, tempfile.gettempdir(), "/tmp") if one and os.access(one, os.W_OK))
    parent = next((one for one in short if len(os.fsencode(one)) < 60), None)
    place = Path(tempfile.mkdtemp(prefix="hdvlab-vm-", dir=parent))
    if len(os.fsencode(place)) > _LONGEST:
        place.rmdir()
        raise UsageError(f"{place} is too long for sockets; set TMPDIR to a shorter path")
    return Place(place)


class VmPower(Power):
    """Devices that are on and served to a VM, from the first plug to power-off; the VM comes with :meth:`boot`."""

    machine: VfioUserMachine

    def __init__(
        self,
        machine: VfioUserMachine,
        report: Callable[[Fault], None],
        source_of: Callable[[FrameType], int],
        trace: Recorder,
        budget: float | None,
        lease: Lease | None = None,
        stopped: Callable[[bool], str] = lambda with_posted: "",
    ) -> None:
        super().__init__(machine, report, source_of)
        self._trace = trace
        self._budget = budget
        self._at_breakpoint = stopped
        self.place = make_place()
        self._lease = lease or Lease(_WITHOUT_US, self.place.facts)
        self.vm: Vm | None = None
        self._hides = False
        #: Before this row every access of the VM's has been answered.
        self._answered = 0

    def _enumerate(self, one: Plugged) -> None:
        """Firmware is the VM's. A person's accesses go past its bus, through windows that only this side knows."""
        mine = self.function(one, Origin.user)
        mine.keeps = one
        places = self._placement.of(one.slot)
        for index, bar in one.bars.items():
            base = places.place(BarDescription(index, bar.bar_size, bar.bits, bar.prefetchable))
            self.machine.open_window(base, bar.bar_size, one.handle, index)
            mine.map_bar(index, base, bar.bar_size)
        one.power_on(mine)
        self._listen(one)

    def _listen(self, one: Plugged) -> None:
        path, hides = self.place.device(one.slot), self._hides
        self.machine.listen(one.slot, path, hide_capabilities=hides, budget=self._budget)

    def unplug(self, one: Plugged) -> None:
        """Before the boot; out of a running VM nothing can be taken."""
        if self.vm is not None and one.slot in self.vm.slots and self.vm.running:
            raise StateError(f"{one.name} is in a VM that runs; %hdv vm off ends the VM first")
        with contextlib.suppress(StateError):
            self.machine.end(one.slot)
        if one.handle is not None:
            self.machine.close_windows(one.handle)
        super().unplug(one)

    def plug(self, one: Plugged) -> None:
        """Before the boot."""
        if self.vm is not None and self.vm.running:
            raise StateError("the VM runs already; plug devices first, then boot: %hdv vm off, %hdv plug, %hdv boot")
        super().plug(one)

    def guest(self, plugged: Iterable[Plugged]) -> Guest:
        """There is no guest of Python's here."""
        raise StateError("the guest is a VM, where no Python runs; %%hdv sh runs a shell, %%hdv guest a program in C")

    # ---- the VM ------------------------------------------------------------------------------------------------

    def boot(self, plugged: Iterable[Plugged], options: VmOptions, progress: Progress | None) -> Vm:
        """Start the VM with these devices. QEMU, kernel and initramfs are obtained or built where they are missing."""
        if self.vm is not None and self.vm.running:
            raise StateError("the VM is on already; %hdv vm reset starts its guest anew, %hdv vm off ends it")
        plugged = list(plugged)
        here = installation(progress)
        modules: list[str] = []
        for one in plugged:
            if isinstance(one.device, Device):
                modules.extend(one.device.guest_modules)
        if self.vm is not None:
            self.vm.kill()
            self.vm = None
        if options.hide_capabilities != self._hides:
            self._hides = options.hide_capabilities
            for one in plugged:
                self.machine.end(one.slot)
                self._listen(one)
        vm = Vm(self.place, options, [one.slot for one in plugged], self._tell, self.held, self.busy, self.stopped)
        self._answered = len(self._trace)
        self.vm = vm  # before it runs: Ctrl-C from here on leaves what power-off ends
        vm.start(here, self._lease, modules)
        return vm

    def _tell(self, text: str) -> None:
        with contextlib.suppress(Exception):  # the recording has ended, or is full
            self._trace.mark(text)

    def stopped(self) -> str:
        """At which breakpoint the guest is held; "" where at none, or where it has gone on: at a posted write."""
        text = self._at_breakpoint(False)
        if not text and (text := self._at_breakpoint(True)):
            waits, posted = self._unanswered()
            if posted or not waits:
                return ""
        return f"the guest is {text}" if text else ""

    def held(self) -> str:
        """At which access a device holds the guest; "" where none does. The guest does not wait for posted writes."""
        told, posted = self._unanswered()
        return "" if posted or not told else f"the guest is held: {told}"

    def busy(self) -> str:
        """At which access a device is, whether the guest waits for it or only for what comes behind it."""
        told, posted = self._unanswered()
        return f"a device is busy: {told}, and what the guest asks of it next waits" if posted else self.held()

    def _unanswered(self) -> tuple[str, bool]:
        """The first access of the VM's that has waited for more than a moment, and whether it is a posted write."""
        first = self._answered
        recent = self._trace[first : len(self._trace)].columns()
        waiting = np.flatnonzero((recent["status"] == E_PENDING) & (recent["origin"] == Origin.guest))
        self._answered = first + (int(waiting[0]) if len(waiting) else len(recent["status"]))
        since_ns = time.time_ns() - self._trace.began_ns - recent["t_ns"][waiting]
        waiting, since_ns = waiting[since_ns > _MOMENT_NS], since_ns[since_ns > _MOMENT_NS]
        posted = np.isin(recent["kind"][waiting], _POSTED) & (self.vm is not None and self.vm.options.posted_writes)
        if not len(waiting):
            return "", False
        one = int(np.argmin(posted))  # one that the guest does wait for, if there is one
        told = f"row {first + int(waiting[one])} has not been answered for {since_ns[one] / 1e9:.1f} s"
        return told, bool(posted[one])

    def quiesce(self) -> None:
        """The VM goes first: devices that end under it would be dead to it."""
        if self.vm is not None:
            self.vm.kill()
            self.vm = None

    def end(self) -> None:
        """Power off without what the lab knows of its devices."""
        try:
            self.quiesce()
        finally:
            super().end()
            shutil.rmtree(self.place.directory, ignore_errors=True)
