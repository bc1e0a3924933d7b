"""Changes of a register, the states it had and the transitions between them."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from hdvlab.analysis.signals import find_signals
from hdvlab.analysis.states import (
    CHANGE_COLUMNS,
    STATE_COLUMNS,
    TRANSITION_COLUMNS,
    df_state_changes,
    df_states,
    df_transitions,
)
from hdvlab.trace.schema import Kind, Origin

from ..plots.traces import E_FAIL, TABLES, busy, trace_of


def write(value: int, **more: int) -> dict[str, int]:
    return {"kind": Kind.mmio_write, "value": value, **more}


def read(value: int, **more: int) -> dict[str, int]:
    return {"kind": Kind.mmio_read, "value": value, **more}


def changes_of(name: str, *rows: dict[str, int]) -> pd.DataFrame:
    frame = trace_of(*({"t_ns": 10 * place, **row} for place, row in enumerate(rows))).frame()
    return df_state_changes(frame, TABLES, find_signals(frame, TABLES, [name])[0])


def told(changes: pd.DataFrame) -> list[tuple[int, int, str]]:
    return list(zip(changes["previous"], changes["value"], changes["by"], strict=True))


def test_a_change_is_the_guests_a_persons_the_devices_or_a_resets() -> None:
    changes = changes_of(
        "CTRL",
        write(1),
        write(3),
        read(2),
        write(5, origin=Origin.user),
        write(7, origin=Origin.replay),
        {"kind": Kind.reset, "bar": -1},
        read(0),
    )
    assert list(changes.columns) == list(CHANGE_COLUMNS)
    assert told(changes) == [
        (1, 3, "guest write"),
        (3, 2, "device"),
        (2, 5, "user write"),
        (5, 7, "other write"),
        (7, 0, "reset"),
    ]
    assert list(changes.index) == [1, 2, 3, 4, 5]
    assert changes.attrs == {"told": 6, "first": 1, "start_ns": 0, "end_ns": 60}


def test_a_register_that_begins_with_power_on_begins_with_its_reset_value() -> None:
    changes = changes_of("CTRL", {"kind": Kind.initialize, "bar": -1}, write(1))
    assert told(changes) == [(0, 1, "guest write")]
    assert changes.attrs["first"] == 0


def test_of_a_place_that_nothing_describes_the_first_read_after_a_reset_tells_of_it() -> None:
    rows = (read(4, address=0x100), {"kind": Kind.reset, "bar": -1}, read(9, address=0x100), read(8, address=0x100))
    assert told(changes_of("BAR0+0x100", *rows)) == [(4, 9, "reset"), (9, 8, "device")]


def test_a_field_has_its_own_values_and_another_devices_reset_is_not_its() -> None:
    rows = (write(0b011), write(0b010), {"kind": Kind.reset, "device": 1}, write(0b100), write(9, status=E_FAIL))
    assert told(changes_of("CTRL.MODE", *rows)) == [(1, 2, "guest write")]


def test_states_say_how_often_they_were_entered_and_how_long_held() -> None:
    states = df_states(changes_of("CTRL", write(1), write(3), write(1), write(1), write(3), read(3)))
    assert list(states.columns) == list(STATE_COLUMNS)
    assert states.to_numpy().tolist() == [[1, 1, 1, 30], [3, 1, 2, 20]]


def test_values_that_are_too_many_share_the_last_state() -> None:
    values = [1, 2] * 5 + [6, 5, 4]
    changes = changes_of("CTRL", *(write(value) for value in values))
    states = df_states(changes, max_states=3)
    assert states[["value", "values", "entered"]].to_numpy().tolist() == [[1, 1, 4], [2, 1, 5], [4, 3, 3]]
    transitions = df_transitions(changes, states)
    assert list(transitions.columns) == list(TRANSITION_COLUMNS)
    assert {(p, s): n for p, s, _, n in transitions.itertuples(index=False)} == {
        (0, 1): 5,
        (1, 0): 4,
        (1, 2): 1,
        (2, 2): 2,
    }


@pytest.mark.parametrize(("length", "most"), [(10, 10), (5_000, 4), (5_000, 10)])
def test_transitions_agree_with_a_walk_along_the_values(length: int, most: int) -> None:
    rows = busy(length).frame()
    signal = find_signals(rows, TABLES, ["blink:CTRL"])[0]
    changes = df_state_changes(rows, TABLES, signal)
    walked: Counter[tuple[int, int, str]] = Counter()
    before: int | None = None
    mine = rows[(rows["device"] == 0) & (rows["bar"] == 0) & (rows["address"] == 0) & (rows["status"] >= 0)]
    for row in mine[mine["kind"].isin(["mmio_read", "mmio_write"])].itertuples():
        if before is not None and row.value != before:
            walked[before, row.value, "guest write" if row.kind == "mmio_write" else "device"] += 1
        before = row.value
    assert Counter(told(changes)) == walked
    states = df_states(changes, most)
    transitions = df_transitions(changes, states)
    assert transitions["count"].sum() == len(changes) == states["entered"].sum()
    own = {value: number for number, value in states.loc[states["values"] == 1, "value"].items()}
    grouped: Counter[tuple[int, int, str]] = Counter()
    for (previous, value, by), count in walked.items():
        grouped[own.get(previous, len(states) - 1), own.get(value, len(states) - 1), by] += count
    assert {(p, s, by): n for p, s, by, n in transitions.itertuples(index=False)} == grouped


def test_a_million_rows_lose_no_transition() -> None:
    rows = busy(1_000_000).frame()
    changes = df_state_changes(rows, TABLES, find_signals(rows, TABLES, ["blink:CTRL"])[0])
    states = df_states(changes, 4)
    assert df_transitions(changes, states)["count"].sum() == len(changes) > 10_000
    assert np.array_equal(changes["previous"].to_numpy()[1:], changes["value"].to_numpy()[:-1])


def test_a_register_that_no_access_tells_of_has_no_states() -> None:
    changes = changes_of("CTRL", read(1, address=4))
    assert df_states(changes).empty
    assert df_transitions(changes, df_states(changes)).empty
