"""Device hosts of other processes, for a machine in this one: the machine's side of a proxy.

Ref: HDV API, HdvProxyDeviceHost. The device's side is :mod:`hdvlab.hdv.proxy`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, BackendError, HdvError, HResult, check

_FOR_EVER = 0xFFFF_FFFF
_HELLO_MS = 2000
_STATES = {lib.HDVLAB_PROXY_UP: "up", lib.HDVLAB_PROXY_HUNG: "hung", lib.HDVLAB_PROXY_ENDED: "ended"}


def _milliseconds(budget: float) -> int:
    if not 0.001 <= budget <= 4:  # NaN neither
        raise AccessError(f"a budget is 0.001 to 4 seconds, not {budget}: a VM itself gives up after 5")
    return round(budget * 1000)


class RemoteHost:
    """A device host in another process.

    Attributes
    ----------
    process_id : int
        Its process.
    vm_id : UUID
        The VM that it says it is for.
    state : str
        ``"up"``; ``"hung"``: a device owes an answer and the guest reads all ones; ``"ended"``.
    reason : int
        HRESULT of its end: ``S_OK`` in good order, ``HCS_E_SERVICE_DISCONNECT`` its process is gone,
        ``HCS_E_PROTOCOL_ERROR`` it was cut off for what it sent.
    """

    def __init__(self, host: Any, vm_id: uuid.UUID, process_id: int) -> None:
        self._host = ffi.gc(host, lambda one: one.lpVtbl.Release(one))
        self._ipc = 0
        self.process_id = process_id
        self.vm_id = vm_id
        self.state = "up"
        self.reason = int(HResult.S_OK)

    def set_budget(self, seconds: float) -> None:
        """The longest a guest waits for one answer, in seconds: 0.001 to 4."""
        check(lib.hdvlab_proxy_set_budget(self._host, _milliseconds(seconds)), "set_budget")

    def register(self, system: Any) -> None:
        """HdvProxyDeviceHost: make it a host of the machine."""
        ipc = ffi.new("uint64_t *")
        check(lib.HdvProxyDeviceHost(system, self._host, self.process_id, ipc), "HdvProxyDeviceHost")
        self._ipc = int(ipc[0])

    def wait(self) -> str:
        """Wait until the state is another; returns it."""
        state, why = ffi.new("uint32_t *"), ffi.new("HRESULT *")
        known = next(number for number, name in _STATES.items() if name == self.state)
        check(lib.hdvlab_proxy_wait(self._host, known, _FOR_EVER, state, why), "wait for a device host")
        self.reason = why[0] & 0xFFFFFFFF
        self.state = _STATES[state[0]]
        return self.state

    def end(self) -> None:
        """HdvTeardownDeviceHost, from the machine's side; one that has ended is left alone."""
        hresult = lib.HdvTeardownDeviceHost(ffi.cast("void *", self._ipc))
        if hresult & 0xFFFFFFFF != HResult.E_HANDLE:
            check(hresult, "HdvTeardownDeviceHost", "called from a device's callback")

    def kill(self) -> None:
        """SIGKILL for its process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)

    def __repr__(self) -> str:
        why = f": {HResult.symbol_of(self.reason)}" if self.state == "ended" else ""
        return f"<device host in process {self.process_id}, {self.state}{why}>"


def _is_left_over(path: Path) -> bool:
    """Whether a path is a socket that nobody listens on."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


