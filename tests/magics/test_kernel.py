"""A kernel process of its own, asked as a notebook's front end asks it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.kernels import PATIENCE, Kernel


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    with Kernel(in_good_order=True) as kernel:
        assert kernel.run("%load_ext hdvlab") == []
        yield kernel


def test_a_device_is_plugged_in_and_shown(notebook: Kernel) -> None:
    (plugged,) = notebook.run("%hdv plug edu --config dma_delay_ms=1")
    assert plugged["data"]["text/plain"] == "<edu at 00:01.0, 1234:11e8, on>"
    (frame,) = notebook.run("%hdv trace --last 3")
    assert "<table" in frame["data"]["text/html"]
    (status,) = notebook.run("%hdv")
    assert "00:01.0" in status["data"]["text/html"]


def test_a_picture_is_a_picture_in_the_notebook(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu --config dma_delay_ms=1")
    (plot,) = notebook.run("%hdv plot timeline")
    assert plot["type"] == "execute_result"
    assert plot["data"]["image/png"].startswith("iVBOR")
    outputs = notebook.run("%matplotlib inline\n%hdv plot heatmap")
    assert [one["type"] for one in outputs] == ["execute_result"]
    assert outputs[0]["data"]["image/png"].startswith("iVBOR")


def test_a_mistake_is_an_error_output_of_one_line(notebook: Kernel) -> None:
    (error,) = notebook.run("%hdv peek NOTHNG")
    assert error["type"] == "error"
    assert error["ename"] == "UsageError"
    assert len(error["traceback"]) == 1
    assert "\n" not in error["traceback"][0]


def test_a_failing_line_at_the_top_of_a_guest_cell_is_shown(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu --config dma_delay_ms=1")
    (error,) = notebook.run("%%hdv guest\nx = 1\nedu.bar0.STAUS.write(1)")
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"]))
    assert "----> 3 edu.bar0.STAUS.write(1)" in text
    assert error["ename"] == "NoSuchRegisterError"


def test_an_error_of_ours_in_a_plain_cell_is_a_proper_short_error(notebook: Kernel) -> None:
    (error,) = notebook.run("import hdvlab\nhdvlab.read_trace('nope')")
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"]))
    assert (error["type"], error["ename"]) == ("error", "TraceError")
    assert error["evalue"] == "read nope: there is no such file; check the path"
    assert "----> 2 hdvlab.read_trace('nope')" in text
    assert "hdvlab/" not in text
    reply = notebook.client.execute("hdvlab.read_trace('nope')", reply=True, timeout=PATIENCE)["content"]
    assert (reply["status"], reply["ename"]) == ("error", "TraceError")


def test_cells_record_and_run_as_the_guest(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu --config dma_delay_ms=1")
    printed, run = notebook.run("%%hdv guest\nedu.bar0.LIVENESS.write(5)\nprint(hex(edu.bar0.LIVENESS.read()))")
    assert printed["text"] == "0xfffffffa\n"
    assert run["data"]["text/plain"].startswith("<guest: 2 rows (1 mmio_read, 1 mmio_write); ")
    shown, run = notebook.run("%%hdv record -o poked\n%hdv poke LIVENESS=1")
    assert shown["data"]["text/plain"] == "LIVENESS: 0xfffffffa → 0xfffffffe"
    assert run["data"]["text/plain"] == "<poked: 1 row (1 mmio_write)>"


def test_the_kernel_completes_what_stands_behind_the_magic(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu --config dma_delay_ms=1")
    for code, expected in (("%hdv tra", ["trace"]), ("x = %hdv peek STATUS.C", ["STATUS.COMPUTING"])):
        reply = notebook.client.complete(code, reply=True, timeout=PATIENCE)["content"]
        assert reply["matches"] == expected
        assert code[: reply["cursor_start"]] + expected[0] == code.rpartition(" ")[0] + " " + expected[0]


def test_the_stop_button_stops_an_endless_guest_and_the_lab_goes_on(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu --config dma_delay_ms=1")
    cell = "%%hdv guest\nprint('running', flush=True)\nwhile True:\n    edu.bar0.LIVENESS.read()"
    request = notebook.send(cell)
    notebook.outputs(request, until="running")
    began = time.monotonic()
    notebook.manager.interrupt_kernel()
    error = notebook.outputs(request)[-1]
    assert time.monotonic() - began < 10
    assert error["type"] == "error"
    assert error["ename"] == "KeyboardInterrupt"
    assert "guest stopped; the machine is still on" in error["traceback"][0]
    assert len(error["traceback"]) == 1
    (peeked,) = notebook.run("%hdv peek IDENTIFICATION")
    assert peeked["data"]["text/plain"].startswith("0x10000ed")
    (run,) = notebook.run("%%hdv guest\nedu.bar0.LIVENESS.write(1)")
    assert "1 mmio_write" in run["data"]["text/plain"]


def test_the_stop_button_stops_a_recorded_cell(notebook: Kernel) -> None:
    request = notebook.send("%%hdv record\nprint('running', flush=True)\nwhile True: pass")
    notebook.outputs(request, until="running")
    notebook.manager.interrupt_kernel()
    error = notebook.outputs(request)[-1]
    assert error["ename"] == "KeyboardInterrupt"
    assert "record stopped" in error["traceback"][0]


def test_unloading_ends_everything_in_the_kernel(notebook: Kernel) -> None:
    notebook.run("%hdv plug edu")
    notebook.run("path = get_ipython().run_line_magic('hdv', 'lab').trace.path")
    assert notebook.run("%unload_ext hdvlab") == []
    (there,) = notebook.run("path.exists()")
    assert there["data"]["text/plain"] == "False"


@pytest.mark.parametrize(
    ("begin", "line"),
    [
        ("def start(self):\n        print('waiting', flush=True)\n        while True: pass", "%hdv plug Slow"),
        (
            "def start(self): pass\n    @bar0.ASK.on_read\n    def ask(self):\n"
            "        print('waiting', flush=True)\n        while True: pass",
            "%hdv plug Slow\n%hdv whatif read slow.ASK",
        ),
    ],
    ids=["start", "whatif"],
)
def test_the_stop_button_ends_what_does_not_end_and_the_lab_is_usable(notebook: Kernel, begin: str, line: str) -> None:
    source = (
        "from hdvlab import Bar, Device, Register\n"
        "from hdvlab.device import rehearsal; rehearsal.PATIENCE = 60\n"
        "class Slow(Device):\n    vendor_id, device_id = 0x1234, 0x0021\n"
        "    class bar0(Bar, size=4096):\n        ASK = Register(0)\n"
        f"    {begin}\n"
    )
    notebook.run("%reload_ext hdvlab")  # the test before this one has unloaded it
    assert notebook.run(source) == []
    request = notebook.send(line)
    notebook.outputs(request, until="waiting")
    notebook.manager.interrupt_kernel()
    assert any(one["type"] == "error" and one["ename"] == "KeyboardInterrupt" for one in notebook.outputs(request))
    notebook.run("if 'slow' in __import__('hdvlab').current_lab(): get_ipython().run_line_magic('hdv', 'unplug slow')")
    (plugged,) = notebook.run("%hdv plug edu --name after")
    assert "after at 00:" in plugged["data"]["text/plain"]
    notebook.run("%hdv unplug after")
