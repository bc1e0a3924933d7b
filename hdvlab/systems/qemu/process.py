"""QEMU as a process: started in a session of its own, watched, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hdvlab.errors import BackendError
from hdvlab.systems.qemu.endless_log import give_back_beginning, read_end

_TAIL = 600  # characters of QEMU's own words in an error
_LOOK = 5.0  # seconds between two looks at how long its logs are


class QemuProcess:
    """A running QEMU.

    It has a session of its own, so that a Ctrl-C meant for a notebook does not reach it.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    environment : mapping of str to str
        On top of this process's own.
    log : path
        Takes what it prints.
    on_exit : callable
        ``on_exit(status)``, once, on a thread of its own; a signal's number negated, as in :mod:`subprocess`.
    logs : sequence of path
        Further files that it appends to; the beginnings of those that grow without end are given up.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        on_exit: Callable[[int], None] = lambda status: None,
        logs: Sequence[Path] = (),
    ) -> None:
        self.command = tuple(command)
        self._log = log
        self._logs = (log, *logs)
        self._on_exit = on_exit
        try:
            with open(log, "ab") as out:
                self._log_from = out.tell()  # what is before that was said by another run
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
        except OSError as error:
            raise BackendError(f"{error.strerror}: {self.command[0]}", operation="start QEMU") from None
        self._watcher = threading.Thread(target=self._watch, name="hdvlab-qemu", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # it has ended, and been waited for
            end = os.pidfd_open(self._process.pid)
            try:
                while not select.select([end], [], [], _LOOK)[0]:
                    for log in self._logs:
                        give_back_beginning(log)
            finally:
                os.close(end)
        self._on_exit(self._process.wait())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status, a signal's number negated; None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for its end; whether it has come."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return not self.running

    def kill(self) -> None:
        """SIGKILL; returns when it is gone and :meth:`_watch` has told so. Again is nothing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._watcher is not threading.current_thread():
            self._watcher.join()

    def last_words(self) -> str:
        """The end of what it printed."""
        try:
            own = self._log.stat().st_size - self._log_from  # without those of a run before
        except OSError:
            return ""
        return read_end(self._log, min(4096, own))[-_TAIL:].strip() if own > 0 else ""