class Broker:
    """Listens on a socket and makes the device hosts that come there hosts of a machine.

    Only processes of the same user are let in.

    Parameters
    ----------
    system : cdata
        ``HCS_SYSTEM`` of the machine.
    path : path
        Socket to make; its directory is made too, with mode 0700, where there is none. The socket has mode 0600. One
        that nobody listens on, left by a process that was killed, is replaced.
    budget : float
        Seconds that a guest waits for one answer; see :meth:`RemoteHost.set_budget`.
    changed : callable, optional
        ``changed(host)``, on a thread of the broker's own, whenever a host comes, hangs, recovers or ends.
    refused : callable, optional
        ``refused(error)``, when one could not be let in.
    listening : bool
        Whether to :meth:`listen` at once.

    Raises
    ------
    BackendError
        The socket cannot be made, or somebody listens there.
    AccessError
        The budget is out of bounds (``E_INVALIDARG``).
    """

    def __init__(
        self,
        system: Any,
        path: str | os.PathLike[str],
        *,
        budget: float = 1.0,
        changed: Callable[[RemoteHost], None] = lambda host: None,
        refused: Callable[[HdvError], None] = lambda error: None,
        listening: bool = True,
    ) -> None:
        _milliseconds(budget)
        self.path = Path(path).expanduser()
        self._system, self._budget, self._changed, self._refused = system, budget, changed, refused
        self._guard = threading.Condition()
        self._hosts: list[RemoteHost] = []
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._bound = False
        self._acceptor = threading.Thread(target=self._accept, name="hdvlab-broker", daemon=True)
        if listening:
            self.listen()

    def listen(self) -> None:
        """Make the socket and let hosts in. One that fails, also by Ctrl-C, is closed."""
        try:
            self._listen()
            self._acceptor.start()
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def _listen(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_left_over(self.path):
                self.path.unlink()
            self._bound = not self.path.exists()  # before it is so, for Ctrl-C may come in between
            self._listener.bind(str(self.path))
            self.path.chmod(0o600)  # nobody can have connected: it does not listen yet
            self._listener.listen()
        except OSError as error:
            self._bound = False
            reason = error.strerror or str(error)
            if self.path.is_socket():
                reason = "somebody listens there already; close that broker, or take another path"
            elif self.path.exists():
                reason = "this is there already and is no socket; take another path"
            raise BackendError(f"{reason}: {self.path}", operation="listen for device hosts") from error

    @property
    def hosts(self) -> list[RemoteHost]:
        """Those that came and have not ended."""
        with self._guard:
            return list(self._hosts)

    def wait_for_host(self, count: int = 1, timeout: float | None = None) -> list[RemoteHost]:
        """Wait until there are ``count`` hosts, up to ``timeout`` seconds; those that there are."""
        with self._guard:
            self._guard.wait_for(lambda: len(self._hosts) >= count or self._closed, timeout)
            return list(self._hosts)

    @property
    def budget(self) -> float:
        """Seconds that a guest waits for one answer; setting it sets that of the hosts that there are."""
        return self._budget

    @budget.setter
    def budget(self, seconds: float) -> None:
        _milliseconds(seconds)
        self._budget = seconds
        for host in self.hosts:
            host.set_budget(seconds)

    @property
    def listening(self) -> bool:
        """Whether hosts can come."""
        return self._bound and not self._closed

    def _accept(self) -> None:
        told = False
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                with self._guard:  # no descriptor is left, for example: who comes waits until there is one
                    if self._guard.wait_for(lambda: self._closed, 0.1):
                        return
                if not told:
                    self._refused(BackendError(f"{error.strerror}; it is tried again", operation="accept"))
                    told = True
                continue
            told = False
            thread = threading.Thread(target=self._serve, args=(connection,), name="hdvlab-proxy", daemon=True)
            with self._guard:
                self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """The life of one host, on a thread of its own."""
        try:
            host = self._welcome(connection)
        except HdvError as error:
            self._refused(error)
            host = None
        try:
            while host is not None:
                self._changed(host)
                if host.wait() == "ended":
                    break
        finally:
            with self._guard:
                if host is not None:
                    self._hosts.remove(host)
                self._threads.discard(threading.current_thread())
                self._guard.notify_all()
            if host is not None:
                self._changed(host)

    def _welcome(self, connection: socket.socket) -> RemoteHost:
        vm_id, process_id, host = ffi.new("GUID *"), ffi.new("uint32_t *"), ffi.new("IVmDeviceHost **")
        hresult = lib.hdvlab_proxy_accept(connection.detach(), _HELLO_MS, vm_id, process_id, host)
        check(hresult, "let a device host in", "it is no device host of this user, or said nothing")
        known = RemoteHost(host[0], uuid.UUID(bytes_le=bytes(ffi.buffer(vm_id, 16))), int(process_id[0]))
        known.set_budget(self._budget)
        with self._guard:
            closed = self._closed
            if not closed:
                known.register(self._system)
                self._hosts.append(known)
                self._guard.notify_all()
        if closed:
            raise BackendError("the broker is closed")
        return known

    def close(self) -> None:
        """Listen no more and end all hosts; closing twice is nothing, and finishes what Ctrl-C cut short."""
        with self._guard:
            self._closed = True
            self._guard.notify_all()
            hosts, threads = list(self._hosts), list(self._threads)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        if self._bound:
            self.path.unlink(missing_ok=True)
            self._bound = False
        for host in hosts:
            host.end()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def __repr__(self) -> str:
        hosts = ", ".join(f"process {host.process_id} ({host.state})" for host in self.hosts) or "no device host yet"
        return f"<broker at {self.path}, {'closed' if self._closed else hosts}>"

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
