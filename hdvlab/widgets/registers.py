"""The register panel: every register with its fields, live; edits are pokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hdvlab.errors import HdvError, UsageError
from hdvlab.registers import Field
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.panel_widget import STATIC
from hdvlab.widgets.register_poke import Poke, Pokes
from hdvlab.widgets.register_view import Cell, RegisterView, Seen
from hdvlab.widgets.selection import Selection


class RegisterPanel(LookingWidget):
    """Registers of a device, or of all that are plugged in.

    Looking only ever peeks: no handler runs, and no row is left. An edit is a poke, a row with origin ``user``.
    Choosing a register or field chooses the rows that touched it: ``panel.selection.frame(decode=True)``.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    device : str, optional
        Its name; it may come later, go, and come back. All devices when not given.
    """

    _esm = STATIC / "registers.js"
    _css = STATIC / "registers.css"

    def __init__(self, lab: Any, device: str | None = None, **state: Any) -> None:
        self._view = RegisterView(lab, device)
        self.pokes = Pokes(lab)
        """What was poked from here."""
        self._sent = -1
        super().__init__(lab, **state)
        self._end_observing = self.selection.observe(self._chosen)

    # ---- looking -----------------------------------------------------------------------------------------------

    def fetch(self) -> Seen:
        """See :meth:`LookingWidget.fetch`."""
        return self._view.fetch()

    def take(self, seen: Seen) -> None:
        """See :meth:`LookingWidget.take`."""
        if self._view.take(seen):
            if self._view.generation != self._sent:
                self._send_layout()
            self._send_values()

    def _send_layout(self) -> None:
        self._sent = self._view.generation
        self.send_data({"kind": "layout", **self._view.layout()})

    def _send_values(self) -> None:
        told = {"kind": "values", "generation": self._view.generation, "reasons": self._view.reasons(), **self._undo()}
        self.send_data(told, [self._view.packed()])

    def _undo(self) -> dict[str, Any]:
        """Whether the last poke can be taken back, as the register stands now."""
        poke, now = self.pokes.last, None
        if poke is not None:
            for number, cell in enumerate(self._view.cells):
                if (cell.device, cell.bar, cell.register.name) == (poke.device, poke.bar, poke.register.name):
                    answer = self._view.answers[number]
                    now = answer if isinstance(answer, int) else None
        why = "nothing was poked" if poke is None else self.pokes.why_no_undo(-1 if now is None else now)
        what = "" if poke is None or poke.old is None else f"{poke.name} back to {poke.old:#x}"
        return {"why_no_undo": why, "undo": what}

    # ---- what the browser asks ---------------------------------------------------------------------------------

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See :meth:`PanelWidget.on_request`."""
        kind = content.get("kind")
        if kind == "look":
            if self._view.generation:
                self._send_layout()
                self._send_values()
        elif kind == "mark":
            self.mark()
        elif kind == "undo":
            self.run_aside(self.pokes.undo, self._poked)
        elif kind in ("poke", "rows"):
            cell, field = self._place(content)
            if kind == "rows":
                self._choose(cell, field)
            else:
                value = int(str(content["value"]), 16)
                self.run_aside(lambda: self.pokes.poke(cell.device, cell.bar, cell.register, field, value), self._poked)
        else:
            raise UsageError(f"the register panel knows no request {kind!r:.40}")

    def _place(self, content: Mapping[str, Any]) -> tuple[Cell, Field | None]:
        _, cell = self._view.find(str(content["device"]), int(content["bar"]), int(content["offset"]))
        name = content.get("field")
        if name is not None and name not in cell.register.fields:
            raise UsageError(f"{cell.register.name} has no field {name!r:.40} any more; look again")
        return cell, None if name is None else cell.register.fields[name]

    def _poked(self, poke: Poke) -> None:
        self.send_data({"kind": "poked", **poke.to_dict()})
        self._send_values()
        self.refresh()

    def _choose(self, cell: Cell, field: Field | None) -> None:
        rows = self._view.rows_of(cell, field)
        self.selection.set_register(self.lab[cell.device].index, cell.bar, cell.register.offset, by=self)
        self.selection.set_rows(rows, by=self)
        name = f"{cell.device}.{cell.register.name}{f'.{field.name}' if field else ''}"
        place = {"device": cell.device, "bar": cell.bar, "offset": cell.register.offset}
        self.send_data({"kind": "rows", **place, "name": name, "count": len(rows)})

    def _chosen(self, selection: Selection, what: str, by: object) -> None:
        if what == "register" and by is not self and selection.register is not None:
            device, bar, offset = selection.register
            infos = self.trace.devices
            if 0 <= device < len(infos):
                told = {"kind": "chosen", "device": infos[device].name, "bar": bar, "offset": offset}
                self.post(lambda: self.send_data(told))

    # ---- from Python -------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """From now on, bits that differ from now are marked until the next mark."""
        self._view.mark()
        self._send_values()

    def ended(self) -> None:
        """See :meth:`PanelWidget.ended`."""
        self._end_observing()

    def text(self) -> str:
        """Registers with values and fields, as they are now; ``+`` where bits differ from those at the mark."""
        try:
            return self._view.text(self._view.fetch())
        except HdvError as error:
            return error.message
