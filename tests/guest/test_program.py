"""Guest programs: what they return and raise, and which line each row comes from."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import AccessError, GuestMemoryError, StateError, UsageError
from hdvlab.guest import Guest

from ..labs import PATIENCE, wait_for
from .blink import Blink


def line_of(text: str) -> int:
    """Number of the one line of this file that ends with the comment ``text``."""
    with open(__file__, encoding="utf-8") as file:
        [number] = [n for n, line in enumerate(file, 1) if line.rstrip().endswith(f"# {text}")]
    return number


def test_a_program_returns_its_value_and_its_rows(lab: Lab) -> None:
    lab.plug(Blink)

    def driver(guest: Guest, start: int, step: int) -> int:
        guest["blink"].bar0.COUNT.write(start)
        return guest["blink"].bar0.COUNT.read() + step

    run = lab.run(driver, 40, 2)
    assert run.value == 42
    assert list(run.frame()["kind"]) == ["mmio_write", "mmio_read"]
    assert set(run.frame()["origin"]) == {"guest"}
    lab["blink"].bar0.COUNT.read()
    assert len(run) == len(run.frame()) == 2, "what comes after it is not its own"
    assert "returned 42" in repr(run.program)


def test_each_row_names_the_drivers_line_whatever_made_the_access(lab: Lab) -> None:
    lab.plug(Blink)

    def inner(bar0: Any) -> None:
        bar0.COUNT.read()  # inner

    def driver(guest: Guest) -> None:
        function = guest["blink"]
        function.bar0.CTRL.write(1)  # write
        function.bar0.CTRL.EN.read()  # field read
        function.bar0.CTRL.RATE.write(3)  # field write
        function.bar0.CTRL.modify(EN=0)  # modify
        function.bar0.read(0x04, 2)  # bar read
        function.bar0.write(0x04, 1, 1)  # bar write
        function.config_read(0)  # config read
        function.config_write(0x0C, 0, 1)  # config write
        function.enable()  # enable
        inner(function.bar0)
        assert guest.find(0x1234, 0x20) is function  # find

    frame = lab.run(driver).frame(decode=True)
    lines = [lab.trace.tables.sources[pc].line for pc in frame["pc"]]
    names = ["write", "field read", "field write", "field write", "modify", "modify", "bar read", "bar write",
             "config read", "config write", "enable", "enable", "inner", "find"]  # fmt: skip
    assert lines == [line_of(name) for name in names]
    sources = [lab.trace.tables.sources[pc] for pc in frame["pc"]]
    assert {source.file for source in sources} == {__file__}
    assert sources[0].text == "function.bar0.CTRL.write(1)  # write"
    assert sources[-2].function.endswith("inner")
    assert str(frame["source"].iloc[0]).endswith("function.bar0.CTRL.write(1)  # write")


def test_accesses_of_the_notebook_name_their_line_too(lab: Lab) -> None:
    plugged = lab.plug(Blink)
    with lab.record() as run:
        plugged.bar0.COUNT.read()  # in a cell
    [pc] = run.frame()["pc"]
    assert lab.trace.tables.sources[pc].line == line_of("in a cell")


def test_what_a_program_raises_is_raised_with_its_traceback(lab: Lab) -> None:
    def driver(guest: Guest) -> None:
        raise KeyError("driver went wrong")  # raise

    with pytest.raises(KeyError, match="driver went wrong") as caught:
        lab.run(driver)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (frames[-1].filename, frames[-1].lineno) == (__file__, line_of("raise"))
    assert lab.running
    assert lab.run(lambda guest: 5).value == 5


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), GeneratorExit()], ids=repr)
def test_nothing_that_a_program_raises_is_lost(lab: Lab, error: BaseException) -> None:
    def driver(guest: Guest) -> None:
        raise error

    run = lab.run(driver, wait=False)
    assert run.program is not None
    assert run.program.join(PATIENCE)
    assert run.program.error is error
    with pytest.raises(type(error)):
        run.program.result()
    error.__traceback__ = None


def test_a_program_that_is_not_waited_for_runs_meanwhile(lab: Lab) -> None:
    lab.plug(Blink)
    go_on = threading.Event()

    def driver(guest: Guest) -> str:
        wait_for(go_on)
        guest["blink"].bar0.COUNT.write(7)
        return "done"

    run = lab.run(driver, wait=False)
    assert run.program is not None
    assert (run.program.running, run.value) == (True, None)
    assert "is running" in repr(run.program)
    assert run.program.join(timeout=0) is False
    go_on.set()
    assert run.program.join(PATIENCE)
    assert (run.program.running, run.value, run.program.result()) == (False, "done", "done")
    lab["blink"].bar0.COUNT.read()
    assert list(run.frame()["kind"]) == ["mmio_write"], "it ended by itself, and so did its rows"


def test_a_program_powers_the_machine_on(lab: Lab) -> None:
    assert not lab.running
    assert lab.run(lambda guest: list(guest)).value == []
    assert lab.running


def test_a_named_run_is_kept(lab: Lab) -> None:
    run = lab.run(lambda guest: None, name="first")
    assert lab.runs == {"first": run}


def test_asking_for_a_device_that_is_not_there_says_what_there_is(lab: Lab) -> None:
    lab.plug(Blink)

    def by_name(guest: Guest) -> None:
        guest["blonk"]

    def by_id(guest: Guest) -> None:
        guest.find(0x8086, 0x100E)

    with pytest.raises(UsageError, match="no device 'blonk' is plugged in; there is blink"):
        lab.run(by_name)
    with pytest.raises(UsageError, match="no function is 8086:100e"):
        lab.run(by_id)


def test_values_that_do_not_fit_are_refused_before_any_access(lab: Lab) -> None:
    lab.plug(Blink)

    def driver(guest: Guest) -> None:
        function = guest["blink"]
        for call, message in (
            (lambda: function.bar0.COUNT.write(1 << 32), "COUNT is 32 bits wide; 0x100000000 does not fit"),
            (lambda: function.config_write(4, 0x12345, 2), "0x12345 does not fit 2 bytes"),
            (lambda: function.config_write(4, -1, 2), "-0x1 does not fit 2 bytes"),
            (lambda: function.config_read(2, 4), "within one dword below 0x1000, not 0x2/4"),
            (lambda: function.config_read(4096, 1), "0x1000/1"),
            (lambda: function.config_read(0, 8), "0x0/8"),
        ):
            with pytest.raises(AccessError, match=message):
                call()

    assert len(lab.run(driver)) == 0


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_buffers_are_page_aligned_zeroed_apart_and_in_ram(lab: Lab) -> None:
    def driver(guest: Guest) -> list[tuple[int, int]]:
        guest.bus.ram_write(1 << 20, b"\xff" * 20_000)
        buffers = [guest.dma_alloc(size) for size in (1, 4096, 4097, 10)]
        assert all(buffer.read() == bytes(len(buffer)) for buffer in buffers)
        return [(buffer.address, buffer.size) for buffer in buffers]

    places = sorted(lab.run(driver).value)
    assert all(address % 4096 == 0 and address >= 1 << 20 for address, _ in places)
    ends = [address + size for address, size in places]
    assert all(end <= start for end, (start, _) in zip(ends, places[1:], strict=False))


def test_buffers_are_freed_when_the_program_ends_however_it_ends(lab: Lab) -> None:
    def driver(guest: Guest, fail: bool) -> int:
        address = guest.dma_alloc(48 << 20).address
        if fail:
            raise ZeroDivisionError
        return address

    first = lab.run(driver, False).value
    with pytest.raises(ZeroDivisionError):
        lab.run(driver, True)
    assert lab.run(driver, False).value == first


def test_a_buffer_that_does_not_fit_says_how_to_get_more(lab: Lab) -> None:
    def driver(guest: Guest, size: int) -> None:
        guest.dma_alloc(size)

    with pytest.raises(GuestMemoryError, match=r"no 0x4000000 bytes of guest RAM are free; .* Lab\(ram=...\)"):
        lab.run(driver, 64 << 20)
    with pytest.raises(AccessError, match="a buffer has at least 1 byte, not 0"):
        lab.run(driver, 0)


def test_a_buffer_keeps_its_bounds(lab: Lab) -> None:
    def driver(guest: Guest) -> None:
        buffer, other = guest.dma_alloc(100), guest.dma_alloc(8)
        buffer.write(b"abc", 97)
        assert buffer.read(97) == b"abc"
        assert buffer.read(98, 1) == b"b"
        for offset, data in ((98, b"abc"), (-1, b"a"), (101, b"")):
            with pytest.raises(AccessError, match="is outside the buffer of 0x64 bytes"):
                buffer.write(data, offset)
        with pytest.raises(AccessError, match="is outside the buffer"):
            buffer.read(0, 101)
        assert other.read() == bytes(8)

    assert len(lab.run(driver)) == 0, "a driver's loads and stores are no accesses of a device"


# ---- vectors --------------------------------------------------------------------------------------------------------


def test_vectors_are_freed_when_the_program_ends(lab: Lab) -> None:
    lab.plug(Blink)

    def driver(guest: Guest) -> list[int]:
        return guest.request_interrupts(guest["blink"], 4)

    assert {tuple(lab.run(driver).value) for _ in range(100)} == {(0x20, 0x21, 0x22, 0x23)}


def test_an_interrupt_left_by_one_program_is_not_the_next_ones(lab: Lab) -> None:
    lab.plug(Blink)

    def leave(guest: Guest) -> None:
        guest.request_interrupts(guest["blink"])
        for _ in range(3):
            guest["blink"].bar0.RING.write(0)

    def count(guest: Guest) -> int:
        guest.request_interrupts(guest["blink"])
        guest["blink"].bar0.RING.write(0)
        return guest.wait_interrupt(guest["blink"], timeout=0)

    lab.run(leave)
    assert lab.run(count).value == 0, "no more are pending"


def test_vectors_run_out_with_a_message(lab: Lab) -> None:
    def driver(guest: Guest) -> None:
        for _ in range(256):
            guest._vectors.take(1, guest)

    with pytest.raises(StateError, match="no 1 consecutive interrupt vectors are free"):
        lab.run(driver)
    assert lab.run(lambda guest: guest._vectors.take(64, guest)).value[0] == 0x40, "all were given back"


def test_after_a_program_the_interpreter_can_be_profiled() -> None:
    """CPython 3.11 hangs when an exception was thrown into a thread and taken back, and then a profiler is set."""
    script = (
        "import faulthandler, sys\nfrom hdvlab import Lab\n"
        "with Lab() as lab:\n    lab.run(lambda guest: 1)\n    faulthandler.dump_traceback_later(20, exit=True)\n"
        "    sys.setprofile(lambda *event: None)\n    (lambda: 1)()\n    sys.setprofile(None)\n    print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n"
