"""What rows are counted by: device, BAR, kind, and whether they failed; each combination that occurs has a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Bits of a group's code, lowest first: failed (1), kind (5), BAR + 1 (3), device + 1.
_KIND_AT, _BAR_AT, _DEVICE_AT = 1, 6, 9


class RowGroups:
    """Groups, numbered as they are met; :attr:`codes` has the code of each."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self._number = np.full(0, -1, dtype=np.int64)  # code -> group

    def number(self, columns: Mapping[str, Array], failed: Array | int, devices: int) -> Array:
        """The group of each row; one that is met for the first time gets the next number.

        Parameters
        ----------
        columns : mapping of str to array
            ``device``, ``bar`` and ``kind`` of the rows.
        failed : array of bool, or int
            Which of them failed; one number for all.
        devices : int
            How many devices are known; rows of others count as rows of none.
        """
        device = columns["device"] + np.uint16(1)  # 65535, none, becomes 0
        device[device > devices] = 0
        code = device.astype(np.int64) << _DEVICE_AT
        code |= np.clip(columns["bar"] + np.int8(1), 0, 7).astype(np.int64) << _BAR_AT
        code |= columns["kind"].astype(np.int64) << _KIND_AT
        code |= failed
        if len(code) and (highest := int(code.max())) >= len(self._number):
            self._number = np.concatenate([self._number, np.full(highest + 512 - len(self._number), -1)])
        number: Array = self._number[code]
        if len(number) and number.min() < 0:
            for new in np.unique(code[number < 0]):
                self._number[new] = len(self.codes)
                self.codes.append(int(new))
            number = self._number[code]
        return number


def group_columns(groups: list[int]) -> dict[str, Array]:
    """What the codes of groups mean: arrays ``device`` (65535 = none), ``bar``, ``kind`` and ``failed``."""
    code = np.array(groups, dtype=np.int64)
    return {
        "device": ((code >> _DEVICE_AT) - 1).astype(np.uint16),
        "bar": ((code >> _BAR_AT & 7) - 1).astype(np.int8),
        "kind": (code >> _KIND_AT & 31).astype(np.uint8),
        "failed": (code & 1).astype(bool),
    }
