"""Laws about the order of rows: never, always, within, before, after, until, in this order. Masks in, breaches out.

Each takes booleans, one per row, as :meth:`hdvlab.analysis.condition.Condition.holds` gives them, and says where a law
was broken. Order is the rows' order; only ``within`` looks at times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hdvlab.analysis.selection import Array, of_kinds
from hdvlab.trace.schema import KIND_GROUPS

#: Rows that count as an access where a law counts them: what guest and device do to each other, no marks, no lifecycle.
COUNTED = frozenset().union(*(KIND_GROUPS[name] for name in ("config", "mmio", "dma", "interrupt")))

#: ``position`` of a breach that no row shows, because what is missing is missing everywhere.
NOWHERE = -1


@dataclass(frozen=True)
class Breach:
    """Where a law was broken: the row's place among those looked at, what was expected, and what was there."""

    position: int
    expected: str
    got: str


@dataclass(frozen=True)
class Judged:
    """What became of a law: ``looked`` occasions on which it could be broken, and those on which it was."""

    looked: int
    breaches: Sequence[Breach] = field(default_factory=tuple)

    @property
    def holds(self) -> bool:
        """Whether it was kept every time."""
        return not self.breaches


def never(bad: Array, text: str) -> Judged:
    """No row is ``bad``."""
    return Judged(len(bad), [Breach(int(row), f"no {text}", "this row") for row in np.flatnonzero(bad)])


def always(good: Array, where: Array, text: str) -> Judged:
    """Every row of ``where`` is ``good``."""
    broken = np.flatnonzero(where & ~good)
    return Judged(int(where.sum()), [Breach(int(row), text, "this row") for row in broken])


def count(these: Array, text: str, least: int = 0, most: int | None = None) -> Judged:
    """There are ``least`` to ``most`` of these rows; the first one too many, or the last one there is, is named."""
    rows = np.flatnonzero(these)
    if least <= len(rows) and (most is None or len(rows) <= most):
        return Judged(max(len(rows), 1))
    amount = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
    told = rows if most is None else rows[: most + 1]
    position = int(told[-1]) if len(told) else NOWHERE
    return Judged(max(len(rows), 1), [Breach(position, f"{amount} × {text}", f"{len(rows)}")])


def within(
    cause: Array,
    effect: Array,
    text: str,
    *,
    kinds: Array,
    t_ns: Array,
    accesses: int | None = None,
    nanoseconds: int | None = None,
) -> Judged:
    """After each ``cause`` there is an ``effect``, at most so many accesses or nanoseconds later.

    Accesses are counted from the cause on, which is none: the next one is the first. Times are when the rows began.
    """
    causes, effects = np.flatnonzero(cause), np.flatnonzero(effect)
    nth = np.searchsorted(effects, causes, side="right")
    counted = np.cumsum(of_kinds(kinds, COUNTED))
    breaches = []
    for row, place in zip(causes.tolist(), nth.tolist(), strict=True):
        if place == len(effects):
            breaches.append(Breach(row, text, "it never came"))
            continue
        came = int(effects[place])
        later, passed = int(counted[came] - counted[row]), int(t_ns[came] - t_ns[row])
        if accesses is not None and later > accesses:
            breaches.append(Breach(row, text, f"it came {later} accesses later"))
        elif nanoseconds is not None and passed > nanoseconds:
            breaches.append(Breach(row, text, f"it came {passed / 1000:,.1f} µs later"))
    return Judged(len(causes), breaches)


def after(cause: Array, effect: Array, text: str) -> Judged:
    """After each ``cause`` there is an ``effect``, at some time."""
    causes, effects = np.flatnonzero(cause), np.flatnonzero(effect)
    last = int(effects[-1]) if len(effects) else NOWHERE
    return Judged(len(causes), [Breach(int(row), text, "it never came") for row in causes if row >= last])


def before(first: Array, then: Array, text: str, each: bool = False) -> Judged:
    """No ``then`` without a ``first`` before it; with ``each`` one since the last ``then``."""
    firsts, thens = np.flatnonzero(first), np.flatnonzero(then)
    had = np.searchsorted(firsts, thens, side="left")
    breaches, used = [], 0
    for row, so_far in zip(thens.tolist(), had.tolist(), strict=True):
        if so_far <= (used if each else 0):
            breaches.append(Breach(row, text, "it was not there before this row"))
        used = so_far
    return Judged(len(thens), breaches)


def until(hold: Array, release: Array, text: str, since: Array | None = None) -> Judged:
    """Between each ``since`` (or the beginning) and the next ``release``, every row is ``hold``.

    Neither of the two rows at the ends is asked; where no release comes, the rest of the rows is.
    """
    starts = [NOWHERE] if since is None else np.flatnonzero(since).tolist()
    releases = np.flatnonzero(release)
    broken: set[int] = set()
    for start in starts:
        place = np.searchsorted(releases, start, side="right")
        end = int(releases[place]) if place < len(releases) else len(hold)
        broken |= set((start + 1 + np.flatnonzero(~hold[start + 1 : end])).tolist())
    return Judged(len(starts), [Breach(row, text, "this row came first") for row in sorted(broken)])


def in_order(steps: Sequence[Array], texts: Sequence[str]) -> Judged:
    """The steps come one after the other, whatever is between them; the row of the last step that came is named."""
    at = NOWHERE
    for step, text in zip(steps, texts, strict=True):
        later = np.flatnonzero(step[at + 1 :])
        if not len(later):
            came = f"there is none{' after this row' if at >= 0 else ''}"
            if step.any():
                came += f"; the last one is {at - int(np.flatnonzero(step)[-1])} rows before it"
            return Judged(len(steps), [Breach(at, f"then {text}" if at >= 0 else text, came)])
        at += 1 + int(later[0])
    return Judged(len(steps))
