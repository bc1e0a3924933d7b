"""A lab in a device host, as the notebook handles it: the same commands, frames and plots as with one of its own."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.device import Device, Fault, Pluggable
from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.host.connection import Connection
from hdvlab.host.hosted import HostedDevice, HostedMachine, list_faults
from hdvlab.host.hosted_stepper import HostedStepper
from hdvlab.host.record import Record
from hdvlab.host.remote_guest import RemoteGuest
from hdvlab.host.remote_looking import RemoteLooking
from hdvlab.host.source import describe_code
from hdvlab.lab import Plugged, Run
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.open import open_trace
from hdvlab.trace.schema import Origin

if TYPE_CHECKING:
    from hdvlab.hdv import Broker


class RemoteLab(RemoteLooking, RemoteGuest):
    """The lab of a device host. Made by :func:`hdvlab.host.start` and :func:`hdvlab.host.attach`.

    What is plugged in goes to the host as source and runs there; ``trace`` is the host's, mapped by this process, so
    frames are as zero-copy as ever and stay good whatever becomes of the host. Several may be attached at once.
    :meth:`close` detaches, and the machine goes on; :meth:`shut_down` ends the host.
    """

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.host = record
        """Where everything is; ``host.log`` is what the host says of itself."""
        self._plugged: dict[str, Plugged] = {}
        self._known = 0
        self._machine: HostedMachine | None = None
        self._door = threading.RLock()
        self._stepper = HostedStepper(lambda: self.vm_running)
        self.connection = Connection(record, self._on_event)
        self.connection.on_stops = self._stepper.take
        self.connection.known_stops, self.connection.why_held = self._stepper.tickets, self._stepper.why_held
        try:
            self.trace = _opened(record)
            self._stepper.attach(self.connection, self.trace)
            for name, (start, stop) in self.connection.call("list_runs").items():
                run = Run(self, name)
                run.start, run.stop = start, len(self.trace) if stop is None else stop
                self.runs[name] = run
        except BaseException:
            self.connection.close()
            raise

    @property
    def name(self) -> str:
        """The host's."""
        return self.host.name

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        try:
            if kind == "output":
                stream = sys.stdout if event.get("stream") == "stdout" else sys.stderr
                print(event.get("text", ""), end="", file=stream, flush=True)
            elif kind == "kept":
                self.keep_rows(event["name"], event["start"], event["stop"])
            elif kind == "gone":
                print(event.get("reason", ""), file=sys.stderr)
        except (OSError, ValueError):  # nobody may be looking
            return

    # ---- devices -----------------------------------------------------------------------------------------------

    def plug(
        self,
        device: Pluggable | type[Device],
        *,
        name: str | None = None,
        slot: int | None = None,
        configuration: Sequence[str] = (),
    ) -> Plugged:
        """Put a device into a slot of the host's machine; see :meth:`hdvlab.Lab.plug`.

        A class goes there as source, with what it uses: imports, plain constants, and functions and classes of the
        notebook. A device of that name is reloaded in its place, with its state; what changed is printed.

        Raises
        ------
        UsageError
            Something that it uses cannot go there; the message names it and says what to do.
        DeviceError
            Its code failed in the host; a device that was there before goes on as it was.
        """
        code = describe_code(device)
        told = self.connection.call("plug", device=code, name=name, slot=slot, configuration=list(configuration))
        if told.get("changes"):
            print(told["changes"])
        return self[told["name"]]

    def unplug(self, name: str) -> None:
        """Take a device out."""
        self.connection.call("unplug", name=name)

    def _synchronized(self) -> dict[str, Plugged]:
        """The devices as the host has them now."""
        with self._door:
            if self._known != self.connection.generation and self.attached:
                told = self.connection.call("devices")
                self._known = told["generation"]
                self._machine = HostedMachine(self.connection, told["ram_size"]) if told["running"] else None
                self._plugged = {one["name"]: self._refreshed(one) for one in told["devices"]}
            return self._plugged

    def _refreshed(self, told: dict[str, Any]) -> Plugged:
        device = HostedDevice(self.connection, told)
        one = self._plugged.get(told["name"])
        if one is None or one.slot != told["slot"]:
            one = Plugged(self, device, told["name"], told["slot"], told["configuration"], told["index"])
        one.power_off()
        one.device, one.index, one.configuration = device, told["index"], tuple(told["configuration"])
        one.handle = one.name
        if told["on"] and self._machine is not None:
            one.power_on(self._function(one, device, self._machine, Origin.user))
        return one

    def __getitem__(self, name: str) -> Plugged:
        plugged = self._synchronized()
        if name not in plugged:
            known = ", ".join(plugged) or "nothing"
            raise UsageError(f"no device {name!r} is plugged in; there is {known}")
        return plugged[name]

    def __contains__(self, name: object) -> bool:
        return name in self._synchronized()

    def __iter__(self) -> Iterator[Plugged]:
        return iter(list(self._synchronized().values()))

    # ---- power -------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the machine is on, as far as is known."""
        self._synchronized()
        return self._machine is not None and self.attached

    @property
    def machine(self) -> HostedMachine:
        """The machine that is on.

        Raises
        ------
        StateError
            It is off.
        """
        self._synchronized()
        if self.connection.gone is not None:
            raise self.connection.gone
        if self._machine is None:
            raise StateError("the machine is off; start it: lab.start() or %hdv start")
        return self._machine

    def start(self) -> None:
        """Power on; see :meth:`hdvlab.Lab.start`."""
        self.connection.call("start")

    def stop(self) -> None:
        """Power off; the host and the trace stay."""
        self.connection.call("stop")

    def close(self) -> None:
        """Detach: machine, devices and recording go on in the host. Closing twice is nothing."""
        for program in self._programs:
            with contextlib.suppress(HdvError):
                program.stop()
        self.connection.close()

    def shut_down(self) -> None:
        """End the host: power off, end the recording. The trace and the log stay where they are."""
        if self.attached:
            self.connection.expect_end("it was shut down")
            self.connection.call("shut_down")
            self.connection.join()
        self.close()

    @property
    def brokers(self) -> list[Broker]:
        """None: device hosts of other processes come to a lab of one's own."""
        return []

    @property
    def stepper(self) -> HostedStepper:
        """What breakpoints and stops are asked of."""
        return self._stepper

    def slots(self) -> list[Plugged]:
        """What is plugged in."""
        return list(self)

    # ---- the trace ---------------------------------------------------------------------------------------------

    def mark(self, text: str) -> int:
        """Put a line of text into the trace; returns its row."""
        return int(self.connection.call("mark", text=text))

    @property
    def faults(self) -> list[Fault]:
        """What failed in the devices' code, as the host knows it."""
        return list_faults(self.connection)

    def __repr__(self) -> str:
        if self.connection.gone is not None:
            return f"<RemoteLab {self.name}: not attached, {len(self.trace):,} rows>"
        state = "on" if self.running else "off"
        names = ", ".join(one.name for one in self) or "no devices"
        return f"<RemoteLab {self.name}: machine {state}, {names}, {len(self.trace):,} rows>"


def _opened(record: Record) -> MappedTrace:
    trace = open_trace(record.trace)
    assert isinstance(trace, MappedTrace)
    return trace
