"""The report on what was handed in: points, and each broken property with the rows that broke it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the rows that are shown with a breach.
HEADINGS = ("row", "kind", "register", "address", "size", "value", "fields", "status", "source")


@dataclass(frozen=True)
class ShownBreach:
    """A breach for people: the row's number (None: no row shows it), what was expected, what was there, and rows
    around it as texts under :data:`HEADINGS`."""

    row: int | None
    expected: str
    got: str
    around: Sequence[Sequence[str]] = ()

    def excerpt(self) -> list[str]:
        """The rows around it as lines of text, an arrow before the one that is meant."""
        used = [place for place in range(len(HEADINGS)) if any(line[place] for line in self.around)]
        table = [[HEADINGS[place] for place in used], *([line[place] for place in used] for line in self.around)]
        widths = [max(len(line[place]) for line in table) for place in range(len(used))]
        marks = ["  ", *("▸ " if line[0] == str(self.row) else "  " for line in self.around)]
        return [
            (mark + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))).rstrip()
            for mark, line in zip(marks, table, strict=True)
        ]

    @property
    def sentence(self) -> str:
        """Which row, what was expected, what was there."""
        where = "no row" if self.row is None else f"row {self.row:,}"
        return f"{where}: expected {self.expected}; got {self.got}"


@dataclass(frozen=True)
class Verdict:
    """What became of one property: ``points`` of ``worth``, and the breaches; ``more`` are not shown.

    ``note`` says why points are missing where no row does, ``ended`` how the check's exercise broke off.
    """

    check: str
    text: str
    points: float
    worth: float
    breaches: Sequence[ShownBreach] = ()
    more: int = 0
    note: str = ""
    ended: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether it has all its points."""
        return self.points >= self.worth and not self.breaches and not self.note

    @property
    def sign(self) -> str:
        """✓ kept, ~ in part, ✗ broken."""
        return "✓" if self.is_kept else "~" if self.points > 0 else "✗"


@dataclass(frozen=True)
class Report:
    """Points and verdicts. ``float(report)`` is the points; ``report.require()`` raises where some are missing.

    Parameters
    ----------
    sheet : str
        Name of the lab sheet.
    subject : str
        What was judged.
    verdicts : sequence of Verdict
        One for each property.
    faults : sequence of str
        What failed in the device's code.
    """

    sheet: str
    subject: str
    verdicts: Sequence[Verdict]
    faults: Sequence[str] = field(default_factory=tuple)

    def __float__(self) -> float:
        return float(round(sum(one.points for one in self.verdicts), 6))

    @property
    def points(self) -> float:
        """What was reached."""
        return float(self)

    @property
    def worth(self) -> float:
        """What could be reached."""
        return float(round(sum(one.worth for one in self.verdicts), 6))

    def require(self, points: float | None = None) -> Report:
        """The report itself, if it has ``points``, all of them when not given.

        Raises
        ------
        AssertionError
            It has not; the message names the first broken property and its row. nbgrader and pytest take it.
        """
        wanted = self.worth if points is None else points
        if self.points >= wanted:
            return self
        broken = next((one for one in self.verdicts if not one.is_kept), None)
        why = ""
        if broken is not None:
            told = broken.breaches[0].sentence if broken.breaches else broken.note
            told += f"; the exercise broke off: {broken.ended}" if broken.ended else ""
            why = f"\n{broken.check}: {broken.text}: {told}"
        raise AssertionError(f"{self.sheet}: {self.points:g} of {wanted:g} points{why}")

    def frame(self) -> pd.DataFrame:
        """One row per property: columns ``check``, ``property``, ``points``, ``worth``, ``row`` (of the first breach,
        ``<NA>`` where there is none), ``expected``, ``got``, ``note``, ``ended``."""
        import pandas as pd

        rows = []
        for one in self.verdicts:
            first = one.breaches[0] if one.breaches else ShownBreach(None, "", "")
            row = pd.NA if first.row is None else first.row
            rows.append(
                (one.check, one.text, one.points, one.worth, row, first.expected, first.got, one.note, one.ended)
            )
        columns = ["check", "property", "points", "worth", "row", "expected", "got", "note", "ended"]
        return pd.DataFrame(rows, columns=columns).astype({"row": "Int64"})

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """The report that :meth:`to_dict` wrote."""
        verdicts = [
            Verdict(**{**one, "breaches": [ShownBreach(**breach) for breach in one["breaches"]]})
            for one in data["verdicts"]
        ]
        return cls(data["sheet"], data["subject"], verdicts, data["faults"])

    def _heading(self) -> str:
        return f"{self.sheet}, {self.subject}: {self.points:g} of {self.worth:g} points"

    def __repr__(self) -> str:
        lines, check = [self._heading()], ""
        for one in self.verdicts:
            if one.check != check:
                check = one.check
                lines.append(f"\n{check}")
                lines += [f"  the exercise broke off: {one.ended}"] if one.ended else []
            lines.append(f"  {one.sign} {one.text}  {one.points:.3g}/{one.worth:.3g}")
            for breach in one.breaches:
                lines.append(f"      {breach.sentence}")
                lines += [f"        {line}" for line in breach.excerpt()] if breach.around else []
            if one.more:
                lines.append(f"      and {one.more} more")
            if one.note:
                lines.append(f"      {one.note}")
        if self.faults:
            lines += ["\nin the device's code:", *(f"  {fault}" for fault in self.faults)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows, check = [], ""
        for one in self.verdicts:
            if one.check != check:
                check = one.check
                ended = f"<div>the exercise broke off: {html.escape(one.ended)}</div>" if one.ended else ""
                rows.append(f'<tr><th colspan="3" style="text-align:left">{html.escape(check)}{ended}</th></tr>')
            told = "".join(self._html_breach(breach) for breach in one.breaches)
            told += f"<div>and {one.more} more</div>" if one.more else ""
            told += f"<div>{html.escape(one.note)}</div>" if one.note else ""
            rows.append(
                f'<tr style="vertical-align:top"><td>{one.sign}</td><td>{one.points:.3g}/{one.worth:.3g}</td>'
                f'<td style="text-align:left">{html.escape(one.text)}{told}</td></tr>'
            )
        faults = "".join(f"<div>in the device's code: {html.escape(fault)}</div>" for fault in self.faults)
        return (
            f"<div><b>{html.escape(self._heading())}</b><table><thead><tr><th></th><th>points</th>"
            f'<th style="text-align:left">property</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
            f"{faults}</div>"
        )

    @staticmethod
    def _html_breach(breach: ShownBreach) -> str:
        sentence = html.escape(breach.sentence)
        if not breach.around:
            return f"<div>{sentence}</div>"
        lines = html.escape("\n".join(breach.excerpt()))
        return (
            f'<details open><summary>{sentence}</summary><pre style="margin:0;overflow-x:auto">{lines}</pre></details>'
        )
