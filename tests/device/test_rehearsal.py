"""What would this access do? is told without doing it: the device, guest memory and the trace stay as they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdvlab import Bar, Device, Lab, MsiCapability, MsixCapability, Register
from hdvlab.device.rehearsed import Rehearsal
from hdvlab.device.stage import CannotRehearseError, Stage
from hdvlab.errors import AccessError, StateError, UsageError
from hdvlab.lab import Plugged

from ..labs import wait_for

Script = tuple[tuple[Any, ...], ...]


class Everything(Device):
    """A handler that does what a list says, to everything that it can reach."""

    vendor_id, device_id = 0x1234, 0x0099
    capabilities = (MsiCapability(vectors=4),)
    shared: list[int] = []  # noqa: RUF012 - as beginners write it

    class bar0(Bar, size=8192):
        GO = Register(0x00)
        STATUS = Register(0x04, access="rc", reset=0xF0, fields={"LOW": (0, 4), "HIGH": (4, 4)})
        COUNT = Register(0x08, access="ro")
        ASK = Register(0x0C, access="ro")
        BELL = Register(0x10)

    def __init__(self, script: Script = ()) -> None:
        self.script: Any = script
        self.items = [1, 2]
        self.nested: Any = {"deep": [b"x", {"list": [1]}]}
        self.bytes = bytearray(64)
        self.guard = threading.Lock()
        self.event = threading.Event()
        self.closure = lambda value: self.items.append(value)
        self.method = self.items.append
        self.array = np.zeros(4)
        self.kept: Any = None

    def start(self) -> None:
        self.pages = self.section(4096, 4096)
        self.bell = self.doorbell(type(self).bar0.BELL, value=7, size=4)

    def play(self) -> None:
        for step, *arguments in self.script:
            with self.guard, self.lock:
                getattr(self, f"do_{step}")(*arguments)

    @bar0.GO.on_write
    def go(self, value: int) -> None:
        self.play()

    @bar0.ASK.on_read
    def asked(self) -> int:
        self.play()
        return int(self.bar0.COUNT)

    def do_count(self, number: int) -> None:
        self.bar0.COUNT = number
        self.bar0.STATUS.LOW = number & 0xF

    def do_keep(self, number: int) -> None:
        self.items.append(number)
        self.nested["deep"][1]["list"].append(number)
        self.bytes[number % 64] ^= 1
        self.closure(number)
        self.method(number)
        self.array[number % 4] += 1
        self.shared.append(number)
        self.configuration["set"] = str(number)
        self.event.set()
        self.kept = self.bar0.STATUS

    def do_write(self, address: int, data: bytes) -> None:
        self.dma_write(address, data)

    def do_read(self, address: int, size: int) -> None:
        self.bar0.COUNT = int.from_bytes(self.dma_read(address, size)[:4], "little")

    def do_aperture(self, address: int, data: bytes) -> None:
        window = self.aperture(address, 64)
        window[0 : len(data)] = data
        window.raw[32] ^= 0xFF
        window.close()

    def do_page(self, place: int) -> None:
        self.pages.memory[place] ^= 0xFF

    def do_interrupt(self, vector: int) -> None:
        self.interrupt(vector)

    def do_line(self, asserted: bool) -> None:
        self.set_interrupt_line(asserted)

    def do_later(self, number: int) -> None:
        self.after(0, self.do_keep, number)

    def do_thread(self, number: int) -> None:
        self.spawn(self.do_keep, number)

    def do_reset(self) -> None:
        self.reset_registers()

    def do_doorbell(self, offset: int) -> None:
        self.doorbell(offset)

    def do_fail(self, text: str) -> None:
        raise RuntimeError(text)


def state(one: Plugged) -> tuple[Any, ...]:
    """All that may not change: registers, config space, attributes, RAM, rows."""
    device: Any = one.device
    lab: Any = one._lab
    kept = (list(device.items), repr(device.nested), bytes(device.bytes), device.array.tolist(), list(device.shared))
    more = (dict(device.configuration), device.event.is_set(), device.kept, len(device.faults), device.count_work())
    opened = (sorted(map(id, device._opened)), device.pages.memory[:], device.bell.wait(0))
    columns = {name: bytes(column) for name, column in lab.trace.columns().items()}
    values = [int(value) for _, value in device.bar0]
    return (values, device.config, kept, more, opened, lab.machine.ram_read(0, 1 << 16), len(lab.trace), columns)


PLACES = st.integers(0, 0x8000)
DATA = st.binary(max_size=64)
STEPS = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 0xFFFF_FFFF)),
    st.tuples(st.just("keep"), st.integers(0, 100)),
    st.tuples(st.just("write"), PLACES, DATA),
    st.tuples(st.just("write"), st.just(1 << 40), DATA),
    st.tuples(st.just("read"), PLACES, st.integers(0, 64)),
    st.tuples(st.just("aperture"), PLACES, st.binary(max_size=16)),
    st.tuples(st.just("page"), st.integers(0, 4095)),
    st.tuples(st.just("interrupt"), st.integers(0, 5)),
    st.tuples(st.just("line"), st.booleans()),
    st.tuples(st.just("later"), st.integers(0, 9)),
    st.tuples(st.just("thread"), st.integers(0, 9)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("doorbell"), st.sampled_from([0x20, 0x24])),
    st.tuples(st.just("fail"), st.text(max_size=5)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=st.lists(st.lists(STEPS, max_size=6), min_size=1, max_size=3), msi=st.booleans())
def test_a_rehearsal_changes_nothing_whatever_the_handlers_do(
    lab: Lab, scripts: list[list[tuple[Any, ...]]], msi: bool
) -> None:
    one = lab.plug(Everything)
    device: Any = one.device
    if msi:
        one.function.enable_interrupts([64, 65])  # type: ignore[union-attr] # it is on
    for script in scripts:
        device.script = tuple(script)
        before = state(one)
        for access in (("GO", 1), ("ASK", None), ("STATUS", None), ("STATUS", 3)):
            one.rehearse(access[0], write=access[1])
        assert state(one) == before


def test_what_it_tells_is_what_happens_then(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("read", 0x100, 4), ("write", 0x200, b"abc"), ("keep", 3))))
    lab.machine.ram_write(0x100, (0x1234).to_bytes(4, "little"))  # type: ignore[union-attr]
    told = one.rehearse("GO", write=5)
    assert [(change.name, change.before, change.after) for change in told.registers] == [
        ("GO", 0, 5),
        ("COUNT", 0, 0x1234),
    ]
    assert [(effect.kind, effect.address, effect.data) for effect in told.effects] == [
        ("dma_read", 0x100, b"\x34\x12\x00\x00"),
        ("dma_write", 0x200, b"abc"),
    ]
    changed = {change.name for change in told.attributes}
    assert changed >= {"items", "nested['deep'][1]['list']", "bytes", "array", "shared", "event", "kept"}
    one.bar0.GO.write(5)
    assert [int(one.peek(0, offset, 4)) for offset in (0, 8)] == [5, 0x1234]
    assert lab.machine.ram_read(0x200, 3) == b"abc"
    rows = lab.trace.frame()
    assert rows[rows["kind"].isin(["dma_read", "dma_write"])]["address"].tolist() == [0x100, 0x200]


def test_reads_of_memory_see_what_the_rehearsal_wrote(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("write", 0xFFE, b"\x01\x02\x03\x04"), ("read", 0xFFE, 4))))
    told = one.rehearse("ASK")
    assert told.answer == 0x04030201
    assert lab.machine.ram_read(0xFFE, 4) == bytes(4)


def test_a_read_that_clears_tells_the_answer_and_what_it_would_clear(lab: Lab) -> None:
    one = lab.plug(Everything())
    told = one.rehearse("STATUS")
    assert (told.answer, told.fields) == (0xF0, "LOW=0 HIGH=0xf")
    assert repr(told).splitlines() == [
        "a read of everything.STATUS would do this; nothing has changed",
        "  answer  0xf0 (LOW=0 HIGH=0xf)",
        "  STATUS  0xf0 (LOW=0 HIGH=0xf) → 0x0 (LOW=0 HIGH=0)",
    ]
    assert "0xf0 (LOW=0 HIGH=0xf)" in told._repr_html_()
    assert one.rehearse("STATUS").answer == one.peek(0, 4, 4) == 0xF0


def test_interrupts_tell_whether_they_would_arrive(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("interrupt", 0),)))
    told = one.rehearse("GO", write=1)
    assert [effect.text for effect in told.effects] == [
        "vector 0: goes nowhere, the driver has enabled neither MSI-X nor MSI"
    ]
    one.function.enable_interrupts([64])  # type: ignore[union-attr]
    (effect,) = one.rehearse("GO", write=1).effects
    assert effect.kind == "interrupt"
    assert effect.text == "vector 0: would be delivered, data 0x40"
    command = one.function.config_read(4, 2)  # type: ignore[union-attr]
    one.function.config_write(4, command & ~4, 2)  # type: ignore[union-attr]
    (effect,) = one.rehearse("GO", write=1).effects
    assert effect.text == "vector 0: goes nowhere, bus mastering is off"


def test_a_vector_that_is_masked_would_be_pending_and_unmasking_it_would_deliver_it(lab: Lab) -> None:
    class Masked(Device):
        vendor_id, device_id = 0x1234, 0x0098
        capabilities = (MsixCapability(vectors=2, table_bar=0, table_offset=0x1000, pba_offset=0x1800),)

        class bar0(Bar, size=8192):
            GO = Register(0x00)

        @bar0.GO.on_write
        def go(self, value: int) -> None:
            self.interrupt(1)

    one = lab.plug(Masked)
    function: Any = one.function
    function.enable_interrupts([64, 65])
    table = one.bar0
    table.write(0x1000 + 16 + 12, 1, 4)
    (effect,) = one.rehearse("GO", write=1).effects
    assert effect.text == "vector 1: masked, it would be pending"
    assert not one.device.interrupt_pending(1)  # type: ignore[attr-defined]
    table.write(0, 1, 4)
    (effect,) = one.rehearse(0x1000 + 16 + 12, write=0).effects
    assert effect.text.startswith("vector 1: was pending, would be delivered")
    assert one.device.interrupt_pending(1)  # type: ignore[attr-defined]


def test_timers_and_threads_are_told_and_not_started(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("later", 4), ("thread", 5))))
    told = one.rehearse("GO", write=1)
    assert [(effect.kind, effect.text) for effect in told.effects] == [
        ("timer", "after 0 s Everything.do_keep(4); not started here"),
        ("thread", "Everything.do_keep(5); not started here"),
    ]
    assert one.device.count_work() == (0, 0)  # type: ignore[attr-defined]


def test_a_handler_that_raises_is_a_fault_of_the_rehearsal_alone(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("count", 3), ("fail", "oh no"))))
    told = one.rehearse("ASK")
    assert told.answer == 0xFFFF_FFFF
    assert [(operation, message) for operation, message, _ in told.faults] == [("ReadInterceptedMemory", "oh no")]
    assert "E_UNEXPECTED" in repr(told)
    assert lab.faults == []


def test_what_a_section_or_a_doorbell_takes_reaches_no_handler(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("fail", "not called"),)))
    told = one.rehearse(4096)
    assert told.notes == ("a section backs this place: the access reaches its memory, and calls nobody",)
    assert one.rehearse("BELL", write=7).notes == (
        "a doorbell is registered here: the write would ring it, and calls nobody",
    )
    assert one.rehearse("BELL", write=8).registers[0].after == 8


def test_where_the_device_decodes_nothing_it_is_not_asked(lab: Lab) -> None:
    one = lab.plug(Everything(script=(("fail", "not called"),)))
    one.function.config_write(4, 0, 2)  # type: ignore[union-attr]
    told = one.rehearse("ASK")
    assert told.answer == 0xFFFF_FFFF
    assert "memory decoding" in told.notes[0]


@pytest.mark.parametrize(
    ("make", "use", "told"),
    [
        (lambda path: path.open("w"), lambda thing: thing.write("x"), "a _io.TextIOWrapper"),
        (lambda _: threading.local(), lambda thing: setattr(thing, "x", 1), "a _thread._local"),
        (lambda _: Everything(), lambda thing: thing.do_count(1), "another device, everything"),
        (lambda _: (number for number in range(3)), next, "a generator"),
    ],
)
def test_what_cannot_be_copied_is_refused_when_it_is_used_and_only_then(
    lab: Lab, tmp_path: Path, make: Callable[[Path], Any], use: Callable[[Any], Any], told: str
) -> None:
    thing = make(tmp_path / "file")

    class Holder(Everything):
        def do_use(self) -> None:
            use(self.thing)

    device = Holder()
    device.thing = thing  # type: ignore[attr-defined]
    one = lab.plug(device)
    device.script = (("count", 5),)
    assert one.rehearse("ASK").answer == 5
    device.script = (("use",),)
    with pytest.raises(CannotRehearseError, match=f"its code uses {told}, of which a rehearsal has no copy"):
        one.rehearse("ASK")
    if hasattr(thing, "close"):
        thing.close()
    assert not (tmp_path / "file").exists() or (tmp_path / "file").read_text() == ""


def test_a_thing_may_say_what_stands_for_it(lab: Lab) -> None:
    class Wire:
        def __init__(self) -> None:
            self.sent: list[int] = []

        def send(self, number: int) -> None:
            self.sent.append(number)

        def in_rehearsal(self, stage: Stage) -> Any:
            class Told:
                def send(self, number: int) -> None:
                    stage.note("wire", f"{number} would be sent")

            return Told()

    class Sender(Everything):
        def do_send(self) -> None:
            self.wire.send(3)

    device: Any = Sender(script=(("send",),))
    device.wire = Wire()
    (effect,) = lab.plug(device).rehearse("GO", write=1).effects
    assert (effect.kind, effect.text, device.wire.sent) == ("wire", "3 would be sent", [])


def test_a_handler_that_waits_for_ever_is_given_up(lab: Lab) -> None:
    class Waiting(Everything):
        def do_wait(self) -> None:
            self.event.wait()

        def do_loop(self) -> None:
            while True:
                pass

    device: Any = Waiting(script=(("loop",),))
    one = lab.plug(device)
    from hdvlab.device import rehearsal

    rehearsal.PATIENCE, kept = 0.2, rehearsal.PATIENCE
    try:
        with pytest.raises(CannotRehearseError, match=r"did not end within 0\.2 s: it loops, or waits"):
            one.rehearse("ASK")
    finally:
        rehearsal.PATIENCE = kept
    device.script = ()
    assert one.bar0.ASK.read() == 0


def test_the_device_goes_on_while_its_copy_rehearses(lab: Lab) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Everything):
        def do_wait(self) -> None:
            if self._stage is not None:
                inside.set()
                go_on.wait(10)

    device: Any = Slow(script=(("wait",), ("count", 2)))
    one = lab.plug(device)
    told: list[Rehearsal] = []
    rehearsing = threading.Thread(target=lambda: told.append(one.rehearse("ASK")))
    rehearsing.start()
    wait_for(inside)
    device.script = (("count", 9),)
    assert one.bar0.ASK.read() == 9
    go_on.set()
    rehearsing.join()
    assert told[0].answer == 2


def test_from_its_own_code_a_device_is_not_rehearsed(lab: Lab) -> None:
    refused: list[str] = []

    class Curious(Everything):
        def do_ask(self) -> None:
            with pytest.raises(StateError, match="cannot be rehearsed from its own code") as caught:
                lab["curious"].rehearse("STATUS")
            refused.append(str(caught.value))

    one = lab.plug(Curious(script=(("ask",),)))
    one.bar0.ASK.read()
    assert refused


def test_mistakes_say_what_is_right(lab: Lab) -> None:
    one = lab.plug(Everything())
    with pytest.raises(AttributeError, match="has no field LOV; it has LOW, HIGH"):
        one.rehearse("STATUS.LOV")
    with pytest.raises(AccessError, match="1, 2, 4 or 8 bytes, not 3"):
        one.rehearse(0, size=3)
    with pytest.raises(AccessError, match=r"bar0\+0x2000/4 is outside"):
        one.rehearse(0x2000)
    with pytest.raises(AccessError, match="does not fit 4 bytes"):
        one.rehearse("GO", write=1 << 32)
    lab.stop()
    with pytest.raises(StateError, match="the machine is off"):
        one.rehearse("GO")


def test_a_rehearsal_is_data_that_json_carries(lab: Lab) -> None:
    script = (("write", 0x200, b"abc"), ("keep", 3), ("count", 1), ("fail", "x"))
    told = lab.plug(Everything(script=script)).rehearse("GO", write=1)
    assert told.changes
    assert told.is_write
    assert Rehearsal.from_dict(told.to_dict()) == told


def test_a_compiled_device_has_no_copy_and_says_so(lab: Lab) -> None:
    from hdvlab.device import CompiledDevice

    from ..c_devices import blink

    one = lab.plug(CompiledDevice(blink()))
    rows = len(lab.trace)
    register = next(iter(one.maps[0])).name
    with pytest.raises(CannotRehearseError, match="is compiled: no copy of it can be made"):
        one.rehearse(register)
    assert len(lab.trace) == rows


def test_usage_errors_of_the_command_say_how_it_is_written(lab: Lab) -> None:
    from hdvlab import commands

    lab.plug(Everything(script=(("count", 7),)))
    assert commands.whatif(lab, "read", "ASK").answer == 7
    assert commands.whatif(lab, "write", "STATUS.LOW=3").value == 0xF3
    assert commands.whatif(lab, "write", "GO", "3").value == 3
    assert commands.whatif(lab, "read", "bar0+0x4", size=1).answer == 0xF0
    for access, location, value, match in (
        ("read", "GO=1", None, "a read takes no value; write %hdv whatif read GO, or"),
        ("write", "GO", None, "a write takes one value; write %hdv whatif write GO=1"),
        ("peek", "GO", None, "write %hdv whatif read GO, or %hdv whatif write GO=1"),
        ("read", "config+0x4", None, r"config space is the machine's.*%hdv peek config\+0x4"),
    ):
        with pytest.raises(UsageError, match=match):
            commands.whatif(lab, access, location, value)
