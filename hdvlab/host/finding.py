"""Starting device hosts, and finding them again: ``start``, ``attach``, ``hosts``."""

from __future__ import annotations

import contextlib
import html
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.errors import BackendError, HdvError, HResult, StateError, UsageError
from hdvlab.host.connection import connect
from hdvlab.host.guard import end_orphan, open_orphan
from hdvlab.host.record import Record, check_name, latest, new_directory, records, started_of
from hdvlab.host.wire import Channel, rebuilt_error

if TYPE_CHECKING:
    from hdvlab.host.remote_lab import RemoteLab

#: Seconds that a host may take until clients may come.
_PATIENCE = 60.0
#: Seconds for a host whose start was given up: to come up, and to end.
_LAST = 5.0
#: Seconds for a look at a host.
_LOOK = 2.0


def start(
    name: str,
    *,
    machine: str = "embedded",
    ram: int | None = None,
    trace: str | os.PathLike[str] | None = None,
    lease: float = 600.0,
) -> RemoteLab:
    """Start a device host, a process that outlives this one, and attach to it.

    Parameters
    ----------
    name : str
        How it is found again.
    machine : str
        ``"embedded"``, or ``"vm"`` for one that is booted.
    ram : int, optional
        Guest RAM in bytes.
    trace : path, optional
        Directory to record into; one below the state directory when not given. It stays.
    lease : float
        Seconds that the host goes on while nobody is attached; 0 = for ever.

    Raises
    ------
    StateError
        There is a host of that name (``ERROR_ALREADY_EXISTS``).
    BackendError
        It does not start; the message has the end of its log.
    """
    check_name(name)
    if not 0 <= lease < 1e9:
        raise UsageError(f"a lease is a number of seconds, 0 = for ever, not {lease!r}")
    if before := latest(name):
        end_orphan(before)  # the VM of a host that was killed: this one takes its place
    directory = new_directory(name)
    reading, writing = os.pipe()
    words = [sys.executable, "-m", "hdvlab.host", "--name", name, "--directory", str(directory), "--ready",
             str(writing), "--machine", machine, "--lease", str(lease)]  # fmt: skip
    if ram is not None:
        words += ["--ram", str(ram)]
    if trace is not None:
        words += ["--trace", str(Path(trace).expanduser().absolute())]
    log = directory / "log"
    try:
        with log.open("wb") as output:
            os.fchmod(output.fileno(), 0o600)
            first = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[writing],
                start_new_session=True,
                env=_environment(),
            )
        os.close(writing)
        writing = -1
        first.wait()  # it has forked: the host is nobody's child
        told = _first_line(reading)
    except BaseException:
        if writing >= 0:  # else nobody else would end the line
            os.close(writing)
            writing = -1
        _unwanted(_first_line(reading, _LAST))
        raise
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if "error" in told:
        _forget(directory)
        raise rebuilt_error(told["error"])
    if "pid" not in told:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise BackendError(f"host {name} did not start; its log, {log}, ends with\n{tail}")
    try:
        return attach(name)
    except BaseException:
        _unwanted(told)
        raise


