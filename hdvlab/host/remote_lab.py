"""A lab in a device host, as the notebook handles it: the same commands, frames and plots as with one of its own."""

from __future__ import annotations

import contextlib
import linecache
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from hdvlab.device import Device, Fault, Pluggable
from hdvlab.errors import HdvError, StateError, TraceError, UsageError
from hdvlab.guest import Function, Guest, Program
from hdvlab.host.connection import Connection, Ongoing
from hdvlab.host.hosted import HostedDevice, HostedMachine, HostedMemory, HostedVectors, list_faults
from hdvlab.host.hosted_program import HostedProgram
from hdvlab.host.hosted_stepper import HostedStepper
from hdvlab.host.hosted_vm import HostedVm
from hdvlab.host.record import Record
from hdvlab.host.remote_looking import RemoteLooking
from hdvlab.host.source import describe_code
from hdvlab.host.wire import packed, unpacked
from hdvlab.lab import Plugged, Run
from hdvlab.lab.shell import ShellRun
from hdvlab.lab.stepping import SteppingLab
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.open import open_trace
from hdvlab.trace.schema import Origin
from hdvlab.trace.tables import SourceLine

if TYPE_CHECKING:
    from hdvlab.hdv import Broker
    from hdvlab.systems.qemu.command_line import VmOptions
    from hdvlab.systems.qemu.setup import Progress

#: Seconds of one look at a request that is waited for.
_SLICE = 0.05


