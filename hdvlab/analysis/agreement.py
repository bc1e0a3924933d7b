"""Whether two traces tell the same of one run, access by access, and where they first do not.

The judge of a recorder is another recorder: the guest kernel's own mmiotrace, or a second machine where the same driver
ran. Times and absolute addresses differ; operation, BAR, offset, width, value and order may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import ACCESS_KINDS, Array, kind_codes, of_kinds
from hdvlab.trace.schema import NO_BAR, Kind, Origin

#: Columns of the frame :func:`df_accesses` gives.
ACCESS_COLUMNS: Final = {
    "row": "the row's index in the frame it comes from",
    "operation": '"read" or "write"; a doorbell is a write',
    "bar": "BAR 0 to 5",
    "offset": "bytes from the BAR's base",
    "size": "bytes",
    "value": "what was read or written",
}

#: Columns of :attr:`Agreement.differences`.
DIFFERENCE_COLUMNS: Final = {
    "left": "number of the access on the left side, counted from 0; where it is missing, that of the next one",
    "right": "the same on the right side",
    "what": 'what differs, such as "value" or "offset, size"; or "only left", "only right"',
}

_COMPARED: Final = ("operation", "bar", "offset", "size", "value")

#: Left times right accesses from the first difference to the last up to which missing ones are found; beyond, accesses
#: are compared by their place alone.
_ALIGNED: Final = 4_000_000

#: A stretch of a BAR: BAR, first offset, first offset behind it.
Stretch = tuple[int, int, int]


@dataclass(frozen=True)
class Agreement:
    """What :func:`compare_accesses` found. It is true where both sides tell the same, and nothing was lost.

    Attributes
    ----------
    left, right : DataFrame
        The accesses compared, :data:`ACCESS_COLUMNS`.
    differences : DataFrame
        :data:`DIFFERENCE_COLUMNS`, one row each, in order.
    left_out : tuple of int
        Accesses of either side that were not compared, for their place.
    lost : tuple of int
        Rows that either side says it lost; a number that it does not know counts as 1.
    """

    left: pd.DataFrame
    right: pd.DataFrame
    differences: pd.DataFrame
    left_out: tuple[int, int]
    lost: tuple[int, int]

    def __bool__(self) -> bool:
        return not len(self.differences) and not any(self.lost)

    def neighbourhood(self, difference: int = 0, around: int = 3) -> str:
        """Both sides around a difference, counted from 0, as text; its accesses are marked ``>``."""
        one = self.differences.iloc[difference]
        lines = [f"difference {difference + 1:,} of {len(self.differences):,}: {one['what']}"]
        for side, accesses in (("left", self.left), ("right", self.right)):
            here, other = int(one[side]), "only right" if side == "left" else "only left"
            lines.append(f"{side}:")
            for number in range(max(0, here - around), min(len(accesses), here + around + 1)):
                mark = ">" if number == here and one["what"] != other else " "
                lines.append(f"{mark} {number:>9,}  {_text(accesses.iloc[number])}")
        return "\n".join(lines)

    def __str__(self) -> str:
        told = f"{len(self.left):,} and {len(self.right):,} accesses, {len(self.differences):,} differences"
        if any(self.left_out):
            told += f", {self.left_out[0]:,} and {self.left_out[1]:,} left out"
        if any(self.lost):
            told += f", {self.lost[0]:,} and {self.lost[1]:,} rows lost"
        return f"{told}\n{self.neighbourhood()}" if len(self.differences) else told


def df_accesses(rows: pd.DataFrame, device: int | None = None) -> pd.DataFrame:
    """A guest's reads and writes of BARs, without their times; what anybody else did is left out.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    device : int, optional
        Number of a device; all of them when not given.

    Returns
    -------
    DataFrame
        Columns :data:`ACCESS_COLUMNS`; the index is 0, 1, 2 ...
    """
    codes, origin = kind_codes(rows), rows["origin"]
    origins = origin.cat.codes if isinstance(origin.dtype, pd.CategoricalDtype) else origin
    chosen = of_kinds(codes, ACCESS_KINDS) & (origins.to_numpy() == Origin.guest) & (rows["bar"].to_numpy() != NO_BAR)
    if device is not None:
        chosen &= rows["device"].to_numpy() == device
    operation = np.where(codes[chosen] == Kind.mmio_read, "read", "write")
    columns = {name: rows[source].to_numpy()[chosen] for name, source in _SOURCES.items()}
    return pd.DataFrame({"row": rows.index.to_numpy()[chosen], "operation": operation, **columns})


_SOURCES: Final = {"bar": "bar", "offset": "address", "size": "size", "value": "value"}


def compare_accesses(
    left: pd.DataFrame,
    right: pd.DataFrame,
    *,
    devices: tuple[int | None, int | None] = (None, None),
    leave_out: Sequence[Stretch] = (),
) -> Agreement:
    """Compare what two recordings of one run tell of BARs, access by access.

    Parameters
    ----------
    left, right : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    devices : tuple of int
        Number of the device on either side. Of several devices each is compared by itself: a VM does not wait for
        its writes, so their order between devices is not the driver's.
    leave_out : sequence of (bar, first offset, offset behind)
        Stretches that one side cannot know, such as an MSI-X table that QEMU answers for by itself.
    """
    sides, left_out, lost = [], [], []
    for rows, device in zip((left, right), devices, strict=True):
        accesses = df_accesses(rows, device)
        bar, offset = accesses["bar"].to_numpy(), accesses["offset"].to_numpy()
        skip = np.zeros(len(accesses), dtype=bool)
        for which, first, behind in leave_out:
            skip |= (bar == which) & (offset >= first) & (offset < behind)
        sides.append(accesses[~skip].reset_index(drop=True))
        left_out.append(int(np.count_nonzero(skip)))
        gaps = rows["value"].to_numpy()[kind_codes(rows) == Kind.lost]
        lost.append(int(np.maximum(gaps, 1).sum()))
    differences = _differences(*sides)
    return Agreement(sides[0], sides[1], differences, (left_out[0], left_out[1]), (lost[0], lost[1]))


def _differences(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    numbers, _ = pd.factorize(pd.concat([left, right])[list(_COMPARED)].apply(tuple, axis=1))
    a, b = numbers[: len(left)], numbers[len(left) :]
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    blocks: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(a), 0, len(b))]
    if 0 < len(a) * len(b) <= _ALIGNED:
        blocks = SequenceMatcher(None, a.tolist(), b.tolist(), autojunk=False).get_opcodes()
    found: list[tuple[int, int, str]] = []
    for what, i, i_end, j, j_end in blocks:
        if what == "equal":
            continue
        pairs = min(i_end - i, j_end - j)
        for n in range(pairs):
            one, other = left.iloc[start + i + n], right.iloc[start + j + n]
            if names := [name for name in _COMPARED if one[name] != other[name]]:
                found.append((start + i + n, start + j + n, ", ".join(names)))
        found += [(start + n, start + j_end, "only left") for n in range(i + pairs, i_end)]
        found += [(start + i_end, start + n, "only right") for n in range(j + pairs, j_end)]
    return pd.DataFrame(found, columns=list(DIFFERENCE_COLUMNS))


def _common(a: Array, b: Array) -> int:
    """How many are the same from the beginning on."""
    length = min(len(a), len(b))
    unequal = np.flatnonzero(a[:length] != b[:length])
    return int(unequal[0]) if len(unequal) else length


def _text(access: pd.Series[Any]) -> str:
    row, operation, bar, offset, size, value = (access[name] for name in ACCESS_COLUMNS)
    return f"row {row:>9}  {operation:5} BAR{bar}+{offset:#06x}/{size}  {value:#0{2 * int(size) + 2}x}"
