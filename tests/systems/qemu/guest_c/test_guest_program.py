"""C sources to programs for the guest; what they do there is in tests/vm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import hdvlab.devices.edu
from hdvlab.device.compiler import CompileError
from hdvlab.errors import BackendUnavailableError, UsageError
from hdvlab.systems.qemu.guest_c import compile_guest_program

_EMPTY = "#include <hdvlab_guest.h>\nint main(void) { return 7; }\n"


def test_a_program_needs_nothing_of_this_computer_and_is_compiled_once(tmp_path: Path) -> None:
    program = compile_guest_program(_EMPTY, cache=tmp_path)
    assert program.warnings == ""
    assert subprocess.run([program.path], check=False).returncode == 7
    made = program.path.stat().st_mtime_ns
    assert compile_guest_program(_EMPTY, cache=tmp_path).path.stat().st_mtime_ns == made
    assert compile_guest_program(_EMPTY, cache=tmp_path, flags=["-O0"]).path != program.path


def test_an_error_is_the_compilers_lines_with_the_cells_numbers(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        compile_guest_program("#include <hdvlab_guest.h>\n\nint main(void) { return x; }\n", "mine", cache=tmp_path)
    assert "mine.c:3:25: error: " in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_warning_is_kept_with_the_program(tmp_path: Path) -> None:
    for _ in range(2):
        program = compile_guest_program("static int nobody;\nint main(void) { return 0; }\n", cache=tmp_path)
        assert "cell.c:1:12: warning: " in program.warnings


def test_edus_driver_compiles_without_a_warning(tmp_path: Path) -> None:
    source = Path(hdvlab.devices.edu.__file__).with_name("driver.c").read_text()
    assert compile_guest_program(source, "driver", cache=tmp_path).warnings == ""


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="with a main"):
        compile_guest_program(" \n", cache=tmp_path)
    with pytest.raises(BackendUnavailableError, match="no compiler nocc here; install one"):
        compile_guest_program(_EMPTY, cc="nocc", cache=tmp_path)