class RemoteLab(RemoteLooking, SteppingLab):
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
        self._sources: dict[tuple[int, int], int] = {}
        self._codes: dict[int, CodeType] = {}
        self._programs: list[Program] = []
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

    @property
    def attached(self) -> bool:
        """Whether the host is there, and this is its client."""
        return self.connection.gone is None

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

    def _function(self, one: Plugged, device: HostedDevice, machine: HostedMachine, origin: Origin) -> Function:
        function = Function(machine, one.slot, one.name, one.maps, origin, self.source_of)
        for index, bar in device.description.bars.items():
            if bar.address is not None:
                function.map_bar(index, bar.address, bar.bar_size)
        return function

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

    # ---- the guest ---------------------------------------------------------------------------------------------

    def run(self, driver: Callable[..., Any], *arguments: Any, name: str = "", wait: bool = True) -> Run:
        """Run a Python function as the guest, in the host: it goes on whatever becomes of the notebook.

        Parameters
        ----------
        driver : callable
            As for :meth:`hdvlab.Lab.run`; it goes there as source, as devices do.
        arguments
            What JSON can carry.
        name : str
            Keep the run in :attr:`runs` under this name, also for whoever attaches later.
        wait : bool
            Wait for the end (Ctrl-C stops the program); else return at once.
        """
        given: dict[str, Any] = {"driver": describe_code(driver), "arguments": list(arguments), "name": name}
        token = secrets.token_hex(8)
        try:
            return self._run(given, token, wait)
        except KeyboardInterrupt:  # it may have begun before this was told its number
            self.connection.call("give_up_program", token=token)
            raise

    def _run(self, given: dict[str, Any], token: str, wait: bool) -> Run:
        name = given["name"]
        known = self._stepper.tickets()
        told = self.connection.call("run", **given, token=token)
        program = HostedProgram(self.connection, told["number"], told["name"])
        run = Run(self, name or program.name, program)
        run.start = told["start"]
        program.on_end = lambda stop: self._ended(run, name, stop)
        if name:
            self.runs[name] = run
            self.connection.call("keep_run", name=name, start=run.start, stop=None)
        if wait:
            ongoing = self.connection.begin("wait_program", number=program.number)
            self._waited(run, ongoing, program.end_with, known)
        self.warn_of_loss()
        return run

    def _waited(self, run: Any, ongoing: Ongoing, take: Callable[[Any], object], known: set[int]) -> Any:
        """Wait for a request that the guest may be held in; Ctrl-C gives it up, at the host, too."""
        try:
            return self._finished(run, lambda: not ongoing.poll(_SLICE), lambda: take(ongoing.result()), known)
        except KeyboardInterrupt:
            ongoing.cancel()
            raise

    def _ended(self, run: Run, name: str, stop: int | None) -> None:
        run.stop = stop
        if name and self.attached:
            self.connection.call("keep_run", name=name, start=run.start, stop=stop)

    def programs(self) -> list[Run]:
        """Guest programs in the host, also those that another kernel began; the newest last."""
        found = []
        for told in self.connection.call("list_programs"):
            program = HostedProgram(self.connection, told["number"], told["name"])
            run = Run(self, told["name"], program)
            run.start, run.stop = told["start"], told["stop"]
            program.take(told)
            found.append(run)
        return found

    def run_cell(self, body: Callable[[Guest], Any], *, name: str = "") -> Run:
        """Run a cell's body as the guest, here, where the cell's names are; each access is a message to the host."""
        if not self.running:
            self.start()
        machine = self.machine
        functions = {}
        for one in self:
            assert isinstance(one.device, HostedDevice)
            functions[one.name] = self._function(one, one.device, machine, Origin.guest)
        memory, vectors = HostedMemory(self.connection), HostedVectors(self.connection)
        guest = Guest(machine, functions, memory, vectors, lambda: self.stops)
        program = Program(body, guest, ())
        run = Run(self, name or program.name, program)
        if name:
            self.runs[name] = run
        program.on_end = lambda: self._cell_ended(run, name)
        self._programs = [one for one in self._programs if one.running]
        known = self._stepper.tickets()
        try:
            program.start()
            self._programs.append(program)
            self._finished(run, lambda: program.running, program.result, known)
        except KeyboardInterrupt:
            program.stop()
            raise
        self.warn_of_loss()
        return run

    def _cell_ended(self, run: Run, name: str) -> None:
        run.end()
        with contextlib.suppress(HdvError):  # the host may be gone
            self._keep(run, name)

    def _keep(self, run: Run, name: str) -> None:
        if name and self.attached:
            self.connection.call("keep_run", name=name, start=run.start, stop=run.stop)

    # ---- the VM ------------------------------------------------------------------------------------------------

    def boot(
        self, options: VmOptions | None = None, *, wait: bool = True, progress: Progress | None = None
    ) -> HostedVm:
        """Start the host's VM with what is plugged in; see :meth:`hdvlab.Lab.boot`."""
        from hdvlab.systems.qemu.command_line import VmOptions
        from hdvlab.systems.qemu.vm import installation

        if not self.has_vm:
            raise UsageError(
                f"host {self.name} has an embedded machine; hdvlab.host.start(NAME, machine='vm') has a VM"
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
    def stepper(self) -> HostedStepper:
        """What breakpoints and stops are asked of."""
        return self._stepper

    def slots(self) -> list[Plugged]:
        """What is plugged in."""
        return list(self)

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

    # ---- the trace ---------------------------------------------------------------------------------------------

    def mark(self, text: str) -> int:
        """Put a line of text into the trace; returns its row."""
        return int(self.connection.call("mark", text=text))

    def add_source(self, line: SourceLine) -> int:
        """The number for ``pc`` of a source line."""
        given: dict[str, Any] = {"file": line.file, "line": line.line, "function": line.function, "text": line.text}
        return int(self.connection.call("add_source", **given))

    def source_of(self, frame: FrameType) -> int:
        """The number for ``pc`` of the line that a frame executes; 0 where it cannot be written down."""
        code = frame.f_code
        place = (id(code), frame.f_lasti)
        number = self._sources.get(place)
        if number is None:
            line = frame.f_lineno or code.co_firstlineno
            text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            try:
                number = self.add_source(SourceLine(code.co_filename, line, code.co_qualname, text))
            except TraceError:
                number = 0
            self._codes[id(code)] = code
            self._sources[place] = number
        return number

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
