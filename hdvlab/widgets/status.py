"""The status panel: machine, VM and host, and a light that says whether rows are recorded."""

from __future__ import annotations

import time
from typing import Any

from hdvlab.errors import HdvError, HResult
from hdvlab.trace.mapped import MappedTrace
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.panel_widget import STATIC

#: Seconds between two looks: each asks a device host several times, and a person reads no faster.
_PERIOD = 0.5


class StatusPanel(LookingWidget):
    """How a lab stands: is the machine on, does the VM run, is it held, are rows recorded and how many a second.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    """

    _esm = STATIC / "status.js"
    _css = STATIC / "status.css"

    def __init__(self, lab: Any, **state: Any) -> None:
        self._sent: dict[str, Any] | None = None
        self._before: tuple[float, int] | None = None
        self._rate = 0.0
        self._looked = float("-inf")
        super().__init__(lab, **state)

    def is_stale(self) -> bool:
        """See :meth:`PanelWidget.is_stale`."""
        return time.monotonic() - self._looked >= _PERIOD

    def refresh(self) -> None:
        """See :meth:`PanelWidget.refresh`."""
        self._looked = time.monotonic()
        super().refresh()

    def fetch(self) -> dict[str, Any]:
        """See :meth:`LookingWidget.fetch`."""
        lab = self.lab
        record = getattr(lab, "host", None)
        told: dict[str, Any] = {
            "host": "" if record is None else record.name,
            "attached": bool(getattr(lab, "attached", True)),
            "machine": "off",
            "held": "",
            "devices": [],
            "faults": 0,
            **_recording(self.trace),
        }
        if not told["attached"]:
            told["machine"] = "the host is gone"
            return told
        if lab.running:
            told["machine"] = "on"
            if lab.has_vm:
                told["machine"] = lab.vm.state if lab.vm_booted else "on, no VM booted"
        told["held"] = lab.held()
        told["devices"] = [one.name for one in lab]
        told["faults"] = sum(fault.count for fault in lab.faults)
        return told

    def take(self, seen: dict[str, Any]) -> None:
        """See :meth:`LookingWidget.take`."""
        now = time.monotonic()
        if self._before is None:
            self._before = (now, seen["rows"])
        elif (spent := now - self._before[0]) >= 1.0:
            self._rate = (seen["rows"] - self._before[1]) / spent
            self._before = (now, seen["rows"])
        seen = {**seen, "rate": round(self._rate)}
        if seen != self._sent:
            self._sent = seen
            self.send_data({"kind": "state", **seen})

    def on_request(self, content: Any, buffers: Any) -> None:
        """See :meth:`PanelWidget.on_request`."""
        self._sent = None
        self.refresh()

    def on_shown(self) -> None:
        """See :meth:`PanelWidget.on_shown`."""
        self._before, self._rate = None, 0.0

    def text(self) -> str:
        """One line or two."""
        try:
            told = self.fetch()
        except HdvError as error:
            return error.message
        host = f", in host {told['host']}" if told["host"] else ""
        lines = [f"machine {told['machine']}{host}; {', '.join(told['devices']) or 'no devices'}"]
        lines.append(
            f"{told['rows']:,} rows, {told['recording']}" + (f", {told['lost']:,} lost" if told["lost"] else "")
        )
        if told["held"]:
            lines.append(told["held"])
        return "\n".join(lines)


def _recording(trace: Any) -> dict[str, Any]:
    """Whether rows are taken: ``light`` is on, paused or off."""
    if not isinstance(trace, MappedTrace) or not trace.is_live:
        return {"rows": len(trace), "lost": 0, "light": "off", "recording": "not recording"}
    state = trace.state
    light, recording = "on", "recording"
    if state.stopped:
        light, recording = "off", f"recording has stopped ({HResult.symbol_of(state.stopped)})"
    elif state.suspended:
        light, recording = "paused", "recording is paused"
    return {"rows": len(trace), "lost": state.lost, "light": light, "recording": recording}
