"""Kernel processes of their own, asked as a notebook's front end asks them; they may be killed."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from types import TracebackType
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

PATIENCE = 60.0  # seconds for one message; a loaded machine starts kernels slowly


class Kernel:
    """Runs cells and collects what they put out.

    Parameters
    ----------
    in_good_order : bool
        Whether it is told to end, as front ends do it, and closes its lab on the way out; else it is killed.
    """

    def __init__(self, *, in_good_order: bool = False) -> None:
        self._in_good_order = in_good_order
        self.manager = KernelManager(kernel_name="python3")
        self.manager.kernel_spec.argv[0] = sys.executable
        self.client: BlockingKernelClient

    def __enter__(self) -> Kernel:
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=PATIENCE)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=not self._in_good_order)
        self.manager.cleanup_resources()

    def kill(self) -> None:
        """SIGKILL."""
        pid = self.manager.provisioner.pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGKILL)

    def send(self, cell: str) -> str:
        return str(self.client.execute(cell))

    def outputs(self, request: str, until: str = "", patience: float = PATIENCE) -> list[dict[str, Any]]:
        """The outputs of a cell until it is done, or until a stream says ``until``, ``patience`` seconds at most."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return found
            if kind in ("stream", "error", "execute_result", "display_data"):
                found.append({"type": kind, **content})
            if until and kind == "stream" and until in content["text"]:
                return found
        raise TimeoutError(f"no end of the cell; outputs so far: {found}")

    def run(self, cell: str) -> list[dict[str, Any]]:
        return self.outputs(self.send(cell))

    def text(self, cell: str) -> str:
        """How the cell's value shows itself."""
        outputs = self.run(cell)
        results = [one["data"]["text/plain"] for one in outputs if one["type"] == "execute_result"]
        assert len(results) == 1, outputs
        return str(results[0])
