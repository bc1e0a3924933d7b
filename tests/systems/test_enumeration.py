"""What firmware does: BARs are sized, placed apart from each other and switched on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab import Bar, Device, Lab, MsiCapability, MsixCapability, Register
from hdvlab.errors import AccessWarning, HResult, StateError
from hdvlab.pci import BarDescription, CapabilityId, Command
from hdvlab.systems.firmware import HIGH_WINDOW, LOW_WINDOW, Placement, is_present, size_bars

Shape = tuple[int, int, bool]
"""log2 of the size, bits, prefetchable."""


def device_with(shapes: dict[int, Shape]) -> type[Device]:
    """A device with these BARs, each with a register in its last four bytes that holds the BAR's number."""
    bars = {}
    for index, (power, bits, prefetchable) in shapes.items():
        size = 1 << power
        body = {"LAST": Register(size - 4, reset=0x1000 + index)}
        options = {"size": size, "bits": bits, "prefetchable": prefetchable}
        bars[f"bar{index}"] = type(Bar)(f"bar{index}", (Bar,), body, **options)
    return type("Shaped", (Device,), {"vendor_id": 0x1234, "device_id": 0x30, **bars})


@st.composite
def shapes(draw: st.DrawFn) -> dict[int, Shape]:
    chosen: dict[int, Shape] = {}
    index = 0
    while index < 6:
        bits = draw(st.sampled_from([32, 64] if index < 5 else [32]))
        if draw(st.booleans()):
            chosen[index] = (draw(st.integers(4, 22 if bits == 32 else 34)), bits, draw(st.booleans()))
        index += bits // 32
    return chosen


@settings(max_examples=25, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=4))
def test_bars_of_any_shape_are_placed_aligned_and_apart_and_answer(devices: list[dict[int, Shape]]) -> None:
    with Lab() as lab:
        for number, each in enumerate(devices):
            lab.plug(device_with(each), name=f"d{number}")
        taken = []
        for plugged in lab:
            for index, (power, bits, _) in devices[int(plugged.name[1:])].items():
                bar = plugged.on().bars[index]
                low, high = HIGH_WINDOW if bits == 64 else LOW_WINDOW
                assert bar.size == 1 << power
                assert bar.address % bar.size == 0
                assert low <= bar.address <= bar.address + bar.size <= high
                taken.append((bar.address, bar.address + bar.size))
                assert bar.LAST.read() == 0x1000 + index
        for (_, end), (start, _) in itertools.pairwise(sorted(taken)):
            assert end <= start


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 24), st.booleans()), max_size=30))
def test_places_that_were_given_back_are_used_again_and_never_twice(steps: list[tuple[int, bool]]) -> None:
    placement, held = Placement(), {}
    for power, give_back in steps:
        if give_back and held:
            placement.release(held.popitem()[0])
            continue
        base = placement.place(BarDescription(0, 1 << power))
        assert base % (1 << power) == 0
        assert all(base + (1 << power) <= other or other + size <= base for other, size in held.items())
        held[base] = 1 << power
    for base in held:
        placement.release(base)
    assert placement.place(BarDescription(0, 16)) == LOW_WINDOW[0]


def test_sizing_goes_over_config_space_as_a_real_machine_does_it(lab: Lab) -> None:
    plugged = lab.plug(device_with({0: (12, 32, False), 2: (32, 64, True)}))
    frame = lab.trace.frame()
    config = frame[frame["kind"].isin(["config_read", "config_write"])]
    assert set(config["origin"]) == {"guest"}

    def answers(offset: int) -> list[int]:
        rows = config[(config["address"] == offset) & (config["kind"] == "config_read")]
        return [int(value) for value in rows["value"]]

    assert answers(0x10) == [0, 0xFFFF_F000], "reset, then the mask of 4 KiB"
    assert answers(0x14) == [0, 0], "not implemented"
    assert answers(0x18)[1] == 0x0000_000C, "64 bits, prefetchable: 4 GiB leave no address bit in the low half"
    assert answers(0x1C) == [0, 0xFFFF_FFFF]
    function = plugged.on()
    assert function.config_read(0x10) == LOW_WINDOW[0]
    assert function.config_read(0x18) | function.config_read(0x1C) << 32 == HIGH_WINDOW[0] | 0xC
    assert function.command == Command.MEMORY_SPACE | Command.BUS_MASTER


