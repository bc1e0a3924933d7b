"""Signals by name."""

import pytest

from hdvlab.analysis.signals import busiest_signals, find_signals
from hdvlab.errors import UsageError
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables

from ..plots.traces import REAL_TRACE, REGISTERS, TABLES, session, trace_of


def test_registers_and_fields_are_found_by_name() -> None:
    signals = find_signals(session().frame(), TABLES, ["RING", "CTRL.MODE"])
    assert [signal.name for signal in signals] == ["RING", "CTRL.MODE"]
    assert signals[1].field is not None
    assert signals[1].field.width == 2


def test_an_offset_means_the_register_there_or_a_plain_one() -> None:
    named, plain, other = find_signals(session().frame(), TABLES, ["0x4", "BAR2+0x40", "edu:0x20"])
    assert (named.register.name, named.device, named.bar) == ("COUNT", 0, 0)
    assert (plain.register.name, plain.register.width, plain.bar) == ("0x40", 32, 2)
    assert (other.register.name, other.device) == ("0x20", 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CTLR", r"no register CTLR; did you mean CTRL\?"),
        ("XYZZY", "no register XYZZY; an offset such as 0x10 works"),
        ("CTRL.ENABLE", "CTRL has no field ENABLE; it has EN, MODE"),
        ("BAR5+0x0", "no access of this trace goes to BAR5"),
        ("edo:CTRL", r"no device edo; did you mean edu\?"),
    ],
)
def test_a_wrong_name_is_answered_with_what_to_write(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_signals(session().frame(), TABLES, [name])


def test_a_register_of_two_devices_needs_the_device() -> None:
    twins = Tables([DeviceInfo(name, bars={0: BarInfo(4096, None, REGISTERS)}) for name in ("one", "two")])
    rows = trace_of({"kind": Kind.mmio_read}, tables=twins).frame()
    with pytest.raises(UsageError, match="write one.CTRL or two.CTRL"):
        find_signals(rows, twins, ["CTRL"])
    assert find_signals(rows, twins, ["two:CTRL"])[0].device == 1
    assert find_signals(rows, twins, ["two.CTRL.EN"])[0].device == 1


def test_a_register_of_a_device_plugged_in_again_is_the_later_ones() -> None:
    twice = Tables([DeviceInfo("one", bars={0: BarInfo(4096, None, REGISTERS)}) for _ in range(2)])
    rows = trace_of({"kind": Kind.mmio_read, "device": 0}, {"kind": Kind.mmio_read, "device": 1}, tables=twice).frame()
    assert find_signals(rows, twice, ["CTRL"])[0].device == 1
    assert find_signals(rows.iloc[:1], twice, ["CTRL"])[0].device == 0


def test_the_registers_that_change_most_are_chosen_in_the_order_of_their_offsets() -> None:
    accesses = [(0x10, 1), (0x10, 2), (0x10, 3), (0x04, 1), (0x04, 2), (0x00, 6), (0x00, 6), (0x08, 1)]
    rows = trace_of(*({"kind": Kind.mmio_read, "address": a, "value": v} for a, v in accesses)).frame()
    assert [signal.name for signal in busiest_signals(rows, TABLES, 2)] == ["COUNT", "RING"]


def test_writes_that_are_no_values_do_not_count_as_changes() -> None:
    accesses = [(Kind.mmio_read, 0x08, 1), (Kind.mmio_write, 0x08, 3)] * 5 + [
        (Kind.mmio_read, 4, 1),
        (Kind.mmio_read, 4, 2),
    ]
    rows = trace_of(*({"kind": k, "address": a, "value": v} for k, a, v in accesses)).frame()
    assert [signal.name for signal in busiest_signals(rows, TABLES, 1)] == ["COUNT"]


def test_where_nothing_changes_the_most_accessed_are_chosen() -> None:
    rows = trace_of(*({"kind": Kind.mmio_read, "address": a} for a in (0x10, 0x00, 0x10))).frame()
    assert [signal.name for signal in busiest_signals(rows, TABLES, 1)] == ["RING"]


def test_a_trace_without_descriptions_offers_dwords() -> None:
    trace = read_mmiotrace(REAL_TRACE)
    assert [signal.name for signal in busiest_signals(trace.frame(), trace.tables)] == [
        "0x1008",
        "0x100c",
        "0x10",
        "0x20",
    ]


def test_a_trace_without_accesses_offers_nothing() -> None:
    assert busiest_signals(trace_of().frame(), TABLES) == []
    assert busiest_signals(trace_of({"kind": Kind.dma_read}).frame(), Tables()) == []
