"""``%%hdv c`` and ``%hdv load`` in a shell, as a person has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from hdvlab import commands

from ..c_devices import BLINK, blink
from .test_magics import completions, error_of, value_of


def test_a_cell_in_c_is_a_device(shell: InteractiveShell) -> None:
    plugged = value_of(shell, f"%%hdv c\n{BLINK}")
    assert repr(plugged) == "<blink at 00:01.0, 1234:0001, on>"
    assert repr(value_of(shell, "%hdv poke CTRL.EN=1")) == "CTRL.EN: 0x0 → 0x1"
    assert value_of(shell, "%hdv peek COUNT") == 1
    run = value_of(shell, "%%hdv guest\nblink.bar0.CTRL.write(3)\nblink.bar0.COUNT.read()")
    assert run.value == 2
    assert value_of(shell, "%hdv trace --kind mmio --last 1")["register"].tolist() == ["COUNT"]


def test_running_the_cell_again_swaps_the_device(shell: InteractiveShell) -> None:
    value_of(shell, f"%%hdv c --name one -O2\n{BLINK}")
    value_of(shell, "%hdv poke CTRL=1")
    value_of(shell, f"%%hdv c --name one\n{BLINK.replace('b->count += b->ctrl & 1', 'b->count += 10')}")
    assert [one.name for one in commands.current_lab()] == ["one"]
    value_of(shell, "%hdv poke CTRL=1")
    assert value_of(shell, "%hdv peek COUNT") == 10


def test_an_error_in_the_cell_is_the_compilers_lines_with_the_cells_numbers(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    text = error_of(shell, "%%hdv c --name mine\n#include <hdvlab_device.h>\n\nint x = y;", capsys)
    lines = text.splitlines()
    assert lines[0].startswith("CompileError: ")
    assert lines[1].startswith("mine.c:4:9: error: ")
    assert "    4 | int x = y;" in text
    assert "Traceback" not in text
    assert "hdvlab/" not in text


def test_a_warning_of_the_compiler_is_shown_and_the_device_is_in(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    value_of(shell, f"%%hdv c\nstatic int nobody;\n{BLINK}")
    assert "cell.c:2:12: warning: " in capsys.readouterr().err
    assert [one.name for one in commands.current_lab()] == ["blink"]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("%%hdv c --cc nocc\nint x;", "BackendUnavailableError: no compiler nocc here; install one"),
        ("%%hdv c\nint x;", "DeviceError: "),
        ("%hdv c", "UsageError: c is about a cell: write %%hdv c in its first line"),
        ("%%hdv c --slot 99\nint x;", "UsageError: slot 99"),
        ("%hdv load ./nothing.so", "TraceError: read nothing.so: there is no such file"),
    ],
)
def test_a_mistake_is_one_line(
    shell: InteractiveShell, cell: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "99" in cell:
        cell = f"%%hdv c --slot 99\n{BLINK}"
    text = error_of(shell, cell, capsys)
    assert text.startswith(shown)
    assert "\n" not in text


def test_a_compiled_device_is_loaded(shell: InteractiveShell, tmp_path: Path) -> None:
    plugged = value_of(shell, f"%hdv load {blink()} --name one --slot 3 --config b=1")
    assert repr(plugged) == "<one at 00:03.0, 1234:0001, on>"
    assert value_of(shell, "%hdv peek one.COUNT") == 1


def test_help_and_completion_know_of_it(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    value_of(shell, "%%hdv c --help\nx")
    out = capsys.readouterr().out
    assert "hdvlab_device.h" in out
    assert "[compiler flags]" in out
    assert completions(shell, "%%hdv c --na") == {"--name"}
    assert completions(shell, "%hdv load --sl") == {"--slot"}
    assert {"edu.c", "ring"} <= completions(shell, "%hdv plug ")
