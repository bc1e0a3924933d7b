"""One power-on of the machine: from cold to enumerated, and back."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType

from hdvlab._core import lib
from hdvlab.device import Fault, Pluggable
from hdvlab.errors import HandleError, HdvError, check
from hdvlab.guest import Function, Guest, RamAllocator, VectorAllocator
from hdvlab.hdv import Broker, DeviceHost, RemoteHost
from hdvlab.lab.plugged import Plugged
from hdvlab.stepping.gate import Gate
from hdvlab.systems import EmbeddedMachine
from hdvlab.systems.firmware import Placement, configure
from hdvlab.systems.qemu.machine import VfioUserMachine
from hdvlab.trace.schema import Origin


class Power:
    """A machine, from power-on to power-off.

    Every step may be cut short by Ctrl-C anywhere; :meth:`unplug` and :meth:`off` undo what there is to undo, and may
    themselves be called again.

    Parameters
    ----------
    machine : EmbeddedMachine or VfioUserMachine
        Created, not started.
    report : callable
        Told of each new fault of a device.
    source_of : callable
        Numbers a Python frame's current line for the ``pc`` column.
    """

    def __init__(
        self,
        machine: EmbeddedMachine | VfioUserMachine,
        report: Callable[[Fault], None],
        source_of: Callable[[FrameType], int],
    ) -> None:
        self.machine: EmbeddedMachine | VfioUserMachine = machine
        self._report = report
        self._source_of = source_of
        self._placement = Placement()
        self.ram = RamAllocator(machine.ram_size)
        self.vectors = VectorAllocator()
        self.is_on = False
        #: What was plugged in, without keeping it: its author may have it know the lab.
        self._devices: list[weakref.ref[Pluggable]] = []
        #: Let device hosts of other processes in.
        self.brokers: list[Broker] = []
        self.host = DeviceHost(machine.handle)
        #: What the library calls as long as the machine is there.
        self.gate: Gate | None = None

    def on(self, plugged: Sequence[Plugged]) -> None:
        """Power on with these in the slots; what fails is left to :meth:`off`."""
        for one in plugged:
            self._attach(one)
        self.machine.start()
        for one in plugged:
            self._enumerate(one)
        self.is_on = True

    def _attach(self, one: Plugged) -> None:
        self._devices = [known for known in self._devices if known() is not None and known() is not one.device]
        self._devices.append(weakref.ref(one.device))
        one.handle = one.device.attach(self.host, one.instance_id, one.name, self._report)
        check(lib.hdvlab_device_set_index(one.handle, one.index), "set_index")
        self.machine.add_slot(one.slot, one.device.class_id, one.instance_id, one.configuration)

    def _enumerate(self, one: Plugged) -> None:
        """What firmware does, as the guest; then the user's own view of the result."""
        firmware = self.function(one, Origin.guest)
        configure(firmware, self._placement.of(one.slot))
        mine = self.function(one, Origin.user)
        mine.keeps = one  # and it the lab: who has a BAR in hand has not forgotten the lab
        for bar in firmware.bars.values():
            mine.map_bar(bar.index, bar.address, bar.size)
        one.power_on(mine)

    def function(self, one: Plugged, origin: Origin) -> Function:
        """A new view of a device's PCI function for somebody, knowing what is known of its BARs."""
        function = Function(self.machine, one.slot, one.name, one.maps, origin, self._source_of)
        if one.function is not None:
            for bar in one.function.bars.values():
                function.map_bar(bar.index, bar.address, bar.size)
        return function

    def plug(self, one: Plugged) -> None:
        """Hot plug: the device is powered on, then enumerated."""
        self._attach(one)
        self._enumerate(one)

    def unplug(self, one: Plugged) -> None:
        """Hot unplug: Stop, Teardown, and the BARs' places are free again. Nothing when it is out already."""
        one.device.detach(one.instance_id)
        self._placement.release_all(one.slot)
        one.power_off()

    def guest(self, plugged: Iterable[Plugged]) -> Guest:
        """What a driver function receives."""
        functions = {one.name: self.function(one, Origin.guest) for one in plugged}
        return Guest(self.machine, functions, self.ram, self.vectors, self._is_held)

    def _is_held(self) -> bool:
        return self.gate is not None and bool(self.gate.stops())

    def let_in(
        self,
        path: str | os.PathLike[str],
        budget: float,
        changed: Callable[[RemoteHost], None],
        refused: Callable[[HdvError], None],
    ) -> Broker:
        """Let device hosts of other processes in; who listens at ``path`` already goes on, with the new budget.

        Parameters
        ----------
        path : path
            Socket to make.
        budget : float
            Seconds that a guest waits for one answer.
        changed, refused : callable
            Told of a host that comes, hangs or ends, and of one that was not let in; on threads of the broker's.
        """
        for known in list(self.brokers):
            if not known.listening:
                known.close()  # what Ctrl-C left of it
                self.brokers.remove(known)
        for known in self.brokers:
            if known.path.absolute() == Path(path).expanduser().absolute():
                known.budget = budget
                return known
        handle = self.machine.handle
        broker = Broker(handle, path, budget=budget, changed=changed, refused=refused, listening=False)
        self.brokers.append(broker)  # before it has a thread, wherever Ctrl-C comes
        broker.listen()
        return broker

    def quiesce(self) -> None:
        """What runs in the machine ends, before its devices do."""

    def off(self, plugged: Iterable[Plugged]) -> None:
        """Power off: Stop and Teardown for every device; the machine is gone afterwards. Again is nothing."""
        self.is_on = False
        self.end()
        for one in plugged:
            one.device.detach(one.instance_id)
            one.power_off()

    def end(self) -> None:
        """The same without what the lab knows of its devices."""
        try:
            for broker in self.brokers:
                broker.close()
            with contextlib.suppress(HandleError):
                self.host.teardown()
        finally:
            with contextlib.suppress(HandleError):
                self.machine.close()
        for known in self._devices:
            if (device := known()) is not None:
                device.join_work(0)  # it has had its Teardown: what it holds of the power-on is given back


class Switch:
    """What outlives a lab that was forgotten: the machine that is to be switched off. Must not refer to the lab."""

    def __init__(self) -> None:
        self.power: Power | None = None

    def off(self) -> None:
        """Switch the machine off; its lab is gone."""
        power, self.power = self.power, None
        if power is not None:
            power.end()
