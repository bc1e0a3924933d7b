"""The device-host process: a lab whose machine, devices and trace live on, whatever becomes of the notebook."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import math
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, HdvError, HResult, StateError, UsageError
from hdvlab.host.call import Call
from hdvlab.host.output import Output
from hdvlab.host.places import open_private, runtime_directory
from hdvlab.host.programs import Programs
from hdvlab.host.record import Record, boot_id, check_name, new_directory, started_of
from hdvlab.host.requests import find_request
from hdvlab.host.session import Session
from hdvlab.host.stops import tell_stops
from hdvlab.host.watchdog import Watchdog
from hdvlab.lab import Lab
from hdvlab.systems.qemu.lease import Lease

#: Seconds without a client after which a host ends, where nothing else is said.
DEFAULT_LEASE = 600.0
#: Seconds that a VM goes on without its host where the host's lease is for ever.
_WITHOUT_HOST = 600.0
#: Seconds between two looks at the lease.
_LOOK = 1.0
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


class Host:
    """A lab, the clients of it, and how long it may go on without one.

    Parameters
    ----------
    name : str
        How it is found.
    machine : str
        Kind of machine, as :class:`hdvlab.Lab` knows them.
    ram : int, optional
        Bytes of guest RAM.
    trace : path, optional
        Where to record to; a directory beside the log when not given.
    lease : float
        Seconds that it goes on without a client; 0 = for ever.
    """

    def __init__(
        self,
        name: str,
        *,
        machine: str = "embedded",
        ram: int | None = None,
        trace: Path | None = None,
        lease: float = DEFAULT_LEASE,
        directory: Path | None = None,
    ) -> None:
        check_name(name)
        self._runtime = runtime_directory()
        self._lock = self._locked(name)
        home = directory or new_directory(name)
        self.record = Record(
            name=name,
            pid=os.getpid(),
            started=started_of(os.getpid()),
            boot=boot_id(),
            since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            machine=machine,
            lease=lease,
            socket=str(self._runtime / f"{name}.sock"),
            directory=str(home),
            trace=str((trace or home / "trace").absolute()),
            log=str(home / "log"),
        )
        self._listener = self._listen(name)
        given: dict[str, Any] = {"trace": self.record.trace}
        if ram is not None:
            given["ram"] = ram
        if machine != "embedded":
            given["machine"] = machine
        self.lab = Lab(**given)
        self.lab.vm_lease = Lease(lease or _WITHOUT_HOST, self.record.lease_file)
        self.programs = Programs()
        self.runs: dict[str, tuple[int, int | None]] = {}
        """Named stretches of the trace that clients have made: first row, and the one behind the last."""
        self._guard = threading.Lock()
        self._sessions: dict[int, Session] = {}
        self._changes = 0
        self._alone_since = time.monotonic()
        self._ending = ""
        self._refused = -math.inf  # when it was noted last that a client could not be let in
        self._watchdog = Watchdog(self.lab)
        self.stepping_guard = threading.RLock()
        self.stepping_changes = 0
        self.lab.waits_while_held = True  # clients do not
        self.lab.stepper.cells_run_here = self.lab.stepper.announces = False
        self.lab.stepper.on_change(lambda: tell_stops(self))
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    # ---- where it is found -------------------------------------------------------------------------------------

    def _locked(self, name: str) -> int:
        """The lock on a name, held as long as the process lives."""
        directory = open_private(self._runtime)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(f"{name}.lock", flags, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode("ascii", "replace").strip()
            os.close(lock)
            raise StateError(
                f"there is a host {name} already, process {holder or 'not known'}; attach to it "
                f"(%hdv attach {name}), or end it (hdvlab host {name} --stop)",
                HResult.ERROR_ALREADY_EXISTS,
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        return lock

    def _listen(self, name: str) -> socket.socket:
        """The socket, mode 0600; the place of a dead host's is taken, which its lock has shown to be dead."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        directory = open_private(self._runtime)
        before = os.umask(0o177)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}.sock", dir_fd=directory)
            # By the descriptor: no length limit on the directory's name, and no link on the way.
            listener.bind(f"/proc/self/fd/{directory}/{name}.sock")
        except OSError as error:
            listener.close()
            raise BackendError(f"{self.record.socket} cannot be made: {error.strerror}") from error
        finally:
            os.umask(before)
            os.close(directory)
        listener.listen(16)
        listener.setblocking(False)
        return listener

    # ---- the main thread ---------------------------------------------------------------------------------------

    def serve(self, ready: Callable[[], None]) -> None:
        """Serve until somebody ends it, the lease runs out, or SIGTERM comes; then end the lab in good order."""
        signal.signal(signal.SIGTERM, lambda *_: self.end("SIGTERM"))
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        self.touch_lease()
        self.record.write()
        ready()
        sys.stdout = Output(self, "stdout", sys.stdout)
        sys.stderr = Output(self, "stderr", sys.stderr)
        self._watchdog.start()
        self.note(f"host {self.record.name}, process {self.record.pid}, {self.record.machine} machine")
        try:
            while not self._ending:
                if self._wait() and not self._ending:
                    self._accept()
                self._look_at_lease()
        finally:
            self._finish()

    def _wait(self) -> bool:
        """Wait a little for a client or a word to end; whether there is one."""
        watched: list[Any] = [self._listener, self._wake_read]
        return bool(select.select(watched, [], [], _LOOK)[0])

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except BlockingIOError:  # it went away again
            return
        except OSError as error:
            if time.monotonic() - self._refused > 10.0:  # it is tried again and again; the log is not to fill the disk
                self._refused = time.monotonic()
                self.note(f"a client could not be let in: {error.strerror}; it waits")
            time.sleep(0.05)  # out of descriptors, perhaps
            return
        connected.setblocking(True)
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, user, _ = _CREDENTIALS.unpack(credentials)
        if user != os.geteuid():
            self.note(f"process {pid} of user {user} was not let in")
            connected.close()
            return
        with self._guard:
            self._changes += 1
            session = self._sessions[self._changes] = Session(self, connected, self._changes)
        session.start()

    def _look_at_lease(self) -> None:
        with self._guard:
            alone = not any(session.is_welcome for session in self._sessions.values())
            if not alone:
                self._alone_since = time.monotonic()
            late = time.monotonic() - self._alone_since
        if not alone:
            self.touch_lease()
        if self.record.lease and late > self.record.lease:
            self.end(f"nobody was there for {self.record.lease:g} s")

    def note_vm(self) -> None:
        """A VM was started: say in the host's record where it is, for whoever finds the host dead."""
        self.record = replace(self.record, vm=str(self.lab.vm.place.directory))
        self.record.write()

    def touch_lease(self) -> None:
        """Somebody is there now."""
        with contextlib.suppress(OSError):  # a full disk: the keeper then counts from the last time
            self.record.lease_file.touch()

    def end(self, reason: str) -> None:
        """End soon, in good order."""
        self._ending = self._ending or reason
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"x")

    def _finish(self) -> None:
        self.note(f"ends: {self._ending or 'it failed'}")
        self._listener.close()
        self._watchdog.stop()
        with contextlib.suppress(OSError):
            os.unlink(self.record.socket)
        try:
            self.lab.close()
        except HdvError as error:
            self.note(f"the lab did not end in good order: {error}")
        self.record.ending(self._ending or "it failed").write()
        for session in list(self._sessions.values()):
            session.say_goodbye({"event": "ended", "reason": self._ending})

    # ---- clients -----------------------------------------------------------------------------------------------

    def answer(self, name: str, given: dict[str, Any], call: Call) -> Any:
        """Do what a client asks for."""
        function = find_request(name)
        try:
            function.bind(self, call, given)
        except TypeError as error:
            raise UsageError(f"request {name}: {error}") from None
        return function(self, call, given)

    def came(self, session: Session) -> None:
        """A client has said hello."""
        self.note(f"client {session.number}, process {session.pid}, has come")
        self.touch_lease()

    def left(self, session: Session) -> None:
        """A connection is over."""
        with self._guard:
            known = self._sessions.pop(session.number, None)
            allocators = self.lab.allocators
            others = any(one.is_welcome for one in self._sessions.values())
            if known is not None and session.is_welcome and not others:
                self._alone_since = time.monotonic()
        for owner in session.owners.values():
            for allocator in allocators or ():
                allocator.give_back(owner)
        if known is not None and session.is_welcome:
            self.note(f"client {session.number} has gone")

    @property
    def clients(self) -> list[Session]:
        """Those that are there."""
        with self._guard:
            return [session for session in self._sessions.values() if session.is_welcome]

    def tell(self, event: dict[str, Any]) -> None:
        """Tell every client."""
        for session in self.clients:
            session.tell(event)

    @property
    def generation(self) -> int:
        """Counts up whenever what a client knows of the devices is old."""
        return self._changes_of_lab

    _changes_of_lab = 1

    def changed(self) -> None:
        """The devices, or the machine's power, are others now."""
        with self._guard:
            self._changes_of_lab += 1
        self.tell({"event": "changed", "generation": self._changes_of_lab})

    def note(self, text: str) -> None:
        """A line for the log."""
        moment = datetime.datetime.now().isoformat(sep=" ", timespec="milliseconds")
        with contextlib.suppress(OSError, ValueError):
            print(f"{moment} {text}", file=sys.__stderr__, flush=True)

    def facts(self) -> dict[str, Any]:
        """What a client is told at first."""
        record = self.record
        left = record.lease - (time.monotonic() - self._alone_since) if record.lease else 0.0
        return {
            "name": record.name, "pid": record.pid, "since": record.since, "machine": record.machine,
            "trace": record.trace, "log": record.log, "directory": record.directory, "lease": record.lease,
            "lease_left": left, "clients": len(self.clients), "running": self.lab.running,
            "devices": [one.name for one in self.lab], "rows": len(self.lab.trace), "generation": self.generation,
        }  # fmt: skip
