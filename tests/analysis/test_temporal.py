"""Laws of order: rows that keep each, and rows that break it, with the right one named."""

from __future__ import annotations

import numpy as np
import pytest

from hdvlab.analysis import temporal
from hdvlab.analysis.temporal import NOWHERE, Judged
from hdvlab.trace.schema import Kind


def mask(text: str, letter: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([one == letter for one in text])


def broken(judged: Judged) -> list[int]:
    return [breach.position for breach in judged.breaches]


@pytest.mark.parametrize(("text", "rows"), [("aaa", []), ("aba", [1]), ("bab", [0, 2])])
def test_never_is_broken_by_every_such_row(text: str, rows: list[int]) -> None:
    assert broken(temporal.never(mask(text, "b"), "b")) == rows


@pytest.mark.parametrize(("good", "where", "rows"), [("x.x", "x.x", []), ("x..", "x.x", [2]), ("...", "...", [])])
def test_always_is_broken_where_it_does_not_hold(good: str, where: str, rows: list[int]) -> None:
    judged = temporal.always(mask(good, "x"), mask(where, "x"), "x")
    assert broken(judged) == rows
    assert judged.looked == where.count("x")


@pytest.mark.parametrize(
    ("text", "least", "most", "rows"),
    [
        ("a.a", 2, 2, []),
        ("a.aa", 2, 2, [3]),  # the first one too many
        ("a..", 2, 2, [0]),  # the last one there is
        ("...", 1, None, [NOWHERE]),
        ("aaa", 1, None, []),
        ("...", 0, 1, []),
    ],
)
def test_a_count_names_the_first_row_too_many_or_the_last_there_is(
    text: str, least: int, most: int | None, rows: list[int]
) -> None:
    assert broken(temporal.count(mask(text, "a"), "a", least, most)) == rows


@pytest.mark.parametrize(
    ("text", "accesses", "rows"),
    [
        ("c.e", 2, []),
        ("c.e", 1, [0]),
        ("ce", 1, []),
        ("c..", 9, [0]),
        ("cec.", 2, [2]),
        ("c!!!e", 1, []),
        ("e.", 1, []),
    ],
)
def test_within_so_many_accesses(text: str, accesses: int, rows: list[int]) -> None:
    kinds = np.array([Kind.mark if one == "!" else Kind.mmio_read for one in text], dtype=np.uint8)
    times = np.arange(len(text))
    judged = temporal.within(mask(text, "c"), mask(text, "e"), "e", kinds=kinds, t_ns=times, accesses=accesses)
    assert broken(judged) == rows


def test_within_some_time_says_how_late_it_was() -> None:
    kinds = np.full(4, Kind.mmio_read, dtype=np.uint8)
    times = np.array([0, 1_000, 5_000, 9_000])
    masks = mask("cece", "c"), mask("cece", "e")
    judged = temporal.within(*masks, "e", kinds=kinds, t_ns=times, nanoseconds=2_000)
    assert broken(judged) == [2]
    assert judged.breaches[0].got == "it came 4.0 µs later"
    assert judged.looked == 2


@pytest.mark.parametrize(("text", "rows"), [("ce", []), ("c.ce", []), ("ec", [1]), ("cec", [2]), ("..", [])])
def test_after_is_broken_by_a_cause_that_nothing_follows(text: str, rows: list[int]) -> None:
    assert broken(temporal.after(mask(text, "c"), mask(text, "e"), "e")) == rows


@pytest.mark.parametrize(
    ("text", "each", "rows"),
    [
        ("ft", False, []),
        ("tf", False, [0]),
        ("ftt", False, []),
        ("ftt", True, [2]),
        ("ftft", True, []),
        ("fftt", True, [3]),  # two before one do not count for the next
        ("..", False, []),
    ],
)
def test_before_is_broken_by_what_comes_without_it(text: str, each: bool, rows: list[int]) -> None:
    assert broken(temporal.before(mask(text, "f"), mask(text, "t"), "f", each)) == rows


@pytest.mark.parametrize(
    ("text", "since", "rows"),
    [
        ("hhr.", False, []),
        ("h.r.", False, [1]),
        ("hhh", False, []),  # the release may never come
        ("..shhr..", True, []),
        ("..sh.r..", True, [4]),
        ("srs.", True, [3]),
        ("s.", True, [1]),
    ],
)
def test_until_is_broken_by_the_first_row_that_does_not_hold(text: str, since: bool, rows: list[int]) -> None:
    begins = mask(text, "s") if since else None
    assert broken(temporal.until(mask(text, "h"), mask(text, "r"), "h until r", begins)) == rows


@pytest.mark.parametrize(
    ("text", "rows"), [("a.b.c", []), ("cabc", []), ("acb", [2]), ("bc", [NOWHERE]), ("aaa", [0]), ("", [NOWHERE])]
)
def test_an_order_names_the_last_step_that_was_kept(text: str, rows: list[int]) -> None:
    steps = [mask(text, letter).astype(bool) for letter in "abc"]
    assert broken(temporal.in_order(steps, ["a", "b", "c"])) == rows