def test_sizing_a_running_function_switches_decode_off_first_and_puts_the_bars_back(lab: Lab) -> None:
    plugged = lab.plug(device_with({0: (12, 32, False), 2: (13, 64, False)}))
    function = plugged.on()
    placed = {index: bar.address for index, bar in function.bars.items()}
    with lab.record() as run:
        found = size_bars(function)
    assert [(bar.index, bar.size, bar.bits, bar.address) for bar in found] == [
        (0, 4096, 32, placed[0]),
        (2, 8192, 64, placed[2]),
    ]
    frame = run.frame()
    writes = frame[frame["kind"] == "config_write"]
    assert (writes["address"].iloc[0], int(writes["value"].iloc[0]) & Command.MEMORY_SPACE) == (4, 0)
    function.enable()
    assert (plugged.bar0.LAST.read(), plugged.bar2.LAST.read()) == (0x1000, 0x1002)


def test_a_bar_shows_its_type_before_anything_was_written_to_it(lab: Lab) -> None:
    """Linux decodes the type from this first read (PCI 3.0, 6.2.5.1: the bits are hardwired)."""
    lab.plug(device_with({2: (12, 64, True)}))
    frame = lab.trace.frame()
    reads = frame[(frame["kind"] == "config_read") & (frame["address"] == 0x18)]
    assert int(reads["value"].iloc[0]) == 0xC


def test_32_slots_hold_devices_and_all_are_enumerated(lab: Lab) -> None:
    shape = device_with({0: (12, 32, False), 4: (12, 64, True)})
    lab.plug(shape, name="bridge", slot=0)
    for number in range(31):
        lab.plug(shape, name=f"d{number}")
    assert sorted(plugged.slot for plugged in lab) == list(range(32))
    assert len({bar.address for plugged in lab for bar in plugged.on().bars.values()}) == 64
    assert all(plugged.bar4.LAST.read() == 0x1004 for plugged in lab)
    with pytest.raises(StateError, match="all 31 slots are taken; unplug something"):
        lab.plug(shape, name="one_more")
    lab.stop()
    lab.start()
    assert all(plugged.bar0.LAST.read() == 0x1000 for plugged in lab)


@pytest.mark.parametrize("bits", [32, 64])
def test_a_bar_without_room_is_refused_and_leaves_the_slot_free(lab: Lab, bits: int) -> None:
    huge = device_with({0: (12, 32, False), 1: (29 if bits == 32 else 40, bits, False)})
    lab.plug(device_with({0: (4, 32, False)}), name="small")
    for _ in range(3):
        with pytest.raises(StateError, match=f"no room for a {bits}-bit BAR of 0x[0-9a-f]+ bytes; unplug something"):
            lab.plug(huge, name="huge")
        assert "huge" not in lab
    other = lab.plug(device_with({0: (4, 32, False)}), name="other")
    assert (other.slot, other.bar0.address) == (2, LOW_WINDOW[0] + 4096)
    steps = list(lab.trace.frame()["kind"])
    assert steps.count("initialize") - steps.count("teardown") == 2, "what was powered on was powered off"


def test_a_bar_without_room_at_power_on_leaves_the_machine_off(lab: Lab) -> None:
    with pytest.raises(StateError, match="no room"):
        lab.plug(device_with({0: (29, 32, False)}))
    assert not lab.running
    assert list(lab) == []


def test_unplugging_gives_the_place_back(lab: Lab) -> None:
    shape = device_with({0: (28, 32, False)})
    for _ in range(3):
        lab.plug(shape, name="big")
        with pytest.raises(StateError, match="no room"):
            lab.plug(shape, name="second")
        lab.unplug("big")


