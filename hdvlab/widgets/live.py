"""Widgets that are live while a cell runs: two lines on our own comms, nowhere else.

Both touch what ipykernel keeps to itself; ``tests/browser/test_live.py`` says when they no longer do their work.
"""

from __future__ import annotations

from typing import Any


def make_live(widget: Any) -> None:
    """Let the browser's messages to a widget be served while a cell runs, and let no figure of that cell get lost.

    Without a kernel, or where ipykernel has no such thing, nothing happens: messages then come after the cell.
    """
    comm = widget.comm
    if comm is None:
        return
    # ipykernel 7.4 answers on the shell that last sent, for widgets made in a cell the one that the cell keeps busy.
    # Without this it goes where the front end asks for: a subshell.
    comm._reply_subshell_for = None
    # The usual handler fires IPython's pre- and post_execute, on which matplotlib shows the figures that the running
    # cell has open, as the output of the wrong message: the person's plot is gone.
    comm.handle_msg = lambda message: comm._msg_callback and comm._msg_callback(message)
