"""Code from notebook cells on its way to a host, in a real kernel; and what it may not use."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernels import Kernel

BLINK = """
class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001
    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
    @bar0.CTRL.on_write
    def ctrl(self, value):
        self.bar0.COUNT += STEP
"""

PLAIN = """
class Plain(Device):
    vendor_id, device_id = 1, 2
    class bar0(Bar, size=4096):
        A = Register(0)
"""
DRIVER = """
def driver(guest, times):
    for _ in range(times):
        guest["blink"].bar0.CTRL.write(1)
    return times * 2
"""


@pytest.fixture
def kernel(places: Path) -> Iterator[Kernel]:
    with Kernel() as one:
        one.run("%load_ext hdvlab\nfrom hdvlab import Bar, Device, Register, MsiCapability\n%hdv host lab --lease 60;")
        yield one


def test_a_cells_class_runs_in_the_host_with_what_it_uses(kernel: Kernel) -> None:
    kernel.run(
        """
from __future__ import annotations
import enum, math as m, struct
from dataclasses import dataclass
from typing import Any
from hdvlab.pci import MsiCapability as Msi
class Mode(enum.IntEnum):
    SLOW = 1
    FAST = 2
@dataclass(frozen=True)
class Limit:
    low: int
    high: int
LIMIT, MODE, NAMES = Limit(1, 40), Mode.FAST, {"a": (1, None, b"x"), "b": [range(3), {2.5, float("inf")}]}
CAPABILITIES = (Msi(2),)
"""
    )
    kernel.run(
        """
def helper(x: Any) -> int:
    return clamp(struct.unpack("<I", struct.pack("<I", x))[0] + int(m.pi))
clamp = lambda x: min(x, LIMIT.high)
class Base(Device):
    vendor_id, device_id = 0x1234, 0x0001
    capabilities = CAPABILITIES
    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
"""
    )
    kernel.run(
        """
class Blink(Base):
    @Base.bar0.CTRL.on_write
    def ctrl(self, value: Any) -> None:
        self.bar0.COUNT += helper(value) * MODE + len(NAMES["b"][1])
"""
    )
    assert kernel.text("%hdv plug Blink") == "<blink at 00:01.0, 1234:0001, on>"
    kernel.run("%hdv poke CTRL=5;")
    assert kernel.text("%hdv peek COUNT") == "0x12"
    kernel.run("%hdv poke CTRL=255;")
    assert kernel.text("%hdv peek COUNT") == hex(0x12 + 82)


def test_the_newest_cell_counts_and_state_is_kept(kernel: Kernel) -> None:
    kernel.run("STEP = 1")
    kernel.run(BLINK)
    kernel.run("%hdv plug Blink")
    kernel.run("%hdv poke CTRL=1;")
    kernel.run("STEP = 16")
    kernel.run(BLINK)
    outputs = kernel.run("%hdv plug Blink")
    assert "reloaded in its place" in outputs[0]["text"]
    kernel.run("%hdv poke CTRL=1;")
    assert kernel.text("%hdv peek COUNT") == "0x11"
    kernel.run(BLINK.replace("+= STEP", "+= 0x100"))
    outputs = kernel.run("%hdv plug Blink")
    assert "methods that are changed: ctrl" in outputs[0]["text"]
    kernel.run("%hdv poke CTRL=1;")
    assert kernel.text("%hdv peek COUNT") == "0x111"


def test_a_class_without_methods_is_found_in_its_cell(kernel: Kernel) -> None:
    kernel.run(PLAIN)
    assert kernel.text("%hdv plug Plain") == "<plain at 00:01.0, 0001:0002, on>"


def test_a_traceback_in_the_host_shows_the_cells_lines(kernel: Kernel) -> None:
    kernel.run("\n\n" + BLINK.replace("self.bar0.COUNT += STEP", "raise ValueError('not today')"))
    kernel.run("%hdv plug Blink")
    outputs = kernel.run("%hdv poke CTRL=1;")
    told = "".join(one.get("text", "") for one in outputs)
    assert re.search(r'File "Cell In\[\d+\]", line \d+, in ctrl\n    raise ValueError', told)
    assert "not today" in kernel.text("%hdv faults")


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("STEP = object()", "object"),
        ("import threading; STEP = threading.Lock()", "lock"),
        ("STEP = open('/dev/null')", "TextIOWrapper"),
        ("STEP = [1, object()]", "list"),
    ],
)
def test_what_cannot_go_is_named_with_what_to_do(kernel: Kernel, made: str, named: str) -> None:
    kernel.run(made)
    kernel.run(BLINK)
    (error,) = kernel.run("%hdv plug Blink")
    assert error["ename"] == "UsageError"
    assert re.search(rf"Blink uses STEP, an object of type \w*{named}", error["evalue"])
    assert "make it inside the class, or put it into a module" in error["evalue"]


def test_a_class_inside_a_function_is_refused(kernel: Kernel) -> None:
    kernel.run(f"def make():{textwrap.indent(BLINK, '    ')}    return Blink\nBlink = make()")
    (error,) = kernel.run("%hdv plug Blink")
    assert "is defined inside a function" in error["evalue"]


def test_a_class_in_a_module_beside_the_notebook_goes_by_its_name_and_is_imported_anew(
    kernel: Kernel, tmp_path: Path
) -> None:
    module = tmp_path / "beside.py"
    module.write_text("from hdvlab import Bar, Device, Register\nSTEP = 1\n" + BLINK)
    kernel.run(
        f"import sys, importlib; sys.path.insert(0, {str(tmp_path)!r}); sys.dont_write_bytecode = True\nimport beside"
    )
    kernel.run("%hdv plug beside.Blink")
    kernel.run("%hdv poke CTRL=1;")
    module.write_text("from hdvlab import Bar, Device, Register\nSTEP = 0x1000\n" + BLINK)
    kernel.run("importlib.reload(beside)\n%hdv plug beside.Blink")
    kernel.run("%hdv poke CTRL=1;")
    assert kernel.text("%hdv peek COUNT") == "0x1001"


def test_a_guest_program_of_a_cell_runs_in_the_host(kernel: Kernel) -> None:
    kernel.run("STEP = 1")
    kernel.run(BLINK)
    kernel.run("%hdv plug Blink")
    kernel.run(
        "def driver(guest, times):\n    for _ in range(times): guest['blink'].bar0.CTRL.write(1)\n    return times * 2"
    )
    assert "10 mmio_write" in kernel.text("%hdv run driver 10")
    assert kernel.text("%hdv peek COUNT") == "0xa"


def test_the_stop_button_stops_a_guest_program_in_the_host(kernel: Kernel) -> None:
    kernel.run("STEP = 1")
    kernel.run(BLINK)
    kernel.run("%hdv plug Blink")
    kernel.run("def endless(guest):\n    print('running')\n    while True: guest['blink'].bar0.CTRL.write(1)")
    request = kernel.send("%hdv run endless")
    kernel.outputs(request, until="running")
    kernel.manager.interrupt_kernel()
    error: dict[str, Any] = kernel.outputs(request)[-1]
    assert error["ename"] == "KeyboardInterrupt"
    kernel.run("import time")
    assert "GuestInterrupted" in kernel.text("import hdvlab\nhdvlab.current_lab().programs()[-1].program")
