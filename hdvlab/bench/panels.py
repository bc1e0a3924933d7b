"""What a person waits for in JupyterLab in Chromium: the table, the timeline and the heat map of a long trace."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Locator

from hdvlab.bench.browser.chromium import chromium
from hdvlab.bench.browser.page import NotebookPage, notebook_page
from hdvlab.bench.browser.server import jupyter_lab
from hdvlab.bench.full_speed import bench_full_speed
from hdvlab.bench.stopwatch import CHART, TABLE, TABLE_FIRST, TABLE_SAYS, Stopwatch, Waits

_SOURCES = ("in memory", "a recording on disk")
_MAKE = """
import hdvlab.widgets
from hdvlab.bench.long_trace import make_long_trace
trace = make_long_trace({rows})
"""
_LOAD = """
import hdvlab.widgets
from hdvlab.trace.open import open_trace
trace = open_trace({path!r})
"""
_PANELS = ("table", "timeline", "heatmap")


class _Person:
    """Who uses the panels, and waits."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page
        self.watch = Stopwatch(page)
        self.waits: dict[str, Waits] = {}
        self.facts: dict[str, str] = {}

    def did(self, name: str, panel: str, state: str, event: str, act: Callable[[], object], times: int = 1) -> None:
        """Do something several times."""
        waits = self.waits.setdefault(name, Waits(name))
        for _ in range(times):
            waits.ms.append(self.watch.time(panel, state, event, act))

    def pressed(self, name: str, panel: str, key: str, times: int = 1) -> None:
        """Press a key, in the panel that has the focus."""
        state = TABLE if panel == "table" else CHART
        self.did(name, panel, state, "keydown", lambda: self.page.page.keyboard.press(key), times)

    def dragged(self, name: str, panel: str, state: str, of: str, at: tuple[int, int, int, int]) -> None:
        """Drag over a chart with Shift: from one point to another, px from its corner."""
        box = self.page.panel(of).get_by_test_id("chart").bounding_box()
        assert box is not None
        mouse, keyboard = self.page.page.mouse, self.page.page.keyboard
        keyboard.down("Shift")
        mouse.move(box["x"] + at[0], box["y"] + at[1])
        mouse.down()
        mouse.move(box["x"] + at[2], box["y"] + at[3], steps=4)
        self.did(name, panel, state, "pointerup", mouse.up)
        keyboard.up("Shift")

    def show(self, cell: int, panel: str) -> None:
        """Run a cell that shows a panel, and note what it costs."""
        page = self.page
        memory, heap = page.kernel_bytes(), page.heap_bytes()
        state = TABLE if panel == "table" else CHART
        page.scroll_to(cell)
        ms = self.watch.shown(panel, state, lambda: page.run_cell(cell, wait=False))
        self.waits[f"{panel}: run its cell"] = Waits("", [ms])
        panel_of = page.panel(panel)
        panel_of.scroll_into_view_if_needed()
        added, grown = page.kernel_bytes() - memory, page.heap_bytes() - heap
        self.facts[f"{panel}: kernel memory, JS heap, MB"] = f"{added / 1e6:.0f}, {grown / 1e6:.1f}"


def _use_table(person: _Person) -> None:
    page, panel = person.page.page, person.page.panel("table")
    grid = panel.get_by_role("grid")
    scroll = iter([0.5, 0.1, 0.9, 0.33, 0.77, 0.02, 0.6, 0.45, 0.25, 0.81])
    bar = "(grid, part) => { grid.scrollTop = part * grid.scrollHeight; }"
    person.did("table: scroll bar to anywhere", "table", TABLE, "now", lambda: grid.evaluate(bar, next(scroll)), 10)
    grid.hover()
    person.did("table: one notch of the wheel", "table", TABLE, "wheel", lambda: page.mouse.wheel(0, 100), 20)
    grid.focus()
    person.pressed("table: page down", "table", "PageDown", 15)
    person.pressed("table: arrow down", "table", "ArrowDown", 15)
    jump = panel.get_by_label("Jump to a row")
    for row in (9_000_000, 17, 4_999_999, 7_654_321, 1_000_000):
        jump.fill(f"{row % int(person.facts['rows'])}")
        person.pressed("table: jump to a row", "table", "Enter")

    def filtered(name: str, event: str, act: Callable[[], object]) -> None:
        for state, what in ((TABLE_FIRST, "first rows"), (TABLE, "all rows looked at")):
            person.did(f"table: {name}, {what}", "table", state, event, act)
            if state is TABLE_FIRST:
                panel.get_by_test_id("hdv-table-status").filter(has_not_text="looked at").wait_for()
            clear = panel.get_by_role("button", name="Clear")
            person.did("table: no filter any more", "table", TABLE, "click", clear.click)

    for kind in ("interrupt", "mmio"):
        button = panel.get_by_role("button", name=kind)
        filtered("filter by kind", "click", button.click)
    for name, label, text in (
        ("register and field", "Register, field", "STATUS.ERR==1"),
        ("value", "Value:", ">=0x100000"),
    ):
        field = panel.get_by_label(label)

        def ask(field: Locator = field, text: str = text) -> None:
            field.fill(text)
            field.press("Enter")

        filtered(f"filter by {name}", "keydown", ask)
    device = panel.get_by_label("Device", exact=True)
    filtered("filter by device", "change", lambda: device.select_option("nic1"))


