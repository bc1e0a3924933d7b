"""Device code that fails: the guest gets its answer, the author a traceback, the trace a row, and the lab goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, AccessWarning, GuestMemoryError, HResult
from hdvlab.lab import Plugged


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even its text works")


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


class Faulty(Device):
    """Does what ``self.act`` says."""

    vendor_id, device_id = 0x1234, 8
    act: Callable[[], Any]

    class bar0(Bar):
        BYTE = Register(0x00, 8)
        WORD = Register(0x04, reset=0x77)
        PLAIN = Register(0x08)

    @bar0.BYTE.on_read
    @bar0.WORD.on_read
    def answer(self) -> Any:
        return self.act()

    @bar0.WORD.on_write
    def take(self, value: int) -> None:
        self.act()

    @bar0.on_read
    def answer_rest(self, offset: int, size: int) -> Any:
        return self.act()


def plug(lab: Lab, act: Callable[[], Any]) -> Plugged:
    device = Faulty()
    device.act = act
    return lab.plug(device)


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def guest_read(lab: Lab, offset: int = 4, size: int = 4) -> int:
    """A read by a guest program: on a thread that is not the notebook's."""
    return int(lab.run(lambda guest: guest["faulty"].bar0.read(offset, size)).value)


_ERRORS: list[Callable[[], BaseException]] = [
    ValueError,
    KeyboardInterrupt,
    SystemExit,
    MemoryError,
    StopIteration,
    GeneratorExit,
    AssertionError,
    Unprintable,
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    lambda: BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError()]),
]


@pytest.mark.fault(51)
@pytest.mark.parametrize("make", _ERRORS, ids=lambda make: make.__name__)
def test_whatever_a_handler_raises_the_guest_gets_all_ones_and_the_lab_goes_on(
    lab: Lab, make: Callable[[], BaseException]
) -> None:
    error = make()
    plug(lab, raising(error))
    assert guest_read(lab) == 0xFFFF_FFFF
    [fault] = lab.faults
    assert fault.error is error
    frame = lab.trace.frame()
    assert int(frame["status"][fault.cause]) & 0xFFFF_FFFF == HResult.E_UNEXPECTED
    assert type(error).__name__ in lab.trace.text(int(frame.index[frame["kind"] == "fault"][0]))
    lab["faulty"].bar0.PLAIN.write(5)
    assert lab["faulty"].bar0.PLAIN.read() == 5


@pytest.mark.fault(51)
def test_a_handler_that_recurses_without_end_is_a_fault_like_any_other(lab: Lab) -> None:
    plug(lab, recurse)
    assert guest_read(lab) == 0xFFFF_FFFF
    assert isinstance(lab.faults[0].error, RecursionError)
    assert len(lab.faults[0].text) < 10_000, "repeated lines are told once"


@pytest.mark.fault(51)
def test_a_failed_write_is_dropped_and_its_row_keeps_what_was_written(lab: Lab) -> None:
    plugged = plug(lab, raising(ValueError("bad")))
    with lab.record() as run, pytest.warns(AccessWarning, match="write of faulty WORD had no effect"):
        plugged.bar0.WORD.write(1)
    row = run.frame().iloc[0]
    assert (row["kind"], row["value"], row["status"]) == ("mmio_write", 1, HResult.E_UNEXPECTED.signed)
    assert plugged.peek(0, 4, 4) == 0x77


