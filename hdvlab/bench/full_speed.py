"""What open panels cost a guest at full speed, and how far behind they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser

from hdvlab.bench.browser.page import NotebookPage, notebook_page
from hdvlab.bench.browser.server import PATIENCE, Server
from hdvlab.bench.stopwatch import Stopwatch

_PANELS = {
    "table": "root => Number(root.querySelector('[data-testid=hdv-table-status]').textContent.split(' ')[0]"
    ".replaceAll(',', ''))",
    "timeline": "root => Number(root.querySelector('.hdv-chart').dataset.total)",
}
_GUEST = """
import hdvlab.widgets
from hdvlab.bench.busy_guest import BusyGuest
guest = BusyGuest(in_c={in_c})
"""
_SHOW = """
table = hdvlab.widgets.table(guest.lab)
timeline = hdvlab.widgets.timeline(guest.lab, follow=True)
display(table, timeline)
"""
_RUN = "guest.run({seconds})"
_FAR = "\n".join(["#"] * 120)
#: Bytes of a row on the disk, and rows in a second of a fast machine.
_ROW, _FASTEST = 61, 20_000_000


@dataclass
class _Told:
    """What one run gave."""

    rate: float
    cpu_ns: float
    """Of the guest's thread, for each access: what a busy machine does not change much."""
    lost: int
    messages: dict[str, float] = field(default_factory=dict)
    """Per panel and second."""
    lags: dict[str, str] = field(default_factory=dict)


def _run(page: NotebookPage, in_c: bool, seconds: float, panels: str) -> _Told:
    """One run: ``panels`` are "none", "hidden" or "open"."""
    page.open(
        [_GUEST.format(in_c=in_c), _SHOW if panels != "none" else "pass", _RUN.format(seconds=seconds), _FAR, "1"]
    )
    page.run_cell(0)
    page.run_cell(1)
    models: dict[str, str] = {}
    if panels != "none":
        for name in _PANELS:
            page.wait_ev(f"{name}.visible", "1")
            models[name] = page.ev(f"{name}.model_id").strip("'")
    Stopwatch(page)
    if panels == "hidden":
        page.scroll_to(4, "end")
        for name in _PANELS:
            page.wait_ev(f"{name}.visible", "0")
    if panels == "open":
        page.scroll_to(1)
        for name, rows in _PANELS.items():
            page.page.evaluate(
                f"root => {{ window.hdv_{name} = window.hdvStopwatch.follow(root, {rows}); }}",
                page.panel(name).element_handle(),
            )
    before = dict(page.comm_counts)
    page.page.evaluate(
        "code => void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute("
        "{code, silent: true})",  # as a cell would, but nothing moves in the notebook
        _RUN.format(seconds=seconds),
    )
    page.page.wait_for_timeout(1000 * seconds)
    counted = {name: page.comm_counts[model] - before.get(model, 0) for name, model in models.items()}
    page.wait_ev(f"guest.wait({PATIENCE})", "True")
    rate, cpu_ns = (float(page.ev(f"guest.{name}")) for name in ("rate", "cpu_ns / guest.accesses"))
    told = _Told(rate, cpu_ns, int(page.ev("guest.lost")))
    told.messages = {name: count / seconds for name, count in counted.items()}
    if panels == "open":
        for name in _PANELS:
            seen = page.page.evaluate(f"() => {{ window.hdv_{name}.stop(); return window.hdv_{name}.seen; }}")
            middle, most, stale = map(float, page.ev(f"guest.lags({seen})").strip("()").split(","))
            told.lags[name] = (
                f"{name}: {len(seen) / seconds:.1f} pictures a second; the newest row in one is {middle:.0f} ms old, "
                f"{most:.0f} at most, {stale:.0f} just before the next one"
            )
    page.ev("guest.lab.close()")
    return told


def bench_full_speed(server: Server, browser: Browser, seconds: float) -> Iterator[str]:
    """Guests in C and in Python, with no panel, with hidden ones and with open ones."""
    yield f"a guest that writes a register in C in a loop for {seconds:g} s, recorded, with table and timeline"
    yield f"{'':<34}{'accesses a second':>18}{'of no panel':>13}{'CPU ns each':>13}{'lost':>6}  messages a second"
    for in_c in (True, False):
        free, needed = shutil.disk_usage(tempfile.gettempdir()).free, _ROW * _FASTEST * seconds
        if in_c and free < needed:
            yield f"  not driven from C: {free / 1e9:.0f} GB are free for the recording, it may want {needed / 1e9:.0f}"
            continue
        yield f"driven from {'C' if in_c else 'Python'}"
        base = 0.0
        for panels in ("none", "hidden", "open"):
            with notebook_page(server, browser) as page:
                told = _run(page, in_c, seconds, panels)
            base = base or told.rate
            messages = ", ".join(f"{name} {count:.1f}" for name, count in told.messages.items())
            share = f"{told.rate / base:.2f}" if panels != "none" else ""
            yield f"  panels {panels:<25}{told.rate:>18,.0f}{share:>13}{told.cpu_ns:>13,.0f}{told.lost:>6,}  {messages}"
            for line in told.lags.values():
                yield f"    {line}"
