"""The end of an aperture: its pages turn to zeros where they are, and stay for whoever still has the address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import DEADLINE, S_OK, CallbackDevice, Machine, Recording, Threads, code, happens, pairs

MISSING = HResult.ERROR_NOT_FOUND


def _number(address: Any) -> int:
    return int(ffi.cast("uintptr_t", address))


def _mappings() -> list[tuple[int, int, str]]:
    """Start, end and the rest of the line of everything that is mapped."""
    found = []
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            place, rest = line.split(maxsplit=1)
            start, end = (int(part, 16) for part in place.split("-"))
            found.append((start, end, rest))
    return found


def _is_mapped(address: Any) -> bool:
    number = _number(address)
    return any(start <= number < end for start, end, _ in _mappings())


def _shows_ram(address: Any) -> bool:
    number = _number(address)
    return any(start <= number < end and "hdvlab-ram" in rest for start, end, rest in _mappings())


def _destroy(device: CallbackDevice, address: Any) -> int:
    return code(lib.HdvDestroyGuestMemoryAperture(device.handle, address))


def _hold(device: CallbackDevice, address: Any) -> tuple[int, Any]:
    out = ffi.new("void **")
    return code(lib.hdvlab_aperture_hold(device.handle, address, out)), out[0]


def _run(program: str) -> subprocess.CompletedProcess[bytes]:
    """A process that may end by a fault, which AddressSanitizer is not to report: it is what is tested."""
    options = f"{os.environ.get('ASAN_OPTIONS', '')}:handle_segv=0"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ASAN_OPTIONS": options},
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.mark.parametrize("end", ["stop", "teardown", "close", "unplug"])
@pytest.mark.parametrize("write_protected", [False, True])
def test_an_aperture_dies_with_its_device_without_a_crash(
    machine: Machine, recording: Recording, end: str, write_protected: bool
) -> None:
    device = machine.running(CallbackDevice())
    _, mapped = device.aperture(0x1FF8, 16, write_protected)
    machine.ram_write(0x1FF8, b"sixteen bytes...")
    window = ffi.buffer(mapped, 16)
    assert bytes(window) == b"sixteen bytes..."
    ends = {
        "stop": machine.stop,
        "teardown": machine.teardown,
        "close": lambda: code(lib.hdvlab_system_close(machine.system)),
        "unplug": lambda: machine.remove_slot(0),
    }
    assert ends[end]() == S_OK
    assert bytes(window) == bytes(16)
    if not write_protected:
        window[:] = b"goes nowhere...."
        assert not _shows_ram(mapped)
    if end != "close":
        assert machine.ram_read(0x1FF8, 16) == (S_OK, b"sixteen bytes...")
    assert pairs(recording.rows(lib.HDVLAB_APERTURE_UNMAP), "address", "size", "status") == [(0x1FF8, 16, S_OK)]
    # stop and close leave the instance, which has no apertures any more; the others end it
    assert _destroy(device, mapped) == (MISSING if end in ("stop", "close") else HResult.E_HANDLE)
    assert _is_mapped(mapped)


@pytest.mark.fault(39)
def test_a_device_thread_that_reads_on_while_the_device_ends_reads_zeros(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    _, mapped = device.aperture(0, 4096)
    window = ffi.cast("volatile uint32_t *", mapped)
    machine.ram_write(0, b"\1\2\3\4")
    reading, ended = threading.Event(), threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not ended.is_set():
            for _ in range(1000):
                seen.add(window[0])
                window[1] = 9
            reading.set()
        seen.add(window[0])

    with Threads() as threads:
        threads.start(read)
        happens(reading)
        assert machine.teardown() == S_OK
        ended.set()
    assert seen == {0x04030201, 0}


def test_a_destroyed_aperture_is_unmapped_at_once(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    _, mapped = device.aperture(0x1000, 4096)
    assert _destroy(device, mapped) == S_OK
    assert not _shows_ram(mapped)
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # whose own memory may take the place
        assert not _is_mapped(mapped)


def test_a_machine_keeps_1024_dead_apertures_and_forgets_the_oldest_first(machine: Machine) -> None:
    lives = []
    for number in range(3):
        device = machine.create(CallbackDevice())
        assert machine.add_slot(device, 0) == S_OK
        if not number:
            assert machine.start() == S_OK
        machine.place(device)
        lives.append([device.aperture(0x1000, 4096)[1] for _ in range(600)])
        assert machine.remove_slot(0) == S_OK
    mapped = [(start, end) for start, end, _ in _mappings()]
    first, second, third = (
        [any(start <= number < end for start, end in mapped) for number in map(_number, life)] for life in lives
    )
    assert all(third)
    assert second.count(True) == 424
    assert first[:424].count(True) == 0  # the places of the other 176 went to the third's
    machine.close()
    assert not _is_mapped(lives[2][0])


def test_what_is_held_stays_whatever_ends(recording: Recording) -> None:
    machine = Machine(recording)
    device = machine.running(CallbackDevice())
    handles = lib.hdvlab_live_handles()
    _, mapped = device.aperture(0x1000, 8)
    window = ffi.buffer(mapped, 8)
    (first, hold), (second, again) = _hold(device, mapped), _hold(device, mapped)
    assert first == second == S_OK
    window[:] = b"guest's!"
    machine.close()
    assert bytes(window) == bytes(8)
    window[:] = b"nobody's"
    assert code(lib.hdvlab_aperture_release(hold)) == S_OK
    assert code(lib.hdvlab_aperture_release(hold)) == HResult.E_HANDLE
    assert bytes(window) == b"nobody's"
    assert code(lib.hdvlab_aperture_release(again)) == S_OK
    assert not _is_mapped(mapped)
    assert lib.hdvlab_live_handles() < handles


def test_a_held_aperture_that_is_destroyed_shows_the_guest_no_more(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    _, mapped = device.aperture(0x1000, 8)
    window = ffi.buffer(mapped, 8)
    hold = _hold(device, mapped)[1]
    window[:] = b"guest's!"
    assert _destroy(device, mapped) == S_OK
    assert bytes(window) == bytes(8)
    assert _hold(device, mapped)[0] == MISSING
    assert machine.ram_read(0x1000, 8) == (S_OK, b"guest's!")
    assert code(lib.hdvlab_aperture_release(hold)) == S_OK
    assert not _is_mapped(mapped)


def test_only_an_aperture_of_the_device_is_held(machine: Machine) -> None:
    device, other = CallbackDevice(), CallbackDevice()
    machine.running(device, other)
    _, mapped = device.aperture(0x1010, 8192)
    assert _hold(other, mapped)[0] == _hold(device, mapped + 1)[0] == MISSING
    machine.stop()
    assert _hold(device, mapped)[0] == MISSING


@pytest.mark.fault(43)
def test_a_thousand_lives_leave_no_mapping(recording: Recording) -> None:
    def live() -> None:
        machine = Machine(recording)
        device = machine.running(CallbackDevice())
        (_, one), (_, other) = device.aperture(0, 4096), device.aperture(0x1001, 8192, True)
        assert _destroy(device, one) == S_OK
        hold = _hold(device, other)[1]
        machine.close()
        assert code(lib.hdvlab_aperture_release(hold)) == S_OK

    for _ in range(20):
        live()
    before = len(_mappings())
    for _ in range(1000):
        live()
    assert len(_mappings()) <= before + 8  # the allocator's own; a leak were a thousand


@pytest.mark.fault(29)
@pytest.mark.parametrize("write_protected", [False, True])
def test_a_write_through_a_write_protected_aperture_is_the_writers_fault(tmp_path: Path, write_protected: bool) -> None:
    program = f"""
from pathlib import Path
from hdvlab._core import ffi
from tests.core.scaffold import CallbackDevice, Machine, Recording
machine = Machine(Recording(Path({str(tmp_path / "trace")!r})))
device = machine.running(CallbackDevice())
hresult, mapped = device.aperture(0x1004, 4, {write_protected})
window = ffi.cast("uint32_t *", mapped)
print(window[0], flush=True)
window[0] = 5
print(machine.ram_read(0x1004, 4)[1][0], flush=True)
"""
    done = _run(program)
    if write_protected:
        assert (done.stdout, done.returncode) == (b"0\n", -signal.SIGSEGV)
    else:
        assert done.stdout == b"0\n5\n"


def test_what_was_write_protected_is_so_when_it_is_dead(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from hdvlab._core import ffi
from tests.core.scaffold import CallbackDevice, Machine, Recording
machine = Machine(Recording(Path({str(tmp_path / "trace")!r})))
device = machine.running(CallbackDevice())
window = ffi.cast("uint32_t *", device.aperture(0x1004, 4, True)[1])
machine.teardown()
print(window[0], flush=True)
window[0] = 5
print("written", flush=True)
"""
    done = _run(program)
    assert (done.stdout, done.returncode) == (b"0\n", -signal.SIGSEGV)
