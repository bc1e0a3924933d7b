"""Device hosts of other processes, for a machine in this one: the machine's side of a proxy.

Ref: HDV API, HdvProxyDeviceHost. The device's side is :mod:`hdvlab.hdv.proxy`.
"""

from __future__ import annotations

import contextlib
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
        milliseconds = round(seconds * 1000)
        if not 1 <= milliseconds <= 4000:
            raise AccessError(f"a budget is 0.001 to 4 seconds, not {seconds}: a VM itself gives up after 5")
        check(lib.hdvlab_proxy_set_budget(self._host, milliseconds), "set_budget")

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


class Broker:
    """Listens on a socket and makes the device hosts that come there hosts of a machine.

    Only processes of the same user are let in.

    Parameters
    ----------
    system : cdata
        ``HCS_SYSTEM`` of the machine.
    path : path
        Socket to make; its directory is made too, with mode 0700, where there is none. The socket has mode 0600.
    budget : float
        Seconds that a guest waits for one answer; see :meth:`RemoteHost.set_budget`.
    changed : callable, optional
        ``changed(host)``, on a thread of the broker's own, whenever a host comes, hangs, recovers or ends.
    refused : callable, optional
        ``refused(error)``, when one could not be let in.

    Raises
    ------
    BackendError
        The socket cannot be made.
    """

    def __init__(
        self,
        system: Any,
        path: str | os.PathLike[str],
        *,
        budget: float = 1.0,
        changed: Callable[[RemoteHost], None] = lambda host: None,
        refused: Callable[[HdvError], None] = lambda error: None,
    ) -> None:
        self.path = Path(path)
        self._system, self._budget, self._changed, self._refused = system, budget, changed, refused
        self._guard = threading.Condition()
        self._hosts: list[RemoteHost] = []
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._listener = self._listen()
        self._acceptor = threading.Thread(target=self._accept, name="hdvlab-broker", daemon=True)
        self._acceptor.start()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            listener.bind(str(self.path))
            self.path.chmod(0o600)  # nobody can have connected: it does not listen yet
            listener.listen()
        except OSError as error:
            listener.close()
            reason = "it is there already; remove it if its owner is gone" if self.path.exists() else error.strerror
            raise BackendError(f"{reason or error}: {self.path}", operation="listen for device hosts") from error
        return listener

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

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
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
        """Listen no more and end all hosts; closing twice is nothing."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._guard.notify_all()
            hosts, threads = list(self._hosts), list(self._threads)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for host in hosts:
            host.end()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
