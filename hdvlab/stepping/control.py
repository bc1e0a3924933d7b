"""What a person does with stops, wherever the machine is: look, go on, step, change the answer, wait for the next."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from hdvlab.errors import StateError, UsageError
from hdvlab.stepping.breakpoint import MOST, Breakpoint, Breakpoints, Request
from hdvlab.stepping.pending import Pending, PendingRuns
from hdvlab.stepping.stop import Stop
from hdvlab.stepping.typed_value import check_value

#: How a held access goes on; ``HDVLAB_CONTINUE`` and so on.
ACTIONS = {"continue": 0, "override": 1, "skip": 2, "retry": 3}
Action = Literal["continue", "override", "skip", "retry"]

#: How often whoever waits looks up, so that Ctrl-C is answered everywhere, seconds.
_SLICE = 0.05
#: How long a stop may go unanswered before it is printed, seconds.
_GRACE = 0.25
#: How long a step waits for an access where nothing is known to be under way, seconds.
_PATIENCE = 2.0


class Control:
    """The object behind ``lab.stops``, ``lab.resume()`` and so on.

    Subclasses say where breakpoints and stops are: in this process, or in a device host.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[Stop], None]] = []
        self._observers: list[Callable[[], object]] = []
        self._waiting = 0
        self._answered: deque[tuple[int, int]] = deque(maxlen=256)
        self._viewers = 0
        self.announces = True
        """Whether a stop that nobody waits for, and no panel shows, prints a line."""
        self.pending = PendingRuns(lambda: bool(self.read_stops()))
        """What goes on when the guest does."""
        self.pending.announces = self._says_so
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

    def release_all(self, stops: Iterable[Stop]) -> None:
        """Let some go; those that have gone on by themselves are gone."""
        for stop in stops:
            with contextlib.suppress(StateError):
                self.release(stop.ticket, "continue")

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

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have ``callback()`` called whenever something is held, let go, set or taken out, on any thread; it is short
        and asks nothing. What is returned ends that."""
        self._observers.append(callback)
        self.begin_watching()

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._observers.remove(callback)

        return end

    def viewed(self) -> Callable[[], None]:
        """A panel shows the stops from now on, so that none is printed; what is returned ends that."""
        ends = [1]  # of one panel, however often it is called
        with self._changed:
            self._viewers += 1

        def end() -> None:
            with self._changed:
                self._viewers -= ends.pop() if ends else 0

        return end

    def _says_so(self) -> bool:
        return self.announces and not self._waiting and not self._viewers

    def _told(self) -> None:
        self.pending.wake()
        for callback in list(self._observers):
            callback()

    def tell(self, stops: list[Stop], is_over: bool = False) -> None:
        """There are new stops, or some were let go: tell whoever waits, else whoever looks.

        ``is_over``: they were answered already, so nothing is printed of them.
        """
        with self._changed:
            says_so = not is_over and self._says_so()
            self._changed.notify_all()
        if stops and (says_so or self._callbacks):
            # Of its own: a callback may ask for what this thread is to see.
            threading.Thread(target=self._deliver, args=(stops, says_so), name="hdvlab-stop", daemon=True).start()

    def _deliver(self, stops: list[Stop], says_so: bool) -> None:
        for stop in stops:
            if says_so and self._is_unsaid(stop):
                with contextlib.suppress(OSError, ValueError):  # nobody may be looking
                    print(f"{stop}\n", flush=True)
            for callback in list(self._callbacks):
                try:
                    callback(stop)
                except Exception:  # theirs, not the guest's
                    traceback.print_exc(file=sys.stderr)

    def _is_unsaid(self, stop: Stop) -> bool:
        """Whether nobody answers with this stop, even who only begins to wait now: a cell that has just let it come."""
        one = stop.ticket, stop.row
        with self._changed:
            self._changed.wait_for(lambda: one in self._answered or not self._says_so(), _GRACE)
            return one not in self._answered and self._says_so()

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
        with self.pending.waits():
            if self._until(lambda: None if pending.is_running() else pending, known) is None:
                pending.finish()
            else:
                self.pending.add(pending)
        return pending.run

    def _until(
        self, is_over: Callable[[], Pending | None], known: set[int], timeout: float | None = None
    ) -> Stop | None:
        """The first stop that is not among ``known``; None where it is over, or ``timeout`` seconds are."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.begin_watching()
        with self._waits():
            while True:
                self.check_alive()
                ended = is_over() is not None
                found = self._another(known)
                if found is not None or ended:
                    return found
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                with self._changed:
                    self._changed.wait(_SLICE)

    @contextlib.contextmanager
    def _waits(self) -> Iterator[None]:
        """While in it, somebody waits for stops, and shows what comes: none is printed besides."""
        with self._changed:
            self._waiting += 1
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1

    @contextlib.contextmanager
    def _expecting(self) -> Iterator[list[Pending]]:
        """While in it, what is pending is waited for here: also what ends as soon as something is let go."""
        with self._waits(), self.pending.waits():
            yield list(self.pending)

    def _next_stop(self, pending: list[Pending], known: set[int], patience: float) -> Any:
        """What comes next: a stop, the run of what has ended (which raises what it failed with), or None."""
        if not pending:
            if patience:
                return self._until(lambda: None, known, patience)
            found = self._another(known)
            if found is None and (ended := self.pending.take_ended()) is not None:
                ended.finish()
                return ended.run
            return found
        over: list[Pending] = []

        def is_over() -> Pending | None:
            # Another thread may wait for it, too, and have taken it; or the machine is off, and nothing is waited for.
            over.extend(one for one in pending if one not in self.pending or not one.is_running())
            return over[0] if over else None

        stop = self._until(is_over, known)
        if stop is not None:
            return stop
        if self.pending.take(over[0]):
            over[0].finish()
        return over[0].run

    def _another(self, known: set[int]) -> Stop | None:
        # A list: a generator that is left half-way would swallow a Ctrl-C that comes as it is closed.
        new = [stop for stop in self.read_stops() if stop.ticket not in known]
        found = new[0] if new else None
        if found is not None:
            with self._changed:  # the watching thread may hear of it when nobody waits any more
                self._answered.append((found.ticket, found.row))
                self._changed.notify_all()
        return found

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
        with self._expecting() as pending:
            if stop is None:
                self.release_all(going)
            else:
                self.release(stop.ticket, "continue")
            return self._next_stop(pending, {one.ticket for one in going}, 0.0)

    def step(self, count: int = 1) -> Any:
        """Go on until the ``count``-th next access of the guest or a device, of any kind; returns as :meth:`resume`.

        Where the program ends before, or stops elsewhere, the step is over, too. Where nothing is held or runs, it
        waits for what comes.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
            raise UsageError(f"step takes how many accesses, 1 or more, not {count!r}")
        begun = bool(self.pending) or bool(self.read_stops())
        self.arm(count)
        try:
            return self._go_on()
        finally:
            if begun:  # its program is over, or stopped elsewhere: the next one is not to be held by it
                self.arm(0)

    def next(self, where: str, **given: Any) -> Any:
        """Go on until the next access to a place; ``given`` as for :meth:`break_at`. Returns as :meth:`resume`."""
        try:
            self.add(Request(where, once=True, hidden=True, **given))
            return self._go_on()
        finally:
            self.remove_hidden()

    def _go_on(self) -> Any:
        going = self.read_stops()
        with self._expecting() as pending:
            self.release_all(going)
            wanted = bool(going) or self.guest_runs()
            return self._next_stop(pending, {one.ticket for one in going}, _PATIENCE if wanted else 0.0)

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
            check_value(value, stop)
        with self._expecting() as pending:
            self.release(stop.ticket, action, value)
            wanted = action == "retry" and stop.phase == "after"
            return self._next_stop(pending, {stop.ticket}, _PATIENCE if wanted else 0.0)

    # ---- setting -----------------------------------------------------------------------------------------------

    def break_at(self, where: str = "", **given: Any) -> Breakpoint:
        """Set a breakpoint; see :class:`~hdvlab.stepping.breakpoint.Request` for what there is."""
        return self.add(Request(where, **given))
