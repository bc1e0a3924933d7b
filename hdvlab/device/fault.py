"""A fault: a device callback that failed, as the notebook shows it."""

from __future__ import annotations

import functools
import re
import traceback
from dataclasses import dataclass

from hdvlab.errors import HdvError, HResult


@dataclass
class Fault:
    """One way in which a device's code failed, and how often it has.

    ``cause`` is the row of the access that met it first (-1 = none was recorded), ``hresult`` what the access ended
    with, ``text`` the traceback, from the device's own code on.
    """

    device: str
    operation: str
    hresult: int
    error: BaseException
    text: str
    cause: int
    count: int = 1
    injected: bool = False
    """Whether somebody asked for it."""

    @classmethod
    def of(cls, device: str, operation: str, error: BaseException, cause: int) -> Fault:
        """The fault that an exception in ``operation`` stands for."""
        hresult = error.hresult if isinstance(error, HdvError) else int(HResult.E_UNEXPECTED)
        trace = error.__traceback__
        # The frames above the author's own code say nothing to the author.
        while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
            ("hdvlab.hdv.", "hdvlab.device.")
        ):
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace, chain=True))
        return cls(device, operation, hresult, error, text, cause)

    @property
    def message(self) -> str:
        """What the exception says of itself."""
        try:
            return str(self.error)
        except Exception as error:  # the author's class, the author's __str__
            return f"<its text failed: {type(error).__name__}>"

    @functools.cached_property
    def key(self) -> tuple[str, str, str, int]:
        """What makes two faults the same: where and how it failed; numbers in the message do not count."""
        trace = self.error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = trace.tb_lineno if trace is not None else 0
        message = re.sub(r"0x[0-9a-fA-F]+|\d+", "#", self.message)[:80]
        return (self.operation, type(self.error).__name__, message, line)

    def without_traceback(self) -> Fault:
        """A fault that keeps nothing of the device alive; ``text`` still has the traceback."""
        self.error.__traceback__ = self.error.__context__ = self.error.__cause__ = None
        return self

    def __str__(self) -> str:
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.device}: {self.operation} failed{times}: {type(self.error).__name__}: {self.message}"
