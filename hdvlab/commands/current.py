"""The lab that ``%hdv`` works on: one per process, made when it is first needed."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from hdvlab.errors import StateError

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab

_current: AnyLab | None = None
_closes_at_exit = False


def current_lab() -> AnyLab:
    """The lab of ``%hdv``; made now if there is none."""
    return existing_lab() or new_lab()


def existing_lab() -> AnyLab | None:
    """The lab of ``%hdv`` if there is one."""
    return _current


def new_lab(*, ram: int | None = None, trace: str | None = None, clock: str = "auto") -> AnyLab:
    """Make the lab of ``%hdv``; see :class:`hdvlab.Lab` for what the parameters mean.

    Raises
    ------
    StateError
        There is one already.
    """
    from hdvlab.lab import Lab
    from hdvlab.lab.lab import DEFAULT_RAM

    if _current is not None:
        raise StateError("there is a lab already; %hdv close ends it, then --ram, --trace and --clock count")
    return use_lab(Lab(ram=DEFAULT_RAM if ram is None else ram, trace=trace, clock=clock))


def use_lab(lab: AnyLab) -> AnyLab:
    """Let ``%hdv`` work on this lab from now on. The one before it stays as it is; closing it is its owner's."""
    global _current, _closes_at_exit
    _current = lab
    if not _closes_at_exit:
        atexit.register(close_lab)
        _closes_at_exit = True
    return lab


def close_lab() -> None:
    """Power off and end the recording; the next command begins a new lab. Nothing when there is none."""
    global _current
    lab, _current = _current, None
    if lab is not None:
        lab.close()


def forget() -> None:
    """Close the lab, and do nothing more at the end of the process."""
    global _closes_at_exit
    close_lab()
    atexit.unregister(close_lab)
    _closes_at_exit = False


def why_gone(lab: AnyLab) -> str:
    """Why a lab's device host cannot be asked any more; "" where it can, or the lab is of this process."""
    from hdvlab.host import RemoteLab

    return "" if not isinstance(lab, RemoteLab) or lab.connection.gone is None else lab.connection.gone.message
