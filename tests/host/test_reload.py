"""Code is exchanged under a device that runs, and neither machine nor guest notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Lab, MsiCapability, Register
from hdvlab._core import ffi, lib
from hdvlab.device.description import fill_description
from hdvlab.device.reload import CannotReloadError
from hdvlab.errors import HResult, StateError
from hdvlab.hdv.callbacks import callback_table


class First(Device):
    vendor_id, device_id = 0x1234, 1

    class bar0(Bar, size=4096):
        CTRL = Register(0x00)
        COUNT = Register(0x04, access="ro")
        WIDE = Register(0x08, 64, reset=0x1_0000_0002)
        GOING = Register(0x10)

    def initialize(self) -> None:
        self.total = 0

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += 1
        self.total += value


class Second(Device):
    vendor_id, device_id = 0x1234, 1

    class bar0(Bar, size=4096):
        CTRL = Register(0x00)
        NEW = Register(0x04, reset=9)
        COUNT = Register(0x20, access="ro")
        WIDE = Register(0x28)

    def __init__(self) -> None:
        self.factor = 10

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += self.factor
        self.total += value

    @bar0.CTRL.on_read
    def look(self) -> int:
        return self.total

    @bar0.on_read
    def rest(self, offset: int, size: int) -> int:
        return 0x77


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.plug(First, name="dev")
        made["dev"].bar0.CTRL.write(3)
        yield made


def test_values_attributes_and_instance_stay_and_the_handlers_are_new(lab: Lab) -> None:
    device, config = lab["dev"].device, lab.machine.config_peek(1)
    rows = len(lab.trace)
    changes = lab.reload("dev", Second)
    assert len(lab.trace) == rows  # the machine did nothing
    assert lab.machine.config_peek(1) == config
    one = lab["dev"]
    assert one.device is device
    assert isinstance(device, Second)
    one.bar0.CTRL.write(4)
    assert one.bar0.CTRL.read() == 7
    assert one.bar0.COUNT.read() == 11
    assert one.bar0.NEW.read() == 9
    assert one.bar0.WIDE.read() == 2  # narrower: the low bits
    assert one.bar0.read(0x10, 4) == 0x77
    text = str(changes)
    for said in (
        "NEW is new at bar0+0x4, with its reset value 0x9",
        "COUNT is described anew (offset 0x20 instead of 0x4); its value is kept",
        "GOING of bar0 is gone",
        "methods that are changed: ctrl",
        "methods that are new: __init__, look, rest",
        "attributes that are new: factor",
    ):
        assert said in text


def test_rows_before_and_after_have_the_names_of_their_time(lab: Lab) -> None:
    before = len(lab.trace) - 1
    lab["dev"].bar0.read(0x4, 4)
    lab.reload("dev", Second)
    lab["dev"].bar0.read(0x4, 4)
    frame = lab.trace.frame(decode=True)
    assert list(frame["register"].iloc[before:]) == ["CTRL", "COUNT", "NEW"]


def test_power_off_and_on_after_a_reload_is_as_ever(lab: Lab) -> None:
    lab.reload("dev", Second)
    lab.stop()
    lab.start()
    assert lab["dev"].bar0.NEW.read() == 9
    assert lab["dev"].bar0.COUNT.read() == 0


def test_many_reloads_while_a_guest_works_lose_no_write(lab: Lab) -> None:
    ended = threading.Event()
    written = []

    def guest(machine) -> None:  # type: ignore[no-untyped-def]
        bar = machine["dev"].bar0
        number = 0
        while not ended.is_set():
            bar.write(0, 1)
            number += 1
        written.append(number)

    run = lab.run(guest, wait=False)
    for _ in range(50):
        lab.reload("dev", Second)
        lab.reload("dev", First)
    ended.set()
    assert run.program is not None
    run.program.join()
    assert lab["dev"].device.total == 3 + written[0]  # type: ignore[attr-defined]
    assert lab.faults == []


def test_what_the_machine_would_notice_is_said_and_changes_nothing(lab: Lab) -> None:
    class Other(First):
        vendor_id, device_id = 0x1234, 2
        capabilities = (MsiCapability(4),)

        class bar0(Bar, size=8192):
            CTRL = Register(0x00)

        class bar2(Bar, size=4096):
            MORE = Register(0x00)

        ctrl = None  # type: ignore[assignment]

    with pytest.raises(CannotReloadError) as caught:
        lab.reload("dev", Other)
    for said in (
        "device_id is 0x2 instead of 0x1",
        "bar0 has 0x2000 bytes instead of 0x1000",
        "bar2 is new",
        "capabilities are MsiCapability",
    ):
        assert said in str(caught.value)
    lab["dev"].bar0.CTRL.write(1)
    assert lab["dev"].bar0.COUNT.read() == 2


def test_a_class_that_fails_to_be_made_leaves_the_old_one(lab: Lab) -> None:
    class Broken(First):
        def __init__(self) -> None:
            raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        lab.reload("dev", Broken)
    assert type(lab["dev"].device) is First


def test_a_handler_that_does_not_return_is_not_waited_for_without_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go = threading.Event(), threading.Event()

    class Slow(First):
        @First.bar0.GOING.on_write
        def slow(self, value: int) -> None:
            inside.set()
            assert go.wait(30)

    lab.reload("dev", Slow)
    run = lab.run(lambda guest: guest["dev"].bar0.GOING.write(1), wait=False)
    assert inside.wait(30)
    monkeypatch.setattr("hdvlab.device.alone.PATIENCE", 0.2)
    with pytest.raises(StateError, match="dev goes on as it was"):
        lab.reload("dev", Second)
    assert type(lab["dev"].device) is Slow
    go.set()
    assert run.program is not None
    assert run.program.join(30)


def test_timers_of_the_old_code_go_on_and_are_told_of(lab: Lab) -> None:
    called = threading.Event()

    class Ticking(First):
        def tick(self) -> None:
            called.set()

        @First.bar0.GOING.on_write
        def begin(self, value: int) -> None:
            self.after(value / 1000, self.tick)

    lab.reload("dev", Ticking)
    lab["dev"].bar0.GOING.write(500)
    assert "1 timer of the old code goes on" in str(lab.reload("dev", First))
    assert called.wait(30)


def test_reloaded_is_called_with_the_device_to_itself(lab: Lab) -> None:
    class Third(Second):
        def reloaded(self) -> None:
            assert lib.hdvlab_device_inside(self._instance) == 0
            self.bar0.NEW = 42

    assert "its reloaded() was called" in str(lab.reload("dev", Third))
    assert lab["dev"].bar0.NEW.read() == 42


def test_a_device_cannot_be_reloaded_from_its_own_handler(lab: Lab) -> None:
    class Own(First):
        @First.bar0.GOING.on_write
        def own(self, value: int) -> None:
            lab.reload("dev", First)

    lab.reload("dev", Own)
    with pytest.warns(UserWarning, match="from its own code"):
        lab["dev"].bar0.GOING.write(1)
    assert type(lab["dev"].device) is Own


def test_c_refuses_to_redescribe_without_the_device_or_with_another_shape(lab: Lab) -> None:
    device = lab["dev"].device
    assert isinstance(device, Device)
    description, kept = fill_description(First.description)
    table, values = callback_table(False), ffi.new("uint64_t[8]")
    call = lib.hdvlab_register_file_redescribe
    assert call(device._file, description, table, values) == HResult.ERROR_INVALID_STATE.signed
    assert call(device._file, ffi.NULL, table, values) == HResult.E_POINTER.signed
    assert call(device._file, description, table, ffi.NULL) == HResult.E_POINTER.signed
    assert call(ffi.NULL, description, table, values) == HResult.E_HANDLE.signed
    with device.lock:
        description.bar_size[0] = 8192
        assert call(device._file, description, table, values) == HResult.E_INVALIDARG.signed
        description.bar_size[0] = 4096
        assert call(device._file, description, table, values) == 0
    del kept
