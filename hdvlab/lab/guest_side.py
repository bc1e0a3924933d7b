"""The guest of a lab, as far as programs in Python run as it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hdvlab.errors import StateError
from hdvlab.guest import Guest, Program, RamAllocator, VectorAllocator
from hdvlab.lab.run import Run
from hdvlab.lab.vm_side import LabWithVm


class LabWithGuest(LabWithVm):
    """A lab where Python functions run as the guest of the embedded machine."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: list[Program] = []

    def start(self) -> None:
        """Power on."""
        raise NotImplementedError

    def run(self, driver: Callable[..., Any], *arguments: Any, name: str = "", wait: bool = True) -> Run:
        """Run a Python function as the guest, in a thread of its own: ``driver(guest, *arguments)``.

        Parameters
        ----------
        driver : callable
            Its first parameter is a :class:`hdvlab.guest.Guest`.
        name : str
            Keep the run in :attr:`runs` under this name.
        wait : bool
            Wait for the end (Ctrl-C stops the program), or until a breakpoint holds it: then ``run`` is pending, and
            :meth:`resume` lets it go on. Else return at once; ``run.program.join()`` waits.

        Returns
        -------
        Run
            ``value`` is what the driver returned, ``frame()`` its rows. What the driver raised is raised here.
        """
        self._programs = [program for program in self._programs if program.running]
        if self._power is None:
            self.start()
        program = Program(driver, self._guest(), arguments)
        run = Run(self, name or program.name, program)
        if name:
            self.runs[name] = run
        program.on_end = run.end
        known = self._stepper.tickets()
        try:
            program.start()
            self._programs.append(program)
            if wait:
                self._finished(run, lambda: program.running, program.result, known)
        except KeyboardInterrupt:
            program.stop()
            raise
        self.warn_of_loss()
        return run

    def _guest(self) -> Guest:
        assert self._power is not None
        return self._power.guest(self)

    def run_cell(self, body: Callable[[Guest], Any], *, name: str = "") -> Run:
        """Run a cell's body as the guest, where the cell's names are: in this process."""
        return self.run(body, name=name)

    @property
    def allocators(self) -> tuple[RamAllocator, VectorAllocator] | None:
        """Who hands out guest RAM and interrupt vectors; None while the machine is off."""
        power = self._power
        return None if power is None else (power.ram, power.vectors)

    def _stop_programs(self) -> None:
        """They end before the machine does."""
        for program in self._programs:
            try:
                program.stop()
            except StateError as error:  # cut off, so it is in nobody's way
                print(error, file=sys.stderr)