def _use_timeline(person: _Person) -> None:
    page, panel = person.page.page, person.page.panel("timeline")
    chart = panel.get_by_test_id("chart")
    chart.focus()
    person.pressed("timeline: zoom in", "timeline", "+", 12)
    person.pressed("timeline: pan", "timeline", "ArrowRight", 8)
    person.pressed("timeline: page", "timeline", "PageUp", 6)
    person.pressed("timeline: zoom out", "timeline", "-", 8)
    person.pressed("timeline: everything", "timeline", "Home")
    chart.hover()
    person.did("timeline: one notch of the wheel", "timeline", CHART, "wheel", lambda: page.mouse.wheel(0, -100), 15)
    person.pressed("timeline: everything", "timeline", "Home")
    # Each wider than the one before: as many rows would look as if nothing had happened.
    for wide in (150, 300, 450):
        person.dragged("timeline: brush", "timeline", CHART, "timeline", (300, 5, 300 + wide, 60))
    for wide in (200, 350, 500):
        person.dragged("timeline: brush, seen in the table", "table", TABLE_SAYS, "timeline", (400, 5, 400 + wide, 60))
    person.pressed("timeline: by row", "timeline", "t", 2)


def _use_heat_map(person: _Person) -> None:
    panel = person.page.panel("heatmap")
    chart = panel.get_by_test_id("chart")
    chart.focus()
    person.pressed("heat map: zoom in time", "heatmap", "+", 9)
    person.pressed("heat map: pan", "heatmap", "ArrowRight", 6)
    person.pressed("heat map: zoom in addresses", "heatmap", "]", 4)
    person.pressed("heat map: zoom out of addresses", "heatmap", "[", 3)
    person.pressed("heat map: zoom out in time", "heatmap", "-", 6)
    person.pressed("heat map: everything", "heatmap", "Home")
    for wide in (100, 200, 300):
        person.dragged("heat map: brush", "heatmap", CHART, "heatmap", (300, 120, 300 + wide, 310))
    chart.press("Escape")
    place = panel.get_by_label("Place", exact=True)
    for number in (1, 2, 0):
        person.did("heat map: another place", "heatmap", CHART, "change", lambda n=number: place.select_option(index=n))  # type: ignore[misc]


def _used(page: NotebookPage, source: str, rows: int) -> _Person:
    page.open([source, *(f"{name} = hdvlab.widgets.{name}(trace)\n{name}" for name in _PANELS)])
    page.run_cell(0)
    person = _Person(page)
    person.facts["rows"] = str(rows)
    for cell, (panel, use) in enumerate(
        (("table", _use_table), ("timeline", _use_timeline), ("heatmap", _use_heat_map)), 1
    ):
        person.show(cell, panel)
        bytes_before, messages = page.comm_bytes.total(), page.comm_messages
        use(person)
        wire, count = page.comm_bytes.total() - bytes_before, page.comm_messages - messages
        person.facts[f"{panel}: over the wire, kB in messages"] = f"{wire / 1e3:.0f} in {count}"
    person.facts["kernel memory at the end, rows with it, MB"] = f"{page.kernel_bytes() / 1e6:.0f}"
    person.facts["JS heap at the end, MB"] = f"{page.heap_bytes() / 1e6:.0f}"
    return person


def _table(people: Mapping[str, _Person]) -> Iterator[str]:
    yield f"{'ms from key or click to painted':<46}" + "".join(f"{source:>24}" for source in people)
    yield f"{'':<46}" + f"{'times':>8}{'median':>8}{'worst':>8}" * len(people)
    first = next(iter(people.values()))
    for name in first.waits:
        told = [person.waits[name] for person in people.values()]
        yield f"{name:<46}" + "".join(f"{len(one.ms):>8}{one.median:>8.0f}{one.worst:>8.0f}" for one in told)
    for name in first.facts:
        yield f"{name:<46}" + "".join(f"{person.facts[name]:>24}" for person in people.values())


def bench_panels(rows: int, seconds: float) -> Iterator[str]:
    """A long trace looked at, made in memory and recorded on disk; then a guest at full speed.

    Parameters
    ----------
    rows : int
        Rows of the long trace.
    seconds : float
        How long the guest runs, each time.
    """
    with tempfile.TemporaryDirectory(prefix="hdvlab-panels-") as name:
        root = Path(name)
        recording = root / "recording"
        with jupyter_lab(root / "jupyter") as server, chromium() as browser:
            people = {}
            yield f"{rows:,} rows in JupyterLab in Chromium"
            for source in _SOURCES:
                code = _MAKE.format(rows=rows) if source == _SOURCES[0] else _LOAD.format(path=str(recording))
                with notebook_page(server, browser) as page:
                    people[source] = _used(page, code, rows)
                    if source == _SOURCES[0]:
                        page.ev(f"trace.save({str(recording)!r}) and None")
                    if page.errors:
                        yield f"the page complained: {page.errors[0]}"
            yield from _table(people)
            yield ""
            yield from bench_full_speed(server, browser, seconds)
