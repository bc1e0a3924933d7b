"""One power-on of the machine: from cold to enumerated, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FrameType

from hdvlab._core import lib
from hdvlab.device import Fault
from hdvlab.errors import HdvError, HResult, check
from hdvlab.guest import Function, Guest, RamAllocator, VectorAllocator
from hdvlab.hdv import Broker, DeviceHost
from hdvlab.lab.plugged import Plugged
from hdvlab.systems import EmbeddedMachine
from hdvlab.systems.firmware import Placement, configure
from hdvlab.trace.schema import Origin


class Power:
    """A machine that is on.

    Parameters
    ----------
    machine : EmbeddedMachine
        Created, not started.
    plugged : sequence of Plugged
        What is in the slots when power comes on.
    report : callable
        Told of each new fault of a device.
    source_of : callable
        Numbers a Python frame's current line for the ``pc`` column.
    """

    def __init__(
        self,
        machine: EmbeddedMachine,
        plugged: Sequence[Plugged],
        report: Callable[[Fault], None],
        source_of: Callable[[FrameType], int],
    ) -> None:
        self.machine = machine
        self._report = report
        self._source_of = source_of
        self._placement = Placement()
        self.ram = RamAllocator(machine.ram_size)
        self.vectors = VectorAllocator()
        #: Let device hosts of other processes in.
        self.brokers: list[Broker] = []
        self.host = DeviceHost(machine.handle)
        try:
            for one in plugged:
                self._attach(one)
            machine.start()
            for one in plugged:
                self._enumerate(one)
        except BaseException:
            self.off(plugged)
            raise

    def _attach(self, one: Plugged) -> None:
        one.handle = one.device.attach(self.host, one.instance_id, one.name, self._report)
        check(lib.hdvlab_device_set_index(one.handle, one.index), "set_index")
        self.machine.add_slot(one.slot, one.device.class_id, one.instance_id, one.configuration)

    def _enumerate(self, one: Plugged) -> None:
        """What firmware does, as the guest; then the user's own view of the result."""
        firmware = self.function(one, Origin.guest)
        try:
            configure(firmware, self._placement)
        except BaseException:
            for bar in firmware.bars.values():
                self._placement.release(bar.address)
            raise
        mine = self.function(one, Origin.user)
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
        try:
            self._attach(one)
            try:
                self._enumerate(one)
            except BaseException:
                self.machine.remove_slot(one.slot)
                raise
        except BaseException:
            one.power_off()
            raise

    def unplug(self, one: Plugged) -> None:
        """Hot unplug: Stop, Teardown, and the BARs' places are free again."""
        try:
            self.machine.remove_slot(one.slot)
        except HdvError as error:  # Ctrl-C may have come between this and what follows: then it is out already
            if error.hresult != HResult.ERROR_NOT_FOUND:
                raise
        if one.function is not None:
            for bar in one.function.bars.values():
                self._placement.release(bar.address)
        one.power_off()

    def guest(self, plugged: Iterable[Plugged]) -> Guest:
        """What a driver function receives."""
        functions = {one.name: self.function(one, Origin.guest) for one in plugged}
        return Guest(self.machine, functions, self.ram, self.vectors)

    def off(self, plugged: Iterable[Plugged]) -> None:
        """Power off: Stop and Teardown for every device; the machine is gone afterwards."""
        try:
            for broker in self.brokers:
                broker.close()
            self.host.teardown()
        finally:
            self.machine.close()
            for one in plugged:
                one.power_off()
