"""Ctrl-C at a moment that is counted, not timed.

CPython answers a signal when a Python function begins and when a C function has returned; the profiler's events
``call`` and ``c_return`` are these moments, so that each can be tried, one after the other, without a clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

#: What is raised while a generator is thrown away goes nowhere, as in __del__.
_HARMLESS = {"config_read", "config_write", "__del__", "<genexpr>"}


def pressed_at(moment: int, action: Callable[[], Any], places: tuple[str, ...]) -> bool:
    """Do it with Ctrl-C at the given one of the moments in modules of ``places``; whether it has that many."""
    left = moment

    def counts(frame: FrameType) -> bool:
        name = frame.f_globals.get("__name__", "")
        caller = frame.f_back.f_code.co_name if frame.f_back is not None else ""  # what __del__ raises goes nowhere
        return name.startswith(places) and not {frame.f_code.co_name, caller} & _HARMLESS

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and counts(frame):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        action()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0