def _unwanted(told: dict[str, Any]) -> None:
    """End a host whose start was given up, so that its name is free; one that is slower finds that nobody reads."""
    with contextlib.suppress(KeyError, ProcessLookupError):
        os.kill(told["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _LAST
        while started_of(told["pid"]) and time.monotonic() < deadline:
            time.sleep(0.01)


def _environment() -> dict[str, str]:
    """This process's environment, such that the host finds the hdvlab that this process has."""
    ours = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{ours}{os.pathsep}{path}" if path else ours, "PYTHONUNBUFFERED": "1"}


def _first_line(reading: int, patience: float = _PATIENCE) -> dict[str, Any]:
    """What the host says of its start; empty where it says nothing."""
    data, deadline = b"", time.monotonic() + patience
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if not select.select([reading], [], [], max(0.0, left))[0]:
            if left <= 0:
                break
        else:
            part = os.read(reading, 65536)
            if not part:
                break
            data += part
    try:
        told: dict[str, Any] = json.loads(data)
    except ValueError:
        return {}
    return told


def _forget(directory: Path) -> None:
    """Remove what a host that did not start has left."""
    with contextlib.suppress(OSError):
        (directory / "log").unlink()
        directory.rmdir()


def find(name: str) -> Record:
    """The host of a name: the one that runs, else the last there was.

    Raises
    ------
    UsageError
        There was none; the message says which there are.
    """
    record = latest(check_name(name))
    if record is None:
        known = list(dict.fromkeys(one.name for one in records()))
        there = f"there is {', '.join(known)}" if known else f"hdvlab.host.start({name!r}) starts it"
        raise UsageError(f"there is no host {name}; {there}")
    return record


def attach(name: str) -> RemoteLab:
    """Attach to a host that runs, from any process of this user.

    Raises
    ------
    StateError
        It does not run any more; the message says where its trace and its log are.
    UsageError
        There is no such host.
    """
    from hdvlab.host.remote_lab import RemoteLab

    record = find(name)
    if not record.is_alive:
        ended = f"has ended ({record.ended})" if record.ended else "is dead: it was killed, or crashed"
        raise StateError(
            f"host {name} {ended}; its trace is {record.trace} (hdvlab.read_trace reads it), its log {record.log}",
            HResult.HCS_E_SERVICE_DISCONNECT,
        )
    return RemoteLab(record)


@dataclass(frozen=True)
class HostStatus:
    """One host, as it stands.

    ``state`` is ``on`` or ``off`` for its machine, ``hung`` where it does not answer, ``dead`` where it was killed,
    else why it ended. ``lease_left`` is in seconds, None = for ever, or somebody is there.
    """

    name: str
    pid: int
    since: str
    machine: str
    devices: tuple[str, ...]
    clients: int
    lease_left: float | None
    state: str
    trace: str
    log: str

    @property
    def is_alive(self) -> bool:
        """Whether it can be attached to."""
        return self.state in ("on", "off", "hung")


class Hosts(tuple[HostStatus, ...]):
    """Hosts, shown as a table."""

    __slots__ = ()

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("name", "pid", "since", "machine", "devices", "clients", "lease", "state")]
        for one in self:
            left = "" if one.lease_left is None or not one.is_alive else f"{one.lease_left:.0f} s"
            since = one.since.replace("+00:00", "Z").replace("T", " ")
            rows.append((one.name, str(one.pid), since, one.machine, ", ".join(one.devices),
                         str(one.clients) if one.is_alive else "", left, one.state))  # fmt: skip
        return rows

    def __repr__(self) -> str:
        if not self:
            return "no host; hdvlab host NAME starts one"
        rows = self._table()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        dead = [f"{one.name}: {one.trace}" for one in self if not one.is_alive]
        return "\n".join([*lines, *(["", "traces of those that are gone:", *dead] if dead else [])])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        if not rows:
            return html.escape(repr(self))

        def line(tag: str, cells: Iterable[str]) -> str:
            inner = "".join(f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells)
            return f"<tr>{inner}</tr>"

        lines = [line("td", (*row, one.trace)) for row, one in zip(rows, self, strict=True)]
        return f"<table>{line('th', (*head, 'trace'))}{''.join(lines)}</table>"


def hosts(*, dead: bool = True) -> Hosts:
    """The hosts that run, and of the others the last of each name."""
    found: dict[str, Record] = {}
    for record in records():
        if not (record.name in found and found[record.name].is_alive):
            found[record.name] = record
    return Hosts(status for record in found.values() if (status := _status(record)).is_alive or dead)


def _status(record: Record) -> HostStatus:
    given: dict[str, Any] = {"devices": (), "clients": 0, "lease_left": None}
    if not record.is_alive:
        state = f"ended: {record.ended}" if record.ended else "dead: killed, or crashed"
        if (orphan := open_orphan(record)) is not None:
            os.close(orphan)
            state += f"; its VM runs on, hdvlab host {record.name} --stop ends it"
    else:
        try:
            facts = _facts(record)
            state = "on" if facts["running"] else "off"
            given |= {"devices": tuple(facts["devices"]), "clients": facts["clients"]}
            if facts["lease"] and not facts["clients"]:
                given["lease_left"] = max(facts["lease_left"], 0.0)
        except HdvError:
            state = "hung"
    return HostStatus(
        name=record.name, pid=record.pid, since=record.since, machine=record.machine, state=state,
        trace=record.trace, log=record.log, **given,
    )  # fmt: skip


def _facts(record: Record) -> dict[str, Any]:
    """What a host says of itself to somebody who only looks."""
    connected = connect(record)
    try:
        connected.settimeout(_LOOK)
        channel = Channel(connected)
        channel.send({"id": 1, "request": "facts"})
        reply = channel.receive()
        if reply is None or "result" not in reply:
            raise BackendError(f"host {record.name} does not say how it is")
        facts: dict[str, Any] = reply["result"]
        return facts
    finally:
        connected.close()


def stop_host(name: str, timeout: float = 30.0) -> Record:
    """End a host in good order, whoever is attached.

    Raises
    ------
    StateError
        It does not end in time.
    """
    record = find(name)
    end_orphan(record)
    if record.is_alive:
        with contextlib.suppress(HdvError), attach(name) as lab:
            lab.shut_down()
    deadline = time.monotonic() + timeout
    while record.is_alive:
        if time.monotonic() > deadline:
            raise StateError(f"host {name}, process {record.pid}, does not end; kill it, its trace is whole")
        time.sleep(0.02)
    return find(name)
