"""Breakpoints and stops of a lab, wherever its machine is."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hdvlab.lab.recording import RecordingLab
from hdvlab.lab.run import Run
from hdvlab.stepping import Breakpoint, Breakpoints, Control, Pending, Stop

if TYPE_CHECKING:
    from hdvlab.stepping.hit import Hit


def held_text(stepper: Control) -> Callable[[bool], str]:
    """What says at what the guest is held, with or without posted writes, and keeps nothing alive."""
    known = weakref.ref(stepper)

    def held(with_posted: bool) -> str:
        there = known()
        return "" if there is None else there.held(with_posted)

    return held


class SteppingLab(RecordingLab):
    """A lab whose guest can be stopped."""

    @property
    def stepper(self) -> Control:
        """What breakpoints and stops are asked of; ``stepper.announces = False`` has stops print nothing."""
        raise NotImplementedError

    @property
    def breakpoints(self) -> Breakpoints:
        """Those that are set: iterable, ``[number]``, ``len``, ``clear()``; shows itself as a table."""
        return self.stepper.breakpoints

    @property
    def stops(self) -> list[Stop]:
        """What is held now, oldest first."""
        return self.stepper.stops

    def held(self) -> str:
        """At what the guest is held, and what lets it go on; "" where nothing is held."""
        return self.stepper.held()

    def break_at(
        self,
        where: str = "",
        access: str | None = None,
        when: str | Callable[[Hit], Any] | None = None,
        device: str | None = None,
        kind: str | None = None,
        changed: bool = False,
        ignore: int = 0,
        once: bool = False,
        after: bool = False,
        log: str | None = None,
        record: str | None = None,
        keep: tuple[int, int] | None = None,
    ) -> Breakpoint:
        """Stop the guest, or a device, where it does something; with ``log``, ``record`` or ``keep`` note it instead.

        Parameters
        ----------
        where : str
            ``"CTRL"``, ``"blink.bar0.CTRL.EN"``, ``"CTRL.EN==1"``, ``"bar0+0x10..0x1f"``, ``"config+0x4"``,
            ``"dma 0x1000..0x1fff"``, ``"interrupt"``, ``"doorbell"``, ``"reset"`` or another kind of row.
        access : {"r", "w", "rw"}, optional
            Only reads, or only writes.
        when : str or callable, optional
            A Python expression on ``value``, ``old``, ``offset``, ``size``, ``read``, ``write``, fields and registers
            by name (looked at without touching). A function of the access where the devices are in this process.
        device, kind : str, optional
            Only this device; only rows of this kind, or group of kinds.
        changed : bool
            Only where the value differs from the last one there.
        ignore : int
            Accesses to let pass first.
        once : bool
            Gone after the first.
        after : bool
            When the device has answered; else before it is asked.
        log : str, optional
            Stop nobody: print this, as an f-string (``"CTRL={value:#x}"``), and put it into the trace.
        record : {"start", "stop"}, optional
            Stop nobody: recording goes on from here, and pauses until then; or it pauses from here on.
        keep : (int, int), optional
            Stop nobody: so many rows before and behind it become a named run.

        Returns
        -------
        Breakpoint
            ``remove()``, ``disable()`` and ``enable()`` are its own.
        """
        return self.stepper.break_at(
            where, access=access, when=when, device=device, kind=kind, changed=changed, ignore=ignore, once=once,
            after=after, log=log, record=record, keep=keep,
        )  # fmt: skip

    def resume(self, stop: Stop | None = None) -> Any:
        """Let what is held go on, and wait for the next stop, or the end of the program; see :meth:`Control.resume`."""
        return self.stepper.resume(stop)

    def step(self, count: int = 1) -> Any:
        """Go on until the ``count``-th next access of any kind, of the guest or a device."""
        return self.stepper.step(count)

    def next(self, where: str, **given: Any) -> Any:
        """Go on until the next access to a place; ``given`` as for :meth:`break_at`."""
        return self.stepper.next(where, **given)

    def override(self, value: int, stop: Stop | None = None) -> Any:
        """Let the oldest stop go on with another value; see :meth:`Control.override`."""
        return self.stepper.override(value, stop)

    def skip(self, stop: Stop | None = None) -> Any:
        """Let it go on without the device being asked: a read gets all ones, anything else is dropped."""
        return self.stepper.skip(stop)

    def retry(self, stop: Stop | None = None) -> Any:
        """Have the device serve the same access again, with its code as it is now."""
        return self.stepper.retry(stop)

    def wait_stop(self, timeout: float | None = None) -> Stop | None:
        """The oldest stop, waiting for one; None after ``timeout`` seconds."""
        return self.stepper.wait_stop(timeout)

    def on_stop(self, callback: Callable[[Stop], None]) -> Callable[[], None]:
        """Have ``callback(stop)`` called at each stop, on a thread of its own; what is returned ends that."""
        return self.stepper.on_stop(callback)

    # ---- for labs ------------------------------------------------------------------------------------------------

    def slots(self) -> list[Any]:
        """What is plugged in."""
        raise NotImplementedError

    def keep_rows(self, name: str, start: int, stop: int) -> None:
        """Rows ``start`` up to ``stop`` are a named run from now on; the last may be yet to come."""
        run = Run(self, name)
        run.start, run.stop = start, stop
        self.runs[name] = run
        self._keep(run, name)

    def _finished(
        self, run: Any, is_running: Callable[[], bool], finish: Callable[[], object], known: set[int]
    ) -> Any:
        """Wait for something the guest does, or until it is held: then it is left pending, and ``run`` says so.

        ``known`` are the tickets of what was held before it began.
        """
        return self.stepper.wait_run(Pending(run, is_running, finish), known)
