"""The memory panel: guest RAM in hexadecimal, live, with overlays that say what the bytes mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdvlab.errors import HdvError, UsageError
from hdvlab.registers import RegisterMap
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.memory_view import MemoryView, Seen
from hdvlab.widgets.overlay import Overlay, Part
from hdvlab.widgets.panel_widget import STATIC
from hdvlab.widgets.selection import Selection


class MemoryPanel(LookingWidget):
    """A window of guest RAM. It only looks: reading RAM leaves no row, and what is no RAM is never read.

    Choosing a byte chooses the DMA rows that touched it: ``panel.selection.frame(decode=True)``.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    address : int or str
        Where to begin: a number, hexadecimal digits, or the name of a region that DMA touched (``"nvme.dma0"``).
    size : int
        Bytes of the window, 16 to 4096.
    overlays : sequence of Overlay, RegisterMap or list of (int, int, str)
        What bytes mean, beside what is shipped (``virtq_desc``, ``virtq_avail``, ``virtq_used``, ``nvme_sq``,
        ``nvme_cq``). A list names fields: ``[(offset, size, name), ...]``.
    overlay : str
        The one that is shown first; empty = none.
    """

    _esm = STATIC / "memory.js"
    _css = STATIC / "memory.css"

    def __init__(
        self,
        lab: Any,
        address: int | str = 0,
        *,
        size: int = 512,
        overlays: Sequence[Overlay | RegisterMap | Iterable[Part]] = (),
        overlay: str = "",
        **state: Any,
    ) -> None:
        self._view = MemoryView(lab, size, overlays)
        self._check_overlay(overlay)
        self._overlay, self._overlay_at = overlay, 0
        self._has_looked = False
        super().__init__(lab, **state)
        self._view.go(self._find(address))
        self._overlay_at = self._find(address)
        self._end_observing = self.selection.observe(self._chosen)

    def _check_overlay(self, name: str) -> None:
        if name and name not in self._view.overlays:
            raise UsageError(f"there is no overlay {name!r:.40}; there is {', '.join(self._view.overlays)}")

    def _find(self, address: int | str) -> int:
        if isinstance(address, str):
            return self._view.find(address)
        if not 0 <= address < 1 << 64:
            raise UsageError(f"{address:#x} is no guest-physical address of 64 bits")
        return address

    @property
    def address(self) -> int:
        """First byte of the window."""
        return self._view.address

    def go(self, address: int | str) -> None:
        """Show another place."""
        found = self._find(address)
        self.post(lambda: self._go(found))

    def fetch(self) -> Seen:
        """See :meth:`LookingWidget.fetch`."""
        return self._view.fetch()

    def take(self, seen: Seen) -> None:
        """See :meth:`LookingWidget.take`."""
        self._has_looked = True
        if self._view.take(seen):
            self._tell()

    def _tell(self) -> None:
        view = self._view
        self.send_data({"kind": "memory", **view.layout()}, [view.changes.data, view.flags()])

    def _send_choices(self) -> None:
        """What there is to choose from, and what is chosen."""
        self.send_data(
            {
                "kind": "choices",
                "regions": [
                    [name, f"{first:x}", f"{last:x}", rows] for name, first, last, rows in self._view.regions()
                ],
                "overlays": [one.to_dict() for one in self._view.overlays.values()],
                "overlay": self._overlay,
                "at": f"{self._overlay_at:x}",
            }
        )

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See :meth:`PanelWidget.on_request`."""
        kind = content.get("kind")
        if kind == "look":
            self._send_choices()
            if self._has_looked:
                self._tell()
        elif kind == "go":
            self._go(self._view.find(str(content["text"])))
        elif kind == "mark":
            self.mark()
        elif kind == "overlay":
            name = str(content["name"])
            self._check_overlay(name)
            self._overlay, self._overlay_at = name, int(str(content["at"]), 16)
            self._send_choices()
        elif kind == "rows":
            first, last = int(str(content["first"]), 16), int(str(content["last"]), 16)
            rows = self._view.rows_of(first, last)
            self.selection.set_address(first, by=self)
            self.selection.set_rows(rows, by=self)
            self.send_data({"kind": "rows", "first": f"{first:x}", "last": f"{last:x}", "count": len(rows)})
        else:
            raise UsageError(f"the memory panel knows no request {kind!r:.40}")

    def _go(self, address: int) -> None:
        self._view.go(address)
        self.send_data({"kind": "cursor", "address": f"{address:x}"})
        self._send_choices()
        self.refresh()

    def _chosen(self, selection: Selection, what: str, by: object) -> None:
        address = selection.address
        if what == "address" and by is not self and address is not None:
            self.post(lambda: self._go(address))

    def mark(self) -> None:
        """From now on, bytes that differ from now are marked until the next mark."""
        self._view.changes.mark()
        self._tell()

    def ended(self) -> None:
        """See :meth:`PanelWidget.ended`."""
        self._end_observing()

    def text(self) -> str:
        """The window as it is now, and the entries of the overlay."""
        try:
            return self._view.text(self._view.fetch(), self._overlay, self._overlay_at)
        except HdvError as error:
            return error.message