def test_an_empty_slot_reads_all_ones_and_leaves_rows(lab: Lab) -> None:
    lab.plug(device_with({0: (12, 32, False)}))

    def driver(guest: object) -> list[int]:
        from hdvlab.guest import Function

        empty = Function(lab.machine, 9)
        assert not is_present(empty)
        assert is_present(Function(lab.machine, 1))
        empty.config_write(4, 7, 2)
        return [empty.config_read(0, size) for size in (1, 2, 4)]

    run = lab.run(driver)
    assert run.value == [0xFF, 0xFFFF, 0xFFFF_FFFF]
    rows = run.frame()[run.frame()["device"] == 0xFFFF]
    assert len(rows) == 5
    assert set(rows["status"]) == {HResult.ERROR_NOT_FOUND.signed}


# ---- memory decode --------------------------------------------------------------------------------------------------


@pytest.mark.fault(16)
def test_with_decode_off_a_person_is_warned_and_a_guest_finds_all_ones(lab: Lab) -> None:
    plugged = lab.plug(device_with({0: (12, 32, False)}))
    plugged.on().enable(memory=False)
    with pytest.warns(AccessWarning, match=r"memory decode \(COMMAND bit 1\) is off") as caught:
        assert plugged.bar0.LAST.read() == 0xFFFF_FFFF  # read
    [warning] = caught
    with open(__file__, encoding="utf-8") as file:
        assert file.read().splitlines()[warning.lineno - 1].endswith("# read")
    assert warning.filename == __file__
    with pytest.warns(AccessWarning, match="write of shaped LAST had no effect"):
        plugged.bar0.LAST.write(0)

    def driver(guest: object) -> int:
        return int(guest["shaped"].bar0.LAST.read())

    run = lab.run(driver)  # warnings are errors here: a guest gives none
    assert run.value == 0xFFFF_FFFF
    [row] = run.frame().to_dict("records")
    assert (row["status"], row["origin"], row["kind"]) == (HResult.ERROR_NOACCESS.signed, "guest", "mmio_read")
    plugged.on().enable()
    assert plugged.bar0.LAST.read() == 0x1000


@pytest.mark.parametrize("call", ["bar.read", "bar.write", "config", "modify", "field"])
def test_a_warning_names_the_persons_own_line_whatever_was_called(lab: Lab, call: str) -> None:
    class Odd(Device):
        vendor_id, device_id = 1, 2

        class bar0(Bar):
            CTRL = Register(0, fields={"EN": 0})

    plugged = lab.plug(Odd)
    function, bar0 = plugged.on(), plugged.bar0
    calls = {
        "bar.read": lambda: bar0.read(0),
        "bar.write": lambda: bar0.write(0, 1),
        "modify": lambda: bar0.CTRL.modify(EN=1),
        "field": lambda: bar0.CTRL.EN.write(0),
    }
    if call == "config":
        function.slot = 20
        calls["config"] = lambda: function.config_read(0)
    else:
        function.enable(memory=False)
    with pytest.warns(AccessWarning) as caught:
        calls[call]()
    assert {warning.filename for warning in caught} == {__file__}


# ---- capabilities ---------------------------------------------------------------------------------------------------


def test_capabilities_are_found_by_walking_the_list(lab: Lab) -> None:
    class Capable(Device):
        vendor_id, device_id = 1, 2
        capabilities = (MsiCapability(vectors=2), MsixCapability(4, table_offset=0x800))

        class bar0(Bar):
            pass

    function = lab.plug(Capable).on()
    assert function.find_capability(CapabilityId.MSI) == 0x40
    assert function.find_capability(CapabilityId.MSI_X) == 0x50
    assert function.find_capability(CapabilityId.PCI_EXPRESS) == 0
    assert len(function.capabilities()) == 2
    shape = lab.plug(type("Bare", (Device,), {"vendor_id": 1, "device_id": 3, "capabilities": ()}))
    assert shape.on().find_capability(CapabilityId.MSI) == 0
