"""The trace table: every row of a trace, live, of ten as of ten million."""

from __future__ import annotations

from hdvlab.widgets.panel_widget import STATIC, PanelWidget


class TraceTable(PanelWidget):
    """The rows of a trace."""

    _esm = STATIC / "table.js"
    _css = STATIC / "table.css"

    def text(self) -> str:
        """The last rows."""
        return repr(self.trace.frame().tail(20))
