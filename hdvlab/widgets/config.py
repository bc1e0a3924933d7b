"""The PCI config explorer: header, BARs and capabilities taken apart, and the bytes; edits are pokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hdvlab.errors import HdvError, UsageError
from hdvlab.widgets.config_view import ConfigView, Seen
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.panel_widget import STATIC
from hdvlab.widgets.register_poke import outcome


class ConfigPanel(LookingWidget):
    """A device's configuration space.

    Looking leaves no row. An edit is a config write with origin ``user``, as the device and the machine take it.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    device : str, optional
        Its name; the first that is plugged in when not given.
    """

    _esm = STATIC / "config.js"
    _css = STATIC / "config.css"

    def __init__(self, lab: Any, device: str | None = None, **state: Any) -> None:
        self._view = ConfigView(lab, device)
        self._has_looked = False
        super().__init__(lab, **state)

    @property
    def device(self) -> str | None:
        """The device that is shown; None = the first."""
        return self._view.device

    @device.setter
    def device(self, name: str | None) -> None:
        self._view.device = name

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
        self.send_data({"kind": "config", **view.layout()}, [view.config, view.changes.flags()])

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See :meth:`PanelWidget.on_request`."""
        kind = content.get("kind")
        if kind == "look":
            if self._has_looked:
                self._tell()
        elif kind == "mark":
            self.mark()
        elif kind == "device":
            self._view.device = str(content["device"])
            self.refresh()
        elif kind == "rows":
            first, last = int(content["first"]), int(content["last"])
            rows = self._view.rows_of(first, last)
            self.selection.set_rows(rows, by=self)
            self.send_data({"kind": "rows", "first": first, "last": last, "count": len(rows)})
        elif kind == "write":
            device, offset, size = str(content["device"]), int(content["offset"]), int(content["size"])
            value = int(str(content["value"]), 16)
            self.run_aside(
                lambda: self._view.write(device, offset, size, value),
                lambda hresult: self._written(offset, size, value, hresult),
            )
        else:
            raise UsageError(f"the config panel knows no request {kind!r:.40}")

    def _written(self, offset: int, size: int, value: int, hresult: int) -> None:
        told = f"config+{offset:#x}/{size} = {value:#0{2 * size + 2}x}: {outcome(hresult)}"
        self.send_data({"kind": "written", "ok": hresult >= 0, "text": told})
        self.refresh()

    def mark(self) -> None:
        """From now on, bytes that differ from now are marked until the next mark."""
        self._view.changes.mark()
        self._tell()

    def text(self) -> str:
        """As ``lspci -vv -xxx`` has it."""
        try:
            return self._view.text(self._view.fetch())
        except HdvError as error:
            return error.message
