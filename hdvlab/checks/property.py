"""Properties of behaviour: laws about an exercise's rows, each with its points.

Conditions are texts (:mod:`hdvlab.analysis.condition.words`): ``write CTRL.EN==1``, ``interrupt``, ``not failed``.

====================================  ================================================================================
``never(bad)``                        no row is that
``always(good, where=...)``           every row of ``where`` is that
``count(these, 3)``                   there are 3 of them; or ``least=``, ``most=``
``within(cause, effect, limit)``      after each cause the effect, within ``10`` accesses or ``"1ms"``
``after(cause, effect)``              after each cause the effect, at some time
``before(first, then)``               no ``then`` without a ``first`` before it; ``each=True``: one for each
``until(hold, release, since=...)``   from the beginning, or from each ``since``, only ``hold`` until ``release``
``order(one, two, ...)``              one after the other, whatever is between them
====================================  ================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hdvlab.analysis import temporal
from hdvlab.analysis.condition import Condition
from hdvlab.analysis.selection import nanoseconds
from hdvlab.analysis.temporal import Judged
from hdvlab.checks.evidence import Evidence
from hdvlab.errors import UsageError


@dataclass(frozen=True)
class Property:
    """One law, and what it is worth.

    Parameters
    ----------
    text : str
        What is demanded, for people.
    judge : callable
        Looks at an :class:`~hdvlab.checks.evidence.Evidence`.
    points : float, optional
        Its part of the check's points; the rest is shared evenly by properties without.
    partial : bool
        Whether keeping it sometimes is worth a part of the points: 7 of 10 occasions, 0.7 of them.
    is_quiet : bool
        Whether doing nothing keeps it, as with ``never``. Such a law is worth nothing in an exercise that broke off.
    wants_occasion : bool
        Whether a law that nothing put to the test counts as broken.
    ends_with : tuple of str
        Exceptions that the exercise is to end with; then its end is no breaking off.
    """

    text: str
    judge: Callable[[Evidence], Judged]
    points: float | None = None
    partial: bool = False
    is_quiet: bool = False
    wants_occasion: bool = False
    ends_with: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.points is not None and not self.points >= 0:
            raise UsageError(f"{self.text}: points are 0 or more, not {self.points!r}")


def _known(*conditions: str) -> None:
    """A typing error in a sheet is told when the sheet is read, not when it is used."""
    for condition in conditions:
        Condition(condition)


def never(bad: str, *, points: float | None = None, text: str = "") -> Property:
    """No row is ``bad``."""
    _known(bad)
    return Property(text or f"never {bad}", lambda e: temporal.never(e.holds(bad), bad), points, is_quiet=True)


def always(good: str, where: str, *, points: float | None = None, partial: bool = False, text: str = "") -> Property:
    """Every row of ``where`` is ``good``; there has to be one."""
    _known(good, where)

    def judge(e: Evidence) -> Judged:
        return temporal.always(e.holds(good), e.holds(where), good)

    return Property(text or f"{where}: always {good}", judge, points, partial, wants_occasion=True)


def count(
    these: str,
    exactly: int | None = None,
    *,
    least: int = 0,
    most: int | None = None,
    points: float | None = None,
    text: str = "",
) -> Property:
    """There are so many of these rows.

    Raises
    ------
    UsageError
        ``these`` is no condition, or no number is given.
    """
    _known(these)
    if exactly is not None:
        least = most = exactly
    if most is None and least == 0:
        raise UsageError(f"count({these!r}): how many? count({these!r}, 1), or least=1, or most=1")
    amount = str(least) if most == least else f"at least {least}" if most is None else f"{least} to {most}"

    def judge(e: Evidence) -> Judged:
        return temporal.count(e.holds(these), these, least, most)

    return Property(text or f"{amount} × {these}", judge, points, is_quiet=least == 0)


def within(
    cause: str,
    effect: str,
    limit: int | str,
    *,
    points: float | None = None,
    partial: bool = False,
    text: str = "",
) -> Property:
    """After each ``cause`` comes an ``effect``, within so many accesses (``10``) or so much time (``"1ms"``)."""
    _known(cause, effect)
    accesses = limit if isinstance(limit, int) else None
    longest = None if isinstance(limit, int) else nanoseconds(limit)
    said = f"{effect} within {f'{limit} accesses' if accesses is not None else limit}"

    def judge(e: Evidence) -> Judged:
        kinds, times = e.columns["kind"], e.columns["t_ns"]
        masks = e.holds(cause), e.holds(effect)
        return temporal.within(*masks, said, kinds=kinds, t_ns=times, accesses=accesses, nanoseconds=longest)

    return Property(text or f"{cause}: {said}", judge, points, partial, wants_occasion=True)


def after(cause: str, effect: str, *, points: float | None = None, partial: bool = False, text: str = "") -> Property:
    """After each ``cause`` comes an ``effect``, at some time; there has to be a cause."""
    _known(cause, effect)

    def judge(e: Evidence) -> Judged:
        return temporal.after(e.holds(cause), e.holds(effect), f"{effect} after it")

    return Property(text or f"after {cause}: {effect}", judge, points, partial, wants_occasion=True)


def before(first: str, then: str, *, each: bool = False, points: float | None = None, text: str = "") -> Property:
    """No ``then`` without a ``first`` before it, with ``each`` one for each; there has to be a ``then``."""
    _known(first, then)

    def judge(e: Evidence) -> Judged:
        return temporal.before(e.holds(first), e.holds(then), f"{first} before it", each)

    return Property(text or f"before {then}: {first}", judge, points, wants_occasion=True)


def until(hold: str, release: str, *, since: str = "", points: float | None = None, text: str = "") -> Property:
    """Only ``hold`` until ``release``: from the beginning, or from each ``since`` on, of which there has to be one."""
    _known(hold, release, *([since] if since else []))

    def judge(e: Evidence) -> Judged:
        begins = e.holds(since) if since else None
        return temporal.until(e.holds(hold), e.holds(release), f"{hold} until {release}", begins)

    said = f"{f'from {since} on: ' if since else ''}{hold} until {release}"
    return Property(text or said, judge, points, is_quiet=not since, wants_occasion=bool(since))


def order(*steps: str, points: float | None = None, text: str = "") -> Property:
    """The steps come in this order, whatever is between them.

    Raises
    ------
    UsageError
        A step is no condition, or there are fewer than two.
    """
    _known(*steps)
    if len(steps) < 2:
        raise UsageError("order takes two conditions or more: order('write BASE', 'write CTRL')")

    def judge(e: Evidence) -> Judged:
        return temporal.in_order([e.holds(step) for step in steps], steps)

    return Property(text or f"in this order: {', '.join(steps)}", judge, points)
