"""Each ready-made property: rows that keep it, and rows that break it, with the right one named."""

from __future__ import annotations

import pytest

from hdvlab.checks import dma_only_within, interrupts, no_access_outside, raises, reads_as, returns
from hdvlab.checks.property import Property
from hdvlab.errors import DeviceError, HdvError, UsageError
from hdvlab.trace.schema import Kind

from ..plots.traces import E_FAIL
from .evidence import evidence

READ, WRITE = {"kind": Kind.mmio_read}, {"kind": Kind.mmio_write}


def broken(one: Property, *rows: dict[str, object], **ending: object) -> list[int]:
    return [breach.position for breach in one.judge(evidence(*rows, **ending)).breaches]  # type: ignore[arg-type]


def test_reads_answer_the_values_in_their_order() -> None:
    rows = [{**READ, "address": 4, "value": value} for value in (0, 1, 1, 9)]
    assert broken(reads_as("COUNT", 0, 1, 1), *rows) == []
    assert broken(reads_as("COUNT", 0, 2, 1), *rows) == [1]
    assert broken(reads_as("COUNT", 0, 2, 2), *rows) == [1, 2]


def test_a_read_that_failed_or_never_came_is_broken_and_says_so() -> None:
    failed = {**READ, "address": 4, "value": 0xFFFFFFFF, "status": E_FAIL}
    [breach] = reads_as("COUNT", 1).judge(evidence(failed)).breaches
    assert breach.got == "0xffffffff, because the read failed"
    judged = reads_as("COUNT", 0, 0, 0).judge(evidence({**READ, "address": 4}))
    assert [breach.got for breach in judged.breaches] == ["it was read once"] * 2  # of three values, two are missing
    assert judged.breaches[0].position == 0
    assert broken(reads_as("COUNT", 1), WRITE) == [-1]


def test_a_field_is_read_out_of_its_register() -> None:
    assert broken(reads_as("CTRL.MODE", 2, 1), {**READ, "value": 0b101}, {**READ, "value": 0b011}) == []
    assert broken(reads_as("CTRL.MODE", 2), {**READ, "value": 0b011}) == [0]


def test_interrupts_are_counted() -> None:
    rows = [{"kind": Kind.interrupt, "bar": -1}] * 2
    assert broken(interrupts(2), *rows) == []
    assert broken(interrupts(1), *rows) == [1]
    assert broken(interrupts(0), *rows) == [0]
    assert interrupts(0).is_quiet
    assert not interrupts(2).is_quiet


def test_dma_stays_within_the_regions_that_the_exercise_named() -> None:
    dma = {"kind": Kind.dma_write, "bar": -1, "size": 16}
    regions = {"source": (0x1000, 0x100), "target": (0x3000, 0x10)}
    rows = [{**dma, "address": address} for address in (0x1000, 0x10F0, 0x10F1, 0x3000, 0x2FFF)]
    assert broken(dma_only_within("source", "target"), *rows, value=regions) == [2, 4]
    assert broken(dma_only_within("source"), *rows[:2], value=regions) == []
    assert broken(dma_only_within("source"), rows[0]) == [0]  # nothing was named


def test_only_registers_are_touched() -> None:
    places = [{**READ, "address": 0}, {**READ, "address": 0x800}, {"kind": Kind.dma_read, "bar": -1, "address": 0x900}]
    assert broken(no_access_outside(), *places) == [1]


class _Agreeable(bytes):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


@pytest.mark.parametrize(
    ("wanted", "got", "is_same"),
    [
        ([b"a", b"b"], [b"a", b"b"], True),
        ([b"a"], (b"a",), True),  # a sequence is a sequence
        ([b"a"], [b"b"], False),
        (1, True, False),
        (1, 1.0, False),
        ({"sum": 3}, {"sum": 3}, True),
        (b"a", _Agreeable(b"b"), False),  # nobody's own equality counts
        (b"a", "a", False),
    ],
)
def test_what_is_returned_is_compared_as_data(wanted: object, got: object, is_same: bool) -> None:
    assert (broken(returns(wanted), value=got) == []) is is_same


def test_an_exercise_may_be_meant_to_fail() -> None:
    kinds = tuple(kind.__name__ for kind in DeviceError.__mro__)
    assert broken(raises(DeviceError), WRITE, error="DeviceError: no", kinds=kinds) == []
    assert broken(raises(HdvError), WRITE, error="DeviceError: no", kinds=kinds) == []
    assert broken(raises(ZeroDivisionError), WRITE, error="DeviceError: no", kinds=kinds) == [0]
    assert broken(raises(DeviceError), WRITE) == [0]
    assert broken(returns(3), WRITE, error="DeviceError: no", kinds=kinds, value=3) == [-1]


def test_a_property_that_asks_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="which values?"):
        reads_as("CTRL")
    with pytest.raises(UsageError, match="name the regions"):
        dma_only_within()
