"""The lab: a machine, the devices in it, and the trace of everything they do."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from hdvlab._core import lib
from hdvlab.device import Device, Fault, Pluggable, RemoteDevice
from hdvlab.device.reload import CannotReloadError, Changes, reload_device
from hdvlab.errors import HdvError, StateError, UsageError, check
from hdvlab.hdv import Broker
from hdvlab.lab.forgotten import make_room, when_forgotten
from hdvlab.lab.guest_side import LabWithGuest
from hdvlab.lab.looking import LookingLab
from hdvlab.lab.plugged import Plugged
from hdvlab.lab.power import Power, Switch
from hdvlab.lab.slot import check_configuration, check_name, choose_slot, device_info, make_device, refused_step
from hdvlab.lab.stepping import held_text
from hdvlab.lab.teller import Teller
from hdvlab.stepping.stepper import Stepper
from hdvlab.systems import EmbeddedMachine
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.lease import Lease
from hdvlab.systems.qemu.machine import VfioUserMachine
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import SourceLine

if TYPE_CHECKING:
    from hdvlab.systems.qemu.setup import Progress
    from hdvlab.systems.qemu.vm import Vm

DEFAULT_RAM = 64 << 20

_LIFE = frozenset({Kind.initialize, Kind.set_configuration, Kind.get_details, Kind.start, Kind.stop, Kind.teardown})

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _alone(method: Callable[Concatenate[Lab, _P], _R]) -> Callable[Concatenate[Lab, _P], _R]:
    """One thread at a time plugs, unplugs and switches the power of a lab."""

    @functools.wraps(method)
    def guarded(self: Lab, /, *arguments: _P.args, **named: _P.kwargs) -> _R:
        self._say_if_held()
        with self._door:
            self._settle()
            return method(self, *arguments, **named)

    return guarded


class Lab(LookingLab, LabWithGuest):
    """A machine with devices, recorded.

    Parameters
    ----------
    machine : {"embedded", "vm"}
        The machine of this process, or a Linux VM that :meth:`boot` starts.
    ram : int
        Guest RAM of the embedded machine in bytes, whole pages; 64 MiB by default.
    trace : path, optional
        Directory to record into; a temporary one that goes with the lab when not given.
    clock : {"auto", "tsc", "monotonic", "manual"}
        What ``t_ns`` is taken from.
    max_rows : int, optional
        Most rows of the recording, which reserves 122 bytes of address space for each; 2^30 by default.
    record_sections : bool
        Also record accesses to section-backed pages.
    budget : float, optional
        Seconds that a VM's guest waits for one answer of a device; then it is answered all ones, the row says
        ``ERROR_TIMEOUT``, and the device is told of as hung. None: for ever.

    Examples
    --------
    >>> lab = Lab()
    >>> blink = lab.plug(Blink)          # powers the machine on
    >>> blink.bar0.CTRL.write(1)
    >>> lab.trace.frame(decode=True)
    """

    def __init__(
        self,
        *,
        machine: Literal["embedded", "vm"] = "embedded",
        ram: int = DEFAULT_RAM,
        trace: str | os.PathLike[str] | None = None,
        clock: str = "auto",
        max_rows: int = 1 << 30,
        record_sections: bool = False,
        budget: float | None = 2.0,
    ) -> None:
        if machine not in ("embedded", "vm"):
            raise UsageError(f"machine={machine!r}: it is 'embedded' or 'vm'")
        make_room()
        super().__init__()
        self.trace: Recorder = Recorder.create(None if trace is None else Path(trace), clock=clock, max_rows=max_rows)
        self._kind = machine
        self._budget = budget
        self._ram = ram
        self._record_sections = record_sections
        self._plugged: dict[str, Plugged] = {}
        self._switch = Switch()
        self._moving: list[Plugged] = []
        """On its way in or out: what Ctrl-C leaves here is taken out by whoever comes next."""
        self._remember = when_forgotten(self, self._switch.off)
        self._teller = Teller(self)
        self._stepper = Stepper(self)
        self._door = threading.RLock()
        """Held by whoever plugs, unplugs, or switches the power."""
        self.vm_lease: Lease | None = None
        """How long a VM may outlive this process; 5 seconds where nothing is said."""

    # ---- devices -----------------------------------------------------------------------------------------------

    @_alone
    def plug(
        self,
        device: Pluggable | type[Device],
        *,
        name: str | None = None,
        slot: int | None = None,
        configuration: Sequence[str] = (),
    ) -> Plugged:
        """Put a device into a slot and power the machine on if it is off.

        A device that already has the name gives its place up, so re-running a cell swaps the device.

        Parameters
        ----------
        device : Device, subclass or CompiledDevice
            A class is instantiated without arguments.
        name : str, optional
            How the lab calls it; the class's name in lower case when not given.
        slot : int, optional
            0 to 31; the first free one from 1, or the one that the name had, when not given.
        configuration : sequence of str
            ``key=value`` strings for :meth:`Device.configure`.

        Raises
        ------
        HdvError
            What a lifecycle callback of the device failed with; then nothing is plugged in.
        """
        check_configuration(configuration)
        device = make_device(device)
        name = name or device.type_name.lower()
        check_name(name)
        before = self._plugged.get(name)
        slot = choose_slot(list(self), before, slot)
        one = Plugged(self, device, name, slot, configuration, self.trace.add_device(device_info(device, name, slot)))
        if before is None or before.device is not device:
            device.require_free()
        if before is not None and self._goes_on_with(before, device):
            return before
        if before is not None:
            self.unplug(name)
        began = len(self.trace)
        try:
            self._moving.append(one)
            self._plugged[name] = one
            self._stepper.resolve()
            if self._power is None:
                self._switch_on()
            else:
                self._power.plug(one)
            self._moving.clear()
        except BaseException as error:
            self._settle()
            self._teller.kept.extend(fault.without_traceback() for fault in device.faults)
            step = refused_step(self.trace[began:].columns(), one.index)
            if isinstance(error, HdvError) and (device.faults or step):
                gone = f"; the {name} that was there before is out" if before is not None else ""
                reason = f"its {step} answered {error.symbol}"
                if device.faults:
                    last = device.faults[-1]
                    reason = f"its {last.operation} failed: {last.error}"
                raise type(error)(f"{name} is not plugged in, because {reason}{gone}", error.hresult) from None
            raise
        return one

    @_alone
    def reload(self, name: str, device: type[Device]) -> Changes:
        """Let a plugged-in device go on with new code, its state kept; see :func:`hdvlab.device.reload.reload_device`.

        Raises
        ------
        CannotReloadError
            The machine would notice; nothing has changed.
        """
        one = self[name]
        if not isinstance(one.device, Device):
            raise CannotReloadError(f"{name} is no device in Python")
        changes = reload_device(one.device, device)
        one.index = self.trace.add_device(device_info(one.device, name, one.slot))
        if one.handle is not None:
            check(lib.hdvlab_device_set_index(one.handle, one.index), "set_index")
        one.described_anew()
        self._stepper.resolve()
        return changes

    @_alone
    def unplug(self, name: str) -> None:
        """Take a device out; on a running machine it is stopped and torn down first."""
        one = self[name]
        if self._power is not None:
            self._stepper.let_go(name)
            one.wait_idle()
        self._moving.append(one)
        try:
            self._settle()
        except StateError:  # this is a callback: it is in as before
            self._moving.remove(one)
            raise
        except BaseException:  # Ctrl-C, while it stopped
            self._settle()
            raise

    def _settle(self) -> None:
        """Finish what is under way, or was when Ctrl-C came: what was on its way in or out is out, a machine that was
        being switched on or off is off."""
        power = self._switch.power
        if power is not None and not power.is_on:
            power.off(self)
            for one in [one for one in self if isinstance(one.device, RemoteDevice)]:
                del self._plugged[one.name]  # its process ends with the machine
            self._switch.power = None
            self._stepper.detach()
        while self._moving:
            one = self._moving[-1]
            if self._power is not None:
                self._power.unplug(one)
            if self._plugged.get(one.name) is one:
                del self._plugged[one.name]
            self._moving.pop()
            self._stepper.resolve()

    def __getitem__(self, name: str) -> Plugged:
        try:
            return self._plugged[name]
        except KeyError:
            known = ", ".join(self._plugged) or "nothing"
            raise UsageError(f"no device {name!r} is plugged in; there is {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._plugged

    def __iter__(self) -> Iterator[Plugged]:
        return iter(list(self._plugged.values()))

    # ---- power -------------------------------------------------------------------------------------------------

    @property
    def _power(self) -> Power | None:
        power = self._switch.power
        return power if power is not None and power.is_on else None

    @property
    def running(self) -> bool:
        """Whether the machine is on."""
        return self._power is not None

    @property
    def machine(self) -> EmbeddedMachine | VfioUserMachine:
        """The machine that is on.

        Raises
        ------
        StateError
            It is off.
        """
        if self._power is None:
            raise StateError("the machine is off; start it: lab.start() or %hdv start")
        return self._power.machine

    @_alone
    def start(self) -> None:
        """Power on: every device's Initialize, SetConfiguration, GetDetails and Start, then firmware places the BARs.

        Registers have their reset values. Raises what a callback failed with; the machine is off then.
        """
        if self._power is not None:
            raise StateError("the machine is on already")
        self._switch_on()

    def _switch_on(self) -> None:
        power: Power
        if self._kind == "vm":
            from hdvlab.lab.vm_power import VmPower

            served = VfioUserMachine(self.trace.handle, self._record_sections)
            stopped = held_text(self._stepper)
            teller = self._teller.fault
            power = VmPower(served, teller, self.trace.source_of, self.trace, self._budget, self.vm_lease, stopped)
        else:
            machine = EmbeddedMachine(self._ram, self.trace.handle, self._record_sections)
            power = Power(machine, self._teller.fault, self.trace.source_of)
        try:
            self._switch.power = power  # from here on whoever comes next switches it off, wherever Ctrl-C comes
            power.gate = self._stepper.attach(power.machine.handle)
            power.on(list(self))
        except BaseException:
            power.off(self)
            self._switch.power = None
            self._stepper.detach()
            raise

    def stop(self) -> None:
        """Power off: guest programs are stopped, then every device gets Stop and Teardown. The trace stays."""
        self._stepper.let_go()  # also what keeps the thread that has the door: a step of a device's life
        self._stop()

    def _say_if_held(self) -> None:
        """Raise where whoever has the door is held at the gate: it would be waited for."""
        for stop in self._stepper.read_stops():
            if Kind[stop.kind] in _LIFE:
                raise StateError(f"the machine is held at {stop.short}; %hdv continue lets it go on")

    @_alone
    def _stop(self) -> None:
        if self._power is None:
            raise StateError("the machine is off already")
        self._stepper.let_go()
        self._power.quiesce()
        self._stop_programs()
        for one in self:
            one.wait_idle()
        self._programs.clear()
        power = self._power
        power.is_on = False
        try:
            power.machine.stop()
        except StateError:
            power.is_on = True  # as before: this is a callback
            self._stepper.resolve()
            raise
        except BaseException:  # Ctrl-C, while a device stopped
            self._settle()
            raise
        self._settle()

    def close(self) -> None:
        """Power off and end the recording; a temporary trace is removed. Closing twice is nothing."""
        self._stepper.let_go()
        try:
            with self._door:
                if self._power is not None:
                    self.stop()
                else:
                    self._settle()
        finally:
            self._stepper.close()
            self._remember()
            self.trace.close()

    # ---- a VM --------------------------------------------------------------------------------------------------

    @_alone
    def boot(
        self,
        options: VmOptions | None = None,
        *,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Vm:
        """Start the VM with what is plugged in; devices are powered on if they are off.

        QEMU and a Linux kernel are obtained first where they are missing (``hdvlab vm setup``).

        Parameters
        ----------
        options : VmOptions, optional
            Memory, CPUs, kernel and so on.
        wait : bool
            Until the guest answers; else ``lab.vm.wait_booted()`` does. Ctrl-C meanwhile ends the VM.
        progress : callable, optional
            Told of what is obtained.

        Raises
        ------
        StateError
            A VM runs already.
        BackendError
            QEMU did not start, or cannot be obtained.
        """
        if self._kind != "vm":
            raise UsageError("this lab's machine is the embedded one; lab = hdvlab.Lab(machine='vm') has a VM")
        if self._power is None:
            self._switch_on()
        power: Any = self._power
        try:
            known = self._stepper.tickets()
            vm: Vm = power.boot(list(self), options or VmOptions(), progress)
            if wait:
                self._wait_booted(vm, known)
        except KeyboardInterrupt:
            if power.vm is not None:
                power.vm.kill()  # who boots it again starts anew
            raise
        return vm

    # ---- devices in processes of their own -----------------------------------------------------------------------

    @_alone
    def broker(self, path: str | os.PathLike[str], *, budget: float = 1.0) -> Broker:
        """Let device hosts of other processes into this machine; it is powered on if it is off.

        A process that calls ``hdvlab.device.serve(Blink, path)`` makes ``lab.plug(RemoteDevice(Blink))`` work here;
        ``wait_for_host()`` of what this returns waits for it.
        When it ends or hangs the guest reads all ones, a fault row says so and a line is printed; a new process can
        take its place (plug again). The broker ends with the machine's power, and so do its processes.

        Parameters
        ----------
        path : path
            Socket to make; mode 0600, in a directory of mode 0700 if that is made, too. Where this lab listens already,
            it goes on, with the new budget.
        budget : float
            Seconds that a guest waits for one answer, 0.001 to 4.
        """
        if self._power is None:
            self.start()
        assert self._power is not None
        return self._power.let_in(path, budget, self._teller.host_changed, self._teller.host_refused)

    @property
    def brokers(self) -> list[Broker]:
        """Those that listen; ``broker.hosts`` are the processes that came."""
        return [] if self._power is None else [one for one in self._power.brokers if one.listening]

    # ---- the trace ---------------------------------------------------------------------------------------------

    def add_source(self, line: SourceLine) -> int:
        """The number for ``pc`` of a source line; see :meth:`Recorder.add_source`."""
        return self.trace.add_source(line)

    def mark(self, text: str) -> int:
        """Put a line of text into the trace; returns its row."""
        return self.trace.mark(text)

    def report(self, name: str, fault: Fault) -> None:
        """A fault that no callback met: kept by the device, put into the trace, and told."""
        if name in self:
            self[name].device.faults.append(fault)
        self._teller.fault(fault)

    @property
    def faults(self) -> list[Fault]:
        """What failed in the devices' code, also of those that did not get in."""
        return [*self._teller.kept, *(fault for one in self for fault in one.device.faults)]

    def __repr__(self) -> str:
        state = "on" if self.running else "off"
        names = ", ".join(self._plugged) or "no devices"
        return f"<Lab: machine {state}, {names}, {len(self.trace):,} rows>"
