"""Evidence to verdicts: what each property of a check is worth, and the rows that broke it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hdvlab.analysis.temporal import Breach, Judged
from hdvlab.checks.evidence import Evidence
from hdvlab.checks.property import Property
from hdvlab.checks.report import Report, ShownBreach, Verdict
from hdvlab.checks.sheet import Check, Sheet

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows

#: Breaches that are shown of one property; the others are counted.
SHOWN = 3

_AROUND = 2  # rows shown before and behind one that broke a property
_COLUMNS = ("kind", "register", "address", "size", "value", "fields", "status", "source")
_WIDEST = 60  # characters of one column


def judge(sheet: Sheet, check: Check, evidence: Evidence | None, missing: str = "") -> list[Verdict]:
    """The verdicts on a check's properties; without evidence, ``missing`` says why there is none."""
    verdicts = []
    for one, worth in zip(check.properties, check.shares(), strict=True):
        if evidence is None:
            verdicts.append(Verdict(check.title, one.text, 0.0, worth, note=missing))
            continue
        try:
            judged = one.judge(evidence)
        except Exception as error:  # a sheet's own mistake must not hide the other verdicts
            verdicts.append(Verdict(check.title, one.text, 0.0, worth, note=f"cannot be judged: {error}"))
            continue
        verdicts.append(_verdict(check, one, worth, judged, evidence))
    return verdicts


def _verdict(check: Check, one: Property, worth: float, judged: Judged, evidence: Evidence) -> Verdict:
    note, points = "", worth
    ending = evidence.ending
    if judged.breaches:
        points = worth * max(1 - len(judged.breaches) / max(judged.looked, 1), 0.0) if one.partial else 0.0
    elif one.wants_occasion and not judged.looked:
        points, note = 0.0, "nothing put it to the test: no row was the occasion for it"
    elif one.is_quiet and ending.error and not _is_wanted(check, ending.kinds):
        points, note = 0.0, "kept as far as the exercise came, which broke off"
    ended = "" if _is_wanted(check, ending.kinds) else ending.error
    if check.needs and not evidence.holds(check.needs).any():
        points, note = 0.0, f"there is no {check.needs}, without which the exercise shows nothing"
    shown = [_shown(breach, evidence) for breach in list(dict.fromkeys(judged.breaches))[:SHOWN]]
    return Verdict(check.title, one.text, points, worth, shown, max(len(judged.breaches) - len(shown), 0), note, ended)


def _is_wanted(check: Check, kinds: Sequence[str]) -> bool:
    """Whether the exercise was meant to end with that exception."""
    return any(set(one.ends_with) & set(kinds) for one in check.properties)


def _shown(breach: Breach, evidence: Evidence) -> ShownBreach:
    if not 0 <= breach.position < len(evidence):
        return ShownBreach(None, breach.expected, breach.got)
    first = max(breach.position - _AROUND, 0)
    frame = evidence.frame(first, min(breach.position + _AROUND + 1, len(evidence)))
    return ShownBreach(evidence.row(breach.position), breach.expected, breach.got, _lines(frame, evidence))


def _lines(frame: Rows, evidence: Evidence) -> list[list[str]]:
    """Rows as texts, the row's number first; columns that say nothing in any of them are left out later."""
    from hdvlab.trace.frame import FORMATTERS

    lines = []
    for row in range(len(frame)):
        number = int(frame.index[row])
        cells = [str(number)]
        for name in _COLUMNS:
            value = frame[name].iloc[row]
            text = FORMATTERS[name](int(value)) if name in FORMATTERS else str(value)
            if number in evidence.texts:  # its value is the beginning of a text
                text = {"fields": evidence.texts[number], "value": "", "address": "", "size": ""}.get(name, text)
            cells.append(text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…")
        lines.append(cells)
    return lines


def report_of(sheet: Sheet, verdicts: list[Verdict], faults: list[str], subject: str) -> Report:
    """All verdicts on what was handed in."""
    return Report(sheet.name, subject, verdicts, list(dict.fromkeys(faults)))
