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
#: Exported functions that the handle target does not call. tests/core/test_handle.py gives them handles that are none.
NOT_CALLED = {
    "HdvInitializeDeviceHostForProxy",
    "HdvInitializeDeviceHostForProxyEx",
    "HdvProxyDeviceHost",
    "HdvRegisterDoorbellPage",
    "HdvUnregisterDoorbellPage",
    "hdvlab_aperture_hold",
    "hdvlab_aperture_release",
    "hdvlab_device_details",
    "hdvlab_device_peek",
    "hdvlab_device_set_concurrent",
    "hdvlab_forward_create",
    "hdvlab_guest_bind_interrupts",
    "hdvlab_memory_map",
    "hdvlab_memory_unmap",
    "hdvlab_proxy_accept",
    "hdvlab_proxy_connect",
    "hdvlab_proxy_set_budget",
    "hdvlab_proxy_support_from_socket",
    "hdvlab_proxy_wait",
    "hdvlab_proxy_wait_machine",
    "hdvlab_register_file_end",
    "hdvlab_register_file_message",
    "hdvlab_register_file_withdraw",
}
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
    text = "\n".join((INCLUDE / name).read_text("utf-8") for name in ("HyperVDeviceVirtualization.h", "hdvlab.h"))
    declared = set(re.findall(r"^[A-Za-z_]\w* (?:WINAPI )?(Hdv\w+|hdvlab_\w+)\(", text, flags=re.M))
    called = set(re.findall(r"\b((?:Hdv|hdvlab_)\w+)\(", (HERE / "fuzz_handle.c").read_text("utf-8")))
    assert len(declared) > 50
    assert declared - called - NOT_CALLED == set()