@pytest.mark.fault(51)
def test_a_fault_is_told_once_and_counted(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = iter(range(100))

    def act() -> None:
        raise ValueError(f"number {next(numbers)} at {next(numbers):#x}")

    plug(lab, act)
    for _ in range(5):
        guest_read(lab)
    [fault] = lab.faults
    assert fault.count == 5, "numbers in the message do not make it another fault"
    assert capsys.readouterr().err.count("Traceback") == 1
    assert (lab.trace.frame()["kind"] == "fault").sum() == 1
    assert str(fault) == "faulty: ReadInterceptedMemory failed, 5 times: ValueError: number 0 at 0x1"


@pytest.mark.fault(51)
def test_different_faults_are_told_each(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    errors: list[BaseException] = [ValueError("this"), ValueError("that"), TypeError("this")]
    device = plug(lab, lambda: None).device
    assert isinstance(device, Faulty)
    for error in errors * 2:
        device.act = raising(error)
        guest_read(lab)
    assert [fault.count for fault in lab.faults] == [2, 2, 2]
    assert capsys.readouterr().err.count("Traceback") == 3


@pytest.mark.fault(51)
def test_the_traceback_begins_at_the_authors_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    plug(lab, lambda: 1 // 0)
    guest_read(lab)
    [fault] = lab.faults
    first, rest = fault.text.split("\n", 1)
    assert first == "Traceback (most recent call last):"
    assert rest.splitlines()[0].endswith("in answer")
    assert __file__ in rest.splitlines()[0]
    assert "hdvlab/hdv" not in fault.text
    assert "hdvlab/device/" not in fault.text
    told = capsys.readouterr().err
    assert fault.text in told
    assert f"(row {fault.cause}); the guest was answered all ones and the lab goes on" in told


@pytest.mark.fault(51)
def test_the_fault_row_stands_behind_the_access_that_caused_it(lab: Lab) -> None:
    plugged = plug(lab, raising(ValueError("bad")))
    guest_read(lab)
    frame = lab.trace.frame()
    row = frame[frame["kind"] == "fault"].iloc[0]
    cause = frame.loc[row["cause"]]
    assert (cause["kind"], cause["address"], cause["value"]) == ("mmio_read", 4, 0xFFFF_FFFF)
    assert row["cause"] < row.name
    assert row["device"] == plugged.index
    assert row["status"] == HResult.E_UNEXPECTED.signed
    assert lab.trace.faults()["text"].iloc[0] == lab.faults[0].text


def test_a_handler_may_fail_with_an_hresult_of_its_own(lab: Lab) -> None:
    plug(lab, raising(AccessError("not so")))
    guest_read(lab)
    frame = lab.trace.frame()
    assert frame["status"][lab.faults[0].cause] == HResult.E_INVALIDARG.signed
    device = lab["faulty"].device
    assert isinstance(device, Faulty)
    device.act = raising(GuestMemoryError("odd", HResult.S_OK))
    guest_read(lab)
    frame = lab.trace.frame()
    assert frame["status"][lab.faults[1].cause] == HResult.E_UNEXPECTED.signed, "a failure is never a success"


_RUBBISH: list[Any] = [None, 1.0, "abc", -1, 1 << 70, True, b"\0\0\0\0", [1], 1 << 32, complex(1)]


@pytest.mark.fault(55)
@pytest.mark.parametrize("value", _RUBBISH, ids=repr)
@pytest.mark.parametrize("offset", [4, 0x100], ids=["register", "bar"])
def test_an_answer_that_is_no_number_of_the_width_is_a_fault_and_never_cut(lab: Lab, value: Any, offset: int) -> None:
    plug(lab, lambda: value)
    assert guest_read(lab, offset) == 0xFFFF_FFFF
    [fault] = lab.faults
    number = isinstance(value, int) and not isinstance(value, bool)
    shown = f"{value:#x}; a read of 32 bits is answered by 0 to 0xffffffff" if number else repr(value)
    name = "answer" if offset == 4 else "answer_rest"
    assert f"{name} returned {shown}" in str(fault.error)


@pytest.mark.fault(55)
def test_the_width_that_counts_is_the_registers(lab: Lab) -> None:
    plug(lab, lambda: 0x100)
    assert guest_read(lab, 0, 1) == 0xFF
    assert "answer returned 0x100; a read of 8 bits is answered by 0 to 0xff" in str(lab.faults[0].error)


@pytest.mark.fault(51)
def test_stderr_that_is_closed_does_not_change_the_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    closed = io.StringIO()
    closed.close()
    plug(lab, raising(ValueError("bad")))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        assert guest_read(lab) == 0xFFFF_FFFF
    assert len(lab.faults) == 1
    assert (lab.trace.frame()["kind"] == "fault").sum() == 1


def test_a_device_keeps_at_most_a_thousand_different_faults(lab: Lab) -> None:
    letters = iter(range(10**6))

    def act() -> None:
        number = next(letters)
        raise ValueError("".join(chr(97 + number // 26**i % 26) for i in range(4)))

    plug(lab, act)

    def driver(guest: Any) -> None:
        for _ in range(1001):
            guest["faulty"].bar0.WORD.read()

    lab.run(driver)
    assert len(lab.faults) == 1000
    assert (lab.trace.frame()["kind"] == "mmio_read").sum() == 1001


@pytest.mark.fault(57)
def test_a_handler_that_accesses_its_own_device_gets_all_ones_and_a_row(lab: Lab) -> None:
    seen: list[tuple[int, int]] = []

    def act() -> int:
        from hdvlab.trace.schema import Origin

        address = lab["faulty"].on().bars[0].address
        seen.append(lab.machine.read(address + 8, 4, Origin.guest, 0))
        seen.append((0, lab.machine.write(address + 8, 4, 99, Origin.guest, 0)))
        return 1

    plug(lab, act)
    assert guest_read(lab) == 1
    assert seen == [(0xFFFF_FFFF, HResult.ERROR_INVALID_STATE.signed), (0, HResult.ERROR_INVALID_STATE.signed)]
    frame = lab.trace.frame()
    inner = frame[frame["address"] == 8]
    assert set(inner["status"]) == {HResult.ERROR_INVALID_STATE.signed}
    assert set(frame.loc[inner["cause"], "address"]) == {4}, "the access it happened in is their cause"
    assert lab["faulty"].bar0.PLAIN.read() == 0
