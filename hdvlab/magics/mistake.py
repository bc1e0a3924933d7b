"""How the notebook shows what went wrong: mistakes in one line, failures of people's code in their own frames only."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from hdvlab.errors import AccessWarning, HdvError, TraceLossWarning, UsageError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: Below a guest program; the drivers in ``hdvlab.devices`` are guest programs themselves.
_LIBRARY = ("hdvlab.guest", "hdvlab.registers", "hdvlab.systems", "hdvlab.hdv", "hdvlab.errors", "hdvlab.lab")

_RED, _PLAIN = "\x1b[0;31m", "\x1b[0m"


def render_as(error: BaseException, lines: Callable[[], list[str]]) -> BaseException:
    """Let IPython show an error by these lines. It stays a proper error: Run All stops, and it can be caught."""
    error._render_traceback_ = lines  # type: ignore[attr-defined]
    return error


def in_one_line(error: BaseException, text: str = "", has_colors: bool = True) -> BaseException:
    """An error that is shown as its name and message."""
    name = f"{_RED}{type(error).__name__}{_PLAIN}" if has_colors else type(error).__name__
    return render_as(error, lambda: [f"{name}: {text or error}"])


def in_own_frames(shell: InteractiveShell, error: BaseException, file: str) -> BaseException:
    """An error that is shown with the frames from the first one of ``file`` on; a mistake stays one line."""
    if hasattr(error, "_render_traceback_"):
        return error
    trace = error.__traceback__
    if isinstance(error, HdvError):  # what it says is about the person's line, not about the one that raised it
        trace = without_library(trace)
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    if trace is None:
        return error

    def lines(own: TracebackType = trace) -> list[str]:
        shown: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, own, tb_offset=0)
        return shown

    return render_as(error, lines)


def without_library(trace: TracebackType | None, library: tuple[str, ...] = _LIBRARY) -> TracebackType | None:
    """A traceback without the frames at its end that are the library's own."""
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    while frames and frames[-1].tb_frame.f_globals.get("__name__", "").startswith(library):
        frames.pop()
    shorter = None
    for one in reversed(frames):
        shorter = TracebackType(shorter, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shorter


def show_errors_short(shell: InteractiveShell) -> None:
    """Show our errors in the person's cells with the person's own frames. ``%tb`` still shows all, ``%debug`` goes in.

    A handler that the person has set stays: IPython has room for one.
    """
    if not shell.custom_exceptions:
        shell.set_custom_exc((HdvError,), _show)


def show_errors_in_full(shell: InteractiveShell) -> None:
    """Take back :func:`show_errors_short`."""
    if shell.custom_exceptions == (HdvError,):
        shell.set_custom_exc((), None)


def _show(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> list[str]:
    """What IPython calls for an error of ours; called as its method."""
    shell._get_exc_info((kind, error, trace))  # notes it where %tb and %debug look
    if hasattr(error, "_render_traceback_"):
        lines: list[str] = error._render_traceback_()
    else:
        short = without_library(trace, ("hdvlab", "contextlib"))
        with _without_library_cause(error):
            lines = shell.InteractiveTB.structured_traceback(kind, error, short or trace, tb_offset=tb_offset)
    shell._showtraceback(kind, error, lines)
    if shell.call_pdb:
        shell.debugger(force=True)
    return lines


@contextmanager
def _without_library_cause(error: BaseException) -> Iterator[None]:
    """Inside, the error has no cause that only the library knows of; one from the person's own code stays."""
    cause, suppressed = error.__cause__, error.__suppress_context__
    reason = cause if cause is not None or suppressed else error.__context__
    if reason is None or any(not name.startswith("hdvlab") for name in _modules(reason.__traceback__)):
        yield
        return
    error.__cause__ = None  # sets __suppress_context__
    try:
        yield
    finally:
        error.__cause__, error.__suppress_context__ = cause, suppressed


def _modules(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next


def misspelt(shell: InteractiveShell, error: SyntaxError) -> BaseException:
    """A syntax error in a cell's body, shown as in any cell, without the magic's own frames."""
    # Not a SyntaxError: IPython shows those with every frame that led there, and asks no error how it looks.
    lines: Callable[[], list[str]] = lambda: shell.SyntaxTB.structured_traceback(type(error), error, [])  # noqa: E731
    return render_as(UsageError(f"SyntaxError: {error}"), lines)


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Inside, warnings for the person are one line on stderr, each time; others are as ever."""
    with warnings.catch_warnings():
        before = warnings.showwarning
        for category in (AccessWarning, TraceLossWarning):
            if not _is_error(category):
                warnings.simplefilter("always", category)

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> Any:
            if issubclass(category, AccessWarning | TraceLossWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                before(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _is_error(category: type[Warning]) -> bool:
    """Whether the person asked for this warning to be an error."""
    for action, _, kind, _, _ in warnings.filters:
        if issubclass(category, kind):
            return action == "error" and kind is not Warning
    return False
