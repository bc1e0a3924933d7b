"""Device hosts, which outlive the notebook: ``host``, ``hosts``, ``attach``, ``detach``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hdvlab.commands.current import close_lab, existing_lab, use_lab
from hdvlab.commands.text import Text
from hdvlab.errors import StateError, UsageError

if TYPE_CHECKING:
    from hdvlab.host import RemoteLab
    from hdvlab.host.finding import Hosts
    from hdvlab.trace.trace import Trace


def hosts() -> Hosts:
    """The hosts that run, with their devices, clients and leases; and of others the last trace."""
    from hdvlab.host import hosts as found

    return found()


def host(
    name: str,
    *,
    stop: bool = False,
    machine: str = "embedded",
    ram: int | None = None,
    trace: str | None = None,
    lease: float = 600.0,
) -> RemoteLab | Text:
    """Start a host and attach to it, or end one.

    Parameters
    ----------
    name : str
        How it is found again.
    stop : bool
        End it: power off, end the recording, whoever is attached.
    machine, ram, trace, lease
        See :func:`hdvlab.host.start`.
    """
    from hdvlab.host import RemoteLab, start, stop_host

    if stop:
        lab = existing_lab()
        if isinstance(lab, RemoteLab) and lab.name == name:
            lab.shut_down()  # this client's own doing, so that it is no news to it
            close_lab()
        return Text(f"host {name} has ended; its trace is {stop_host(name).trace}")
    return start(name, machine=machine, ram=ram, trace=trace, lease=lease)


def attach(name: str) -> RemoteLab | Trace:
    """Let ``%hdv`` work on the lab of a host that runs. Of one that is dead: its trace.

    Raises
    ------
    StateError
        ``%hdv`` works on a lab of this process, whose machine is on.
    """
    from hdvlab.formats import read_trace
    from hdvlab.host import attach as attached
    from hdvlab.host.finding import find

    record = find(name)
    if not record.is_alive:
        how = f"has ended ({record.ended})" if record.ended else "is dead: it was killed, or crashed"
        print(f"host {name} {how}; this is its trace, {record.trace}. Its log: {record.log}", file=sys.stderr)
        return read_trace(record.trace)
    make_way()
    lab = attached(name)
    use_lab(lab)
    return lab


def make_way() -> None:
    """Before ``%hdv`` works on another lab: detach from a host; a machine of this process is not ended unasked.

    Raises
    ------
    StateError
        There is one, and it is on.
    """
    from hdvlab.host import RemoteLab

    lab = existing_lab()
    if lab is None:
        return
    if not isinstance(lab, RemoteLab) and lab.running:
        raise StateError("%hdv works on a machine of this process, which is on; %hdv close ends it, then try again")
    close_lab()


def detach() -> Text:
    """Leave the host alone: its machine, devices and recording go on.

    Raises
    ------
    UsageError
        ``%hdv`` works on a lab of this process.
    """
    from hdvlab.host import RemoteLab

    lab = existing_lab()
    if not isinstance(lab, RemoteLab):
        raise UsageError("%hdv is not attached to a host; %hdv hosts lists them, %hdv attach NAME attaches")
    close_lab()
    lease = lab.host.lease
    left = f"it ends after {lease:g} s without anybody" if lease else "it runs until it is ended"
    return Text(f"detached; host {lab.name} goes on, {left}. %hdv attach {lab.name}")
