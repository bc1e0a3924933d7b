"""Guest programs of a host's machine: functions that run there, and cells that run here."""

from __future__ import annotations

import contextlib
import linecache
import secrets
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

from hdvlab.errors import HdvError, TraceError
from hdvlab.guest import Function, Guest, Program
from hdvlab.host.hosted import HostedDevice, HostedMachine, HostedMemory, HostedVectors
from hdvlab.host.hosted_program import HostedProgram
from hdvlab.host.remote_vm import RemoteVm
from hdvlab.host.source import describe_code
from hdvlab.lab import Plugged, Run
from hdvlab.trace.schema import Origin
from hdvlab.trace.tables import SourceLine


class RemoteGuest(RemoteVm):
    """A host's lab where Python functions run as the guest."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: list[Program] = []
        self._sources: dict[tuple[int, int], int] = {}
        self._codes: dict[int, CodeType] = {}

    @property
    def machine(self) -> HostedMachine:
        """The machine that is on."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether the machine is on, as far as is known."""
        raise NotImplementedError

    def start(self) -> None:
        """Power on."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Plugged]:
        raise NotImplementedError

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

    def _function(self, one: Plugged, device: HostedDevice, machine: HostedMachine, origin: Origin) -> Function:
        function = Function(machine, one.slot, one.name, one.maps, origin, self.source_of)
        for index, bar in device.description.bars.items():
            if bar.address is not None:
                function.map_bar(index, bar.address, bar.bar_size)
        return function

    # ---- the lines that made a row -----------------------------------------------------------------------------

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
