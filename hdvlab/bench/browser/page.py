"""One notebook in one browser page, and its kernel beside it."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import nbformat
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, WebSocket

from hdvlab.bench.browser.server import KERNEL, PATIENCE, Server

_NUMBERS = itertools.count()
_COMM = re.compile(rb'"comm_id": ?"([0-9a-f-]+)"')


class NotebookPage:
    """A page of JupyterLab, or of Jupyter Notebook, with one notebook."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server = server
        self.page = page
        self.notebook = ""
        self.errors: list[str] = []
        """What went wrong in the page, and what asked for something elsewhere."""
        self.comm_messages = 0
        """Messages that widgets of the kernel sent to this page."""
        self.comm_bytes: Counter[str] = Counter()
        """Bytes of these, by model."""
        self.comm_counts: Counter[str] = Counter()
        """How many they are, by model."""
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("websocket", self._websocket)
        page.route("**/*", self._guard)

    # ---- the notebook ------------------------------------------------------------------------------------------

    def open(self, cells: Sequence[str], *, classic: bool = False) -> None:
        """Open a notebook of these cells, and wait for its kernel; ``classic``: in Jupyter Notebook, not JupyterLab."""
        self.notebook = f"notebook{next(_NUMBERS)}.ipynb"
        kernel = {"name": KERNEL, "display_name": "hdvlab", "language": "python"}
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells], metadata={"kernelspec": kernel}
        )
        nbformat.write(made, self.server.root / self.notebook)
        space = self.notebook.removesuffix(".ipynb")  # pages in one workspace open each other's notebooks
        place = "notebooks" if classic else f"lab/workspaces/{space}/tree"
        url = f"{self.server.base}/{place}/{self.notebook}?token={self.server.token}"
        self.page.goto(url, wait_until="domcontentloaded")
        self.page.wait_for_function("() => window.jupyterapp && window.jupyterapp.restored")
        self.page.evaluate("() => window.jupyterapp.restored")
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run_cell(self, index: int, *, wait: bool = True) -> None:
        """Run one cell; without ``wait`` it may still run afterwards."""
        self.page.evaluate(
            """async ([index, wait]) => {
                const app = window.jupyterapp;
                app.shell.currentWidget.content.activeCellIndex = index;
                const run = app.commands.execute('notebook:run-cell');
                if (wait) await run;
            }""",
            [index, wait],
        )
        if wait:
            failed = [out for out in self.outputs(index) if out["output_type"] == "error"]
            assert not failed, "\n".join(failed[0]["traceback"])

    def scroll_to(self, index: int, where: str = "start") -> None:
        """Bring a cell into view; ``where`` on the screen it then is: "start", "center" or "end"."""
        script = "([cell, where]) => window.jupyterapp.shell.currentWidget.content.scrollToItem(cell, where)"
        self.page.evaluate(script, [index, where])

    def run_all(self) -> None:
        """Run every cell, one after another."""
        for index in range(self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")):
            self.run_cell(index)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """A cell's outputs, as the notebook would save them."""
        script = "i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.getOutputs()"
        found: list[dict[str, Any]] = self.page.evaluate(script, index)
        return found

    def interrupt(self) -> None:
        """What the stop button does."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")

    def dark(self, on: bool = True) -> None:
        """Choose JupyterLab's dark theme, or its light one."""
        theme = "JupyterLab Dark" if on else "JupyterLab Light"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(not on).lower())
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    # ---- the panels --------------------------------------------------------------------------------------------

    def panel(self, name: str) -> Locator:
        """The panel of a name: the frame that ``widgets/src/panel.ts`` makes."""
        return self.page.get_by_test_id(f"hdv-{name}")

    # ---- the kernel --------------------------------------------------------------------------------------------

    def ev(self, expression: str) -> str:
        """The repr of an expression's value in the kernel; waits for the cell that runs."""
        with self.server.client(self.notebook) as client:
            answer = client.execute("", user_expressions={"x": expression}, silent=True, reply=True, timeout=PATIENCE)
        told = answer["content"]["user_expressions"]["x"]
        assert told["status"] == "ok", "\n".join(told["traceback"])
        return str(told["data"]["text/plain"])

    def kernel_bytes(self) -> int:
        """Memory of the kernel's own, without what it maps from files."""
        status = self.ev("open('/proc/self/status').read()")
        return 1024 * int(status.partition("RssAnon:")[2].replace("\\t", " ").split()[0])

    def heap_bytes(self) -> int:
        """Memory of the page's scripts that is in use."""
        session = self.page.context.new_cdp_session(self.page)
        try:
            session.send("HeapProfiler.collectGarbage")
            return int(session.send("Runtime.getHeapUsage")["usedSize"])
        finally:
            session.detach()

    def wait_ev(self, expression: str, expected: str) -> None:
        """Wait until an expression has a value in the kernel."""
        self._wait(lambda: self.ev(expression), expected)

    def wait_text(self, locator: Locator, expected: str) -> None:
        """Wait until an element says something, which is part of its text."""
        locator.filter(has_text=expected).first.wait_for()

    def _wait(self, ask: Callable[[], str], expected: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (got := ask()) != expected:
            assert time.monotonic() < deadline, f"{got} and not {expected}"
            self.page.wait_for_timeout(50)

    # ---- watching ----------------------------------------------------------------------------------------------

    def _guard(self, route: Route) -> None:
        if route.request.url.startswith((self.server.base, "data:", "blob:")):
            route.continue_()
        else:
            self.errors.append(f"asked for {route.request.url}")
            route.abort()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _websocket(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._frame)

    def _frame(self, payload: str | bytes) -> None:
        data = payload if isinstance(payload, bytes) else payload.encode()
        if b'"comm_msg"' in data:
            self.comm_messages += 1
            found = _COMM.search(data)
            name = found[1].decode() if found else ""
            self.comm_counts[name] += 1
            self.comm_bytes[name] += len(data)


@contextmanager
def notebook_page(server: Server, browser: Browser) -> Iterator[NotebookPage]:
    """A page of its own, whose kernels end with it."""
    context = browser.new_context(viewport={"width": 1600, "height": 1100}, reduced_motion="reduce")
    try:
        yield NotebookPage(server, context.new_page())
    finally:
        context.close()
        server.end_kernels()
