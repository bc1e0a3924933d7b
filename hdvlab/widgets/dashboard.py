"""The dashboard: the panels of a lab laid out together, ``lab.panel()``."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable
from typing import Any

import ipywidgets

from hdvlab import widgets
from hdvlab.errors import UsageError
from hdvlab.widgets.panel_widget import PanelWidget

#: Panels by their names, with the titles of their tabs.
TITLES = {
    "status": "Status",
    "stepper": "Stepper",
    "registers": "Registers",
    "config": "Config space",
    "memory": "Memory",
    "table": "Trace",
    "timeline": "Timeline",
    "heatmap": "Heat map",
}
_TOP = ("status", "stepper")
_DEVICE = ("registers", "config", "memory")
_TIME = ("timeline",)  # beside the rows: what is chosen in one is seen in the other
_ROWS = ("table", "heatmap")


class Dashboard(ipywidgets.VBox):
    """Panels that share what is chosen: a row picked in the table is marked in the timeline, and so on.

    Panels in tabs that are not open cost nothing.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    names : sequence of str
        Which panels; all when none is named: status, stepper, registers, config, memory, timeline, table, heatmap.

    Attributes
    ----------
    panels : dict of str to PanelWidget
        By their names.
    """

    _is_open = False  # until it is made: what could not be made is deleted, and closed by that

    def __init__(self, lab: Any, names: Iterable[str] = ()) -> None:
        chosen = tuple(names) or tuple(TITLES)
        for name in chosen:
            if name not in TITLES:
                raise UsageError(f"there is no panel {name!r:.40}; there is {', '.join(TITLES)}")
        self.panels: dict[str, PanelWidget] = {name: getattr(widgets, name)(lab) for name in TITLES if name in chosen}
        self._displays: list[Any] = []
        groups = [self._stacked(_TOP), self._tabs(_DEVICE), self._stacked(_TIME), self._tabs(_ROWS)]
        super().__init__([one for group in groups for one in group])
        self.layout.width = "100%"
        self.add_class("hdv-board")
        if "stepper" in self.panels:
            self.add_class("hdv-board-steps")  # the status need not say what is held
        self._is_open = True

    def _stacked(self, names: Iterable[str]) -> list[Any]:
        return [self.panels[name] for name in names if name in self.panels]

    def _tabs(self, names: Iterable[str]) -> list[Any]:
        shown = [name for name in names if name in self.panels]
        if len(shown) < 2:
            return self._stacked(shown)
        tabs = ipywidgets.Tab([self.panels[name] for name in shown])
        for number, name in enumerate(shown):
            tabs.set_title(number, TITLES[name])
        tabs.selected_index = 0
        return [tabs]

    def text(self) -> str:
        """Every panel as text, for where there is no front end."""
        return "\n\n".join(f"== {TITLES[name]}\n{panel.text()}" for name, panel in self.panels.items())

    def close(self) -> None:
        """End the panels; where they were shown, their last state stays as text."""
        if not self._is_open or sys.is_finalizing():
            return
        self._is_open = False
        displays, self._displays = self._displays, []
        texts = self._texts()
        for panel in self.panels.values():
            panel.close()
        for child in self.children:
            child.close()
        super().close()
        for display in displays:
            display.update(texts, raw=True)

    def _texts(self) -> dict[str, str]:
        text = self.text()
        return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}

    def _ipython_display_(self, **_: Any) -> None:
        from IPython.display import display

        bundle: dict[str, Any] = self._texts()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        bundle["application/vnd.jupyter.widget-view+json"] = view
        shown = display(bundle, raw=True, display_id=True)
        if shown is not None:
            self._displays.append(shown)

    def __repr__(self) -> str:
        return f"<Dashboard: {', '.join(self.panels)}>"
