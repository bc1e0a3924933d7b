"""QEMU's monitor: pause, reset, power, and what QEMU tells by itself.

Ref: QEMU Machine Protocol (QMP). The protocol is the QEMU project's own library's; it runs in a thread here, for a
notebook has an event loop of its own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, HResult, StateError


class Monitor:
    """A connection to QEMU's monitor.

    Parameters
    ----------
    path : path
        Its socket.
    why_silent : callable
        Says why QEMU may not answer, "" where there is no reason known: it is frozen while a device owes it an answer.
    on_event : callable, optional
        ``on_event(name, data)``, on the monitor's thread.

    Raises
    ------
    BackendError
        Nobody listens there, or somebody else is connected: QEMU serves one at a time.
    """

    def __init__(
        self,
        path: Path,
        why_silent: Callable[[], str] = lambda: "",
        on_event: Callable[[str, dict[str, Any]], None] = lambda name, data: None,
    ) -> None:
        from qemu.qmp import QMPClient

        self._why_silent, self._on_event = why_silent, on_event
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hdvlab-monitor", daemon=True)
        self._thread.start()
        self._client = QMPClient("hdvlab")
        self._client.logger.disabled = True  # what it has to say comes as exceptions
        try:
            self._call(self._connect(path), 5.0, "connect to QEMU's monitor")
        except BaseException:
            self.close()
            raise

    async def _connect(self, path: Path) -> None:
        await self._client.connect(str(path))
        self._listener = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:

        with self._client.listener() as events:
            async for event in events:
                with contextlib.suppress(Exception):  # whoever listens has its own errors
                    self._on_event(str(event["event"]), dict(event.get("data", {})))

    def _call(self, what: Any, timeout: float, operation: str) -> Any:
        from qemu.qmp import QMPError

        future = asyncio.run_coroutine_threadsafe(what, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            why = self._why_silent() or "QEMU does not answer; %hdv vm kill ends it"
            raise StateError(why, HResult.ERROR_TIMEOUT, operation) from None
        except (QMPError, OSError, asyncio.CancelledError) as error:
            raise BackendError(str(error) or "QEMU has ended", operation=operation) from None

    def execute(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = 5.0) -> Any:
        """Run one command and return its answer.

        Raises
        ------
        StateError
            No answer within ``timeout`` seconds (``ERROR_TIMEOUT``); the message says why.
        BackendError
            QEMU refused, or has ended.
        """
        return self._call(self._client.execute(command, arguments), timeout, f"monitor: {command}")

    def close(self) -> None:
        """Disconnect; QEMU goes on. Again is nothing."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        with contextlib.suppress(Exception):
            await self._client.disconnect()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
