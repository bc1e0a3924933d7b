"""Registers as a frame that shows numbers the way datasheets do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from hdvlab.lab import Plugged

_COLUMNS = ("device", "bar", "offset", "register", "access", "value", "fields", "doc")


class RegisterFrame(pd.DataFrame):
    """An ordinary DataFrame whose ``offset`` and ``value`` show themselves in hexadecimal."""

    @property
    def _constructor(self) -> Callable[..., RegisterFrame]:
        return RegisterFrame

    def _shown(self) -> dict[str, Any]:
        numbers = [
            name
            for name in ("offset", "value")
            if name in self.columns and pd.api.types.is_integer_dtype(self.dtypes[name])
        ]
        return {"formatters": dict.fromkeys(numbers, hex), "index": list(self.index) != list(range(len(self)))}

    def __repr__(self) -> str:
        shown = self._shown()
        for name in ("register", "fields", "doc"):  # words are read from the left
            if name in self.columns:
                width = max(map(len, map(str, self[name])), default=0)
                shown["formatters"][name] = f"{{:<{width}}}".format
        lines = pd.DataFrame(self).to_string(**shown).splitlines()
        return "\n".join(line.rstrip() for line in lines) if len(self) else "no registers"

    def _repr_html_(self) -> str | None:
        html: str = pd.DataFrame(self).to_html(**self._shown(), border=0, notebook=True)
        return html


def df_registers(devices: Sequence[Plugged]) -> RegisterFrame:
    """The registers of plugged-in devices; columns as :func:`hdvlab.commands.regs` says."""
    frames = [one.registers().assign(device=one.name) for one in devices]
    filled = [frame for frame in frames if len(frame)]
    whole = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(_COLUMNS))
    return RegisterFrame(whole[list(_COLUMNS)])
