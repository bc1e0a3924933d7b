"""How long a person waits, measured in the page: see ``stopwatch.js``."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hdvlab.bench.browser.page import NotebookPage

_SCRIPT = Path(__file__).with_name("stopwatch.js")

#: What a panel shows, in JavaScript over its element; null while something is awaited.
TABLE = """root => {
    const rows = [...root.querySelectorAll('.hdv-rows .hdv-row')].filter(row => !row.hidden);
    const said = root.querySelector('[data-testid=hdv-table-status]').textContent;
    if (said.includes('looked at') || !rows.every(row => row.dataset.row !== '')) return null;
    const active = root.querySelector('.hdv-active')?.dataset.row;
    return [rows[0]?.dataset.row, rows[0]?.style.transform, active, said].join();
}"""
#: The same, as soon as there is a screen of rows, while the rest is still looked at.
TABLE_FIRST = TABLE.replace("said.includes('looked at') || ", "")
#: What the table says in its last line.
TABLE_SAYS = "root => root.querySelector('[data-testid=hdv-table-status]').textContent"
CHART = """root => {
    const d = root.querySelector('.hdv-chart').dataset;
    if (d.waits !== 'false' || (d.done ?? '1') !== '1') return null;
    return [d.first, d.stop, d.low, d.high, d.most, d.rows, d.total, d.chosen, d.place].join();
}"""


@dataclass
class Waits:
    """Milliseconds that a person waited, for one thing that was done several times."""

    name: str
    ms: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """In the middle."""
        return statistics.median(self.ms)

    @property
    def worst(self) -> float:
        """The longest."""
        return max(self.ms)


class Stopwatch:
    """The page's own clock, for the notebook that it shows now."""

    def __init__(self, page: NotebookPage) -> None:
        self._page = page
        page.page.evaluate(_SCRIPT.read_text())

    def time(self, panel: str, state: str, event: str, act: Callable[[], object]) -> float:
        """Milliseconds from the event that ``act`` makes until the panel shows what comes of it."""
        root = self._page.panel(panel).element_handle()
        page = self._page.page
        page.evaluate(f"([root, kind]) => window.hdvStopwatch.start(root, kind, {state})", [root, event])
        act()
        told = page.evaluate("() => window.hdvStopwatch.result")
        return float(told["ms"])

    def shown(self, panel: str, state: str, act: Callable[[], object]) -> float:
        """Milliseconds until a panel that is not there yet shows something, from ``act`` on."""
        selector = f"[data-testid=hdv-{panel}]"
        wait = f"""root => {{
            const panel = root.querySelector('{selector}');
            return panel && ({state})(panel);
        }}"""
        page = self._page.page
        body = page.locator("body").element_handle()
        page.evaluate(f"root => window.hdvStopwatch.start(root, 'now', {wait})", body)
        act()
        return float(page.evaluate("() => window.hdvStopwatch.result")["ms"])
