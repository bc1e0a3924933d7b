"""A notebook's kernel is interrupted, restarted and killed while ``dd`` runs in the guest: nothing is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hdvlab.host.record import records
from hdvlab.trace.open import open_trace

from ..kernels import PATIENCE, Kernel

pytestmark = pytest.mark.vm

TIMES = 20
#: Entries of 16 bytes in Linux' completion queue, which lies on a multiple of its size.
QUEUE = 1024 * 16

WORK = """%%hdv sh
dd if=/dev/urandom of=/tmp/whole bs=64k count=64 2>/dev/null
sha256sum < /tmp/whole
(
while [ ! -e /tmp/enough ]; do
    dd if=/tmp/whole of=/dev/nvme0n1 bs=64k oflag=direct 2>/dev/null || touch /tmp/failed
    echo round >> /tmp/rounds
done
touch /tmp/done
) > /dev/null 2>&1 &
"""
#: What a person might be doing when the stop button is pressed; each says that it has begun.
BUSY = (
    "print('begun')\nwhile True: get_ipython().run_line_magic('hdv', 'status')",
    "%hdv sh echo begun; sleep 1000",
    "print('begun')\nlab = hdvlab.current_lab()\nwhile True: lab.trace.frame()",
    "%hdv sh echo begun; while :; do dd if=/dev/nvme0n1 of=/dev/null bs=4k 2>/dev/null; done",
    "import time; print('begun'); time.sleep(1000)",
)
ATTACH = """import hdvlab
%load_ext hdvlab
import time
_began = time.monotonic()
get_ipython().run_line_magic("hdv", f"attach {name};")
print("attached in", time.monotonic() - _began, "s")
"""


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host's name; that host does not outlive the test."""
    for variable, folder in (("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run")):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / folder))
    yield "kernels"
    for record in records():
        if record.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while record.is_alive and time.monotonic() < deadline:
                time.sleep(0.01)


def said(kernel: Kernel, cell: str) -> str:
    """What a cell printed; it did not fail."""
    outputs = kernel.run(cell)
    assert not [one for one in outputs if one["type"] == "error"], outputs
    return "".join(one["text"] for one in outputs if one["type"] == "stream")


def attached(kernel: Kernel, name: str) -> float:
    """Attach in a fresh kernel; seconds that it took."""
    match = re.search(r"attached in ([0-9.]+) s", said(kernel, f"name = {name!r}\n{ATTACH}"))
    assert match
    return float(match[1])


def rounds(kernel: Kernel) -> int:
    return int(said(kernel, "%hdv sh cat /tmp/rounds 2>/dev/null | wc -l"))


def stopped(kernel: Kernel, request: str) -> list[dict[str, Any]]:
    """What a cell put out until the stop button had ended it.

    It is pressed again, as a person would: Python drops an interrupt that arrives inside a destructor or a weak
    reference's callback, and a loop that makes a million frames has those.
    """
    for patience in (5.0, 5.0, PATIENCE):
        kernel.manager.interrupt_kernel()
        with contextlib.suppress(TimeoutError):
            return kernel.outputs(request, patience=patience)
    raise AssertionError("the stop button does nothing")


def test_a_kernel_that_is_interrupted_restarted_and_killed_disturbs_no_dd_in_the_guest(name: str) -> None:
    took: list[float] = []
    with Kernel() as kernel:
        said(kernel, f"import hdvlab\n%load_ext hdvlab\n%hdv boot --device nvme --config size=8M --name {name};")
        told = re.search(r"\b[0-9a-f]{64}\b", said(kernel, WORK))
        assert told
        digest = told[0]
        for number in range(TIMES):
            request = kernel.send(BUSY[number % len(BUSY)])
            kernel.outputs(request, until="begun")
            outputs = stopped(kernel, request)
            assert [one["ename"] for one in outputs if one["type"] == "error"] == ["KeyboardInterrupt"], (
                number,
                outputs,
            )
        before = rounds(kernel)
        for _ in range(TIMES):
            kernel.client.stop_channels()
            kernel.manager.restart_kernel()
            kernel.client = kernel.manager.client()
            kernel.client.start_channels()
            kernel.client.wait_for_ready(timeout=PATIENCE)
            took.append(attached(kernel, name))
    for _ in range(TIMES):
        with Kernel() as kernel:
            took.append(attached(kernel, name))
            kernel.outputs(kernel.send(BUSY[2]), until="begun")
            kernel.kill()
    with Kernel() as kernel:
        attached(kernel, name)
        assert rounds(kernel) > before  # all the while
        said(kernel, "%hdv sh touch /tmp/enough; while [ ! -e /tmp/done ]; do sleep 0.1; done")
        assert "failed" not in said(kernel, "%hdv sh ls /tmp")
        said(kernel, "%hdv sh echo 3 > /proc/sys/vm/drop_caches")
        assert digest in said(kernel, "%hdv sh dd if=/dev/nvme0n1 bs=64k count=64 2>/dev/null | sha256sum")
        assert kernel.text("%hdv faults").startswith("no device has failed")
        said(kernel, f"%hdv host {name} --stop;")
    assert sorted(took)[len(took) // 2] < 1.0
    check_whole(open_trace(records()[-1].trace).frame())


def check_whole(frame: pd.DataFrame) -> None:
    """No row is missing: none by the trace's own count, none in the chain of completions."""
    assert (frame.attrs["lost"], frame.attrs["holes"], frame.attrs["pending"]) == (0, 0, 0)
    assert len(frame) > 10_000
    completions = frame[(frame["kind"] == "dma_write") & (frame["size"] % 16 == 0)]
    queue = completions["address"].to_numpy() // QUEUE
    mine = completions[queue == np.bincount(queue.astype(np.int64)).argmax()]
    place, size = mine["address"].to_numpy() % QUEUE, mine["size"].to_numpy()
    assert len(mine) > 1000
    assert np.array_equal(place[1:], (place[:-1] + size[:-1]) % QUEUE)
