"""Every seed, and every input that broke something once, goes through its fuzz target; .ci/fuzz looks for more."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "hdvlab/_core/include"
BUILT = HERE.parents[1] / "build/fuzz"
TARGETS = sorted(source.stem.removeprefix("fuzz_") for source in HERE.glob("fuzz_*.c"))


@pytest.fixture(scope="module")
def built() -> Path:
    if subprocess.run([HERE / "build", "--ready"], check=False).returncode:
        pytest.skip("no clang with libFuzzer: apt-get install --no-install-recommends clang libclang-rt-dev")
    ran = subprocess.run([HERE / "build", BUILT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return BUILT


def _inputs(target: str) -> list[Path]:
    return sorted(path for kind in ("corpus", "regressions") for path in (HERE / kind / target).glob("*"))


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_before_is_survived(built: Path, target: str, tmp_path: Path) -> None:
    inputs = _inputs(target)
    assert inputs, "a target has seeds"
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {
        "ASAN_OPTIONS": "detect_leaks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "HDVLAB_FUZZ_SCRATCH": str(tmp_path),
    }
    command = [built / f"fuzz_{target}", "-timeout=60", f"-artifact_prefix={tmp_path}/", *inputs]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-6000:]


def test_seeds_are_few_and_small() -> None:
    for target in TARGETS:
        sizes = [path.stat().st_size for path in _inputs(target)]
        assert len(sizes) <= 70, target
        assert max(sizes) <= 400, target


def test_every_folder_of_inputs_is_a_targets() -> None:
    for kind in ("corpus", "regressions"):
        assert {folder.name for folder in (HERE / kind).iterdir()} <= set(TARGETS)


def test_the_handle_target_calls_every_exported_function() -> None:
    headers = ("ComputeCore.h", "HyperVDeviceVirtualization.h", "hdvlab.h")
    text = "\n".join((INCLUDE / name).read_text("utf-8") for name in headers)
    declared = set(re.findall(r"^[A-Za-z_]\w* \*?(?:WINAPI )?(Hdv\w+|Hcs\w+|hdvlab_\w+)\(", text, flags=re.M))
    called = set(re.findall(r"\b((?:Hdv|Hcs|hdvlab_)\w+)\(", (HERE / "fuzz_handle.c").read_text("utf-8")))
    assert len(declared) > 110
    assert declared - called == set()
