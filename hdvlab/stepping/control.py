"""What a person does with stops, wherever the machine is: look, go on, step, change the answer, wait for the next."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hdvlab.errors import StateError, UsageError
from hdvlab.stepping.breakpoint import MOST, Breakpoint, Breakpoints, Request
from hdvlab.stepping.stop import Stop

#: How a held access goes on; ``HDVLAB_CONTINUE`` and so on.
ACTIONS = {"continue": 0, "override": 1, "skip": 2, "retry": 3}
Action = Literal["continue", "override", "skip", "retry"]

#: How often whoever waits looks up, so that Ctrl-C is answered everywhere, seconds.
_SLICE = 0.05
#: How long a step waits for an access where nothing is known to be under way, seconds.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Pending:
    """Something that was begun and is not over, because the guest is held: a guest program, a shell command.

    ``finish()`` takes what came of it, and raises what it failed with.
    """

    run: Any
    is_running: Callable[[], bool]
    finish: Callable[[], object]


class Control:
    """The object behind ``lab.stops``, ``lab.resume()`` and so on.

    Subclasses say where breakpoints and stops are: in this process, or in a device host.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[Stop], None]] = []
        self._waiting = 0
        self.announces = True
        """Whether a stop that nobody waits for prints a line."""
        self.pending: list[Pending] = []
        """What goes on when the guest does."""
        self.breakpoints = Breakpoints(self.list_breakpoints, self.remove, self.remove_hidden)

    # ---- what a subclass has -----------------------------------------------------------------------------------

    def add(self, request: Request) -> Breakpoint:
        """Set a breakpoint."""
        raise NotImplementedError

    def remove(self, number: int) -> None:
        """Take a breakpoint out; what it holds stays held."""
        raise NotImplementedError

    def remove_hidden(self) -> None:
        """Take out what was made for one :meth:`next`, wherever Ctrl-C ended that."""
        raise NotImplementedError

    def set_enabled(self, number: int, enabled: bool) -> None:
        """Have it match, or match nothing."""
        raise NotImplementedError

    def list_breakpoints(self) -> list[Breakpoint]:
        """Those that are set, as they stand now."""
        raise NotImplementedError

    def read_stops(self) -> list[Stop]:
        """What is held now, oldest first."""
        raise NotImplementedError

    def release(self, ticket: int, action: Action, value: int = 0) -> None:
        """Let one go.

        Raises
        ------
        UsageError
            The action makes no sense for it; it stays held.
        StateError
            It is not held any more.
        """
        raise NotImplementedError

    def arm(self, count: int) -> None:
        """Hold the count-th next access; 0 = none."""
        raise NotImplementedError

    def set_limit(self, seconds: float | None) -> None:
        """The longest hold, in seconds (20 minutes unless set); then the guest goes on, and a warning says so.

        None: for ever.
        """
        raise NotImplementedError

    def check_alive(self) -> None:
        """Raises why nothing will ever be held any more: the lab is closed, its host gone."""

    def guest_runs(self) -> bool:
        """Whether a guest may make accesses that nobody here waits for: a VM."""
        return False

    # ---- looking -----------------------------------------------------------------------------------------------

    @property
    def stops(self) -> list[Stop]:
        """What is held now, oldest first."""
        return self.read_stops()

    def held(self, with_posted: bool = True) -> str:
        """At what the guest is held; "" where nothing is. It may have gone on at posted writes."""
        stops = [stop for stop in self.read_stops() if with_posted or not stop.posted]
        if not stops:
            return ""
        more = f" and {len(stops) - 1} more" if len(stops) > 1 else ""
        return f"held at {stops[0].short}{more}; %hdv continue lets it go on"

    def on_stop(self, callback: Callable[[Stop], None]) -> Callable[[], None]:
        """Have ``callback(stop)`` called at each stop, on a thread of its own; what is returned ends that."""
        self._callbacks.append(callback)
        self.begin_watching()

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return end

    def begin_watching(self) -> None:
        """From now on somebody wants to know of stops."""

    def tell(self, stops: list[Stop]) -> None:
        """There are new stops, or some were let go: tell whoever waits, else whoever looks."""
        with self._changed:
            says_so = self.announces and not self._waiting
            self._changed.notify_all()
        if stops and (says_so or self._callbacks):
            # Of its own: a callback may ask for what this thread is to see.
            threading.Thread(target=self._deliver, args=(stops, says_so), name="hdvlab-stop", daemon=True).start()

    def _deliver(self, stops: list[Stop], says_so: bool) -> None:
        for stop in stops:
            if says_so:
                with contextlib.suppress(OSError, ValueError):  # nobody may be looking
                    print(f"{stop}\n", flush=True)
            for callback in list(self._callbacks):
                try:
                    callback(stop)
                except Exception:  # theirs, not the guest's
                    traceback.print_exc(file=sys.stderr)

    # ---- waiting -----------------------------------------------------------------------------------------------

    def wait_stop(self, timeout: float | None = None) -> Stop | None:
        """The oldest stop, waiting for one where nothing is held; None after ``timeout`` seconds."""
        return self._until(lambda: None, set(), timeout)

    def tickets(self) -> set[int]:
        """Of what is held now: to be told from what is held later."""
        return {stop.ticket for stop in self.read_stops()}

    def wait_run(self, pending: Pending, known: set[int]) -> Any:
        """Wait for the end of something, or until more is held than the tickets ``known``, of before it began; then it
        is left pending."""
        if self._until(lambda: None if pending.is_running() else pending, known) is None:
            pending.finish()
        else:
            self.pending.append(pending)
        return pending.run

    def _until(
        self, is_over: Callable[[], Pending | None], known: set[int], timeout: float | None = None
    ) -> Stop | None:
        """The first stop that is not among ``known``; None where it is over, or ``timeout`` seconds are."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.begin_watching()
        with self._changed:
            self._waiting += 1
        try:
            while True:
                self.check_alive()
                ended = is_over() is not None
                found = next((stop for stop in self.read_stops() if stop.ticket not in known), None)
                if found is not None or ended:
                    return found
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                with self._changed:
                    self._changed.wait(_SLICE)
        finally:
            with self._changed:
                self._waiting -= 1

    def _next_stop(self, known: set[int], patience: float) -> Any:
        """What comes next: a stop, the run of what has ended (which raises what it failed with), or None."""
        waited = list(self.pending)
        if not waited:
            return self._until(lambda: None, known, patience) if patience else self._another(known)
        over: list[Pending] = []

        def is_over() -> Pending | None:
            # Another thread may wait for it, too, and have taken it; or the machine is off, and nothing is waited for.
            over.extend(one for one in waited if one not in self.pending or not one.is_running())
            return over[0] if over else None

        stop = self._until(is_over, known)
        if stop is not None:
            return stop
        with self._changed:
            is_ours = over[0] in self.pending
            if is_ours:
                self.pending.remove(over[0])
        if is_ours:
            over[0].finish()
        return over[0].run

    def _another(self, known: set[int]) -> Stop | None:
        return next((stop for stop in self.read_stops() if stop.ticket not in known), None)

    # ---- going on ----------------------------------------------------------------------------------------------

    def resume(self, stop: Stop | None = None) -> Any:
        """Let everything that is held go on, or one stop, and wait for what comes next.

        Returns
        -------
        Stop or Run or None
            The next stop; or the run of a program or command that has ended, whose failure is raised here; None where
            nothing is waited for. Ctrl-C ends the waiting only.
        """
        going = self.read_stops() if stop is None else [stop]
        for one in going:
            with contextlib.suppress(*([StateError] if stop is None else [])):  # it went on by itself
                self.release(one.ticket, "continue")
        return self._next_stop({one.ticket for one in going}, 0.0)

    def step(self, count: int = 1) -> Any:
        """Go on until the ``count``-th next access of the guest or a device, of any kind; returns as :meth:`resume`."""
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
            raise UsageError(f"step takes how many accesses, 1 or more, not {count!r}")
        self.arm(count)
        return self._go_on()

    def next(self, where: str, **given: Any) -> Any:
        """Go on until the next access to a place; ``given`` as for :meth:`break_at`. Returns as :meth:`resume`."""
        try:
            self.add(Request(where, once=True, hidden=True, **given))
            return self._go_on()
        finally:
            self.remove_hidden()

    def _go_on(self) -> Any:
        going = self.read_stops()
        for one in going:
            with contextlib.suppress(StateError):
                self.release(one.ticket, "continue")
        wanted = bool(going) or self.guest_runs()
        return self._next_stop({one.ticket for one in going}, _PATIENCE if wanted else 0.0)

    def override(self, value: int, stop: Stop | None = None) -> Any:
        """Let the oldest stop, or ``stop``, go on with another value: the answer of a read (before it the device is
        not asked), what a write writes, the data of an interrupt, what a DMA of up to 8 bytes copies.

        Returns as :meth:`resume`.
        """
        return self._act("override", value, stop)

    def skip(self, stop: Stop | None = None) -> Any:
        """Let it go on without the device: a read gets all ones, anything else is dropped."""
        return self._act("skip", 0, stop)

    def retry(self, stop: Stop | None = None) -> Any:
        """Have the device serve the same access again, with its code as it is now; then it stops there again.

        Before the device has answered: as :meth:`resume` of this one.
        """
        return self._act("retry", 0, stop)

    def _act(self, action: Action, value: int, stop: Stop | None) -> Any:
        if stop is None:
            held = self.read_stops()
            if not held:
                raise StateError(f"nothing is held, so there is nothing to {action}; %hdv break sets a breakpoint")
            stop = held[0]
        if action == "override":
            _check_value(value, stop)
        self.release(stop.ticket, action, value)
        wanted = action == "retry" and stop.phase == "after"
        return self._next_stop({stop.ticket}, _PATIENCE if wanted else 0.0)

    # ---- setting -----------------------------------------------------------------------------------------------

    def break_at(self, where: str = "", **given: Any) -> Breakpoint:
        """Set a breakpoint; see :class:`~hdvlab.stepping.breakpoint.Request` for what there is."""
        return self.add(Request(where, **given))


def _check_value(value: int, stop: Stop) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"override takes a number, not {value!r}")
    size = 4 if stop.kind == "interrupt" else min(stop.size, 8)
    if not 0 <= value < 1 << 8 * size:
        width = f"{size} byte{'s' if size > 1 else ''} wide"
        raise UsageError(f"{stop.place or stop.kind} is {width}; {value:#x} does not fit")
