"""One notebook in one browser page, and its kernel beside it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import ConsoleMessage, Locator, Page, Route, WebSocket

from .server import PATIENCE, Server

_AXE = Path(__file__).parents[2] / "widgets/node_modules/axe-core/axe.min.js"
_NUMBERS = itertools.count()

#: What every notebook begins with: a lab with a register or two.
PREAMBLE = """
import hdvlab, numpy as np, threading, time
from hdvlab import Bar, Device, Lab, Register
"""


class LabPage:
    """A page of JupyterLab with one notebook."""

    def __init__(self, server: Server, page: Page, shots: Path) -> None:
        self.server = server
        self.page = page
        self.shots = shots
        self.notebook = ""
        self.errors: list[str] = []
        """What went wrong in the page, and what asked for something elsewhere."""
        self.comm_messages = 0
        """Messages that widgets of the kernel sent to this page."""
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("websocket", self._websocket)
        page.route("**/*", self._guard)

    # ---- the notebook ------------------------------------------------------------------------------------------

    def open(self, cells: Sequence[str]) -> None:
        """Open a notebook of these cells, and wait for its kernel."""
        self.notebook = f"notebook{next(_NUMBERS)}.ipynb"
        kernel = {"name": "hdvlab-tests", "display_name": "tests", "language": "python"}
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells], metadata={"kernelspec": kernel}
        )
        nbformat.write(made, self.server.root / self.notebook)
        space = self.notebook.removesuffix(".ipynb")  # pages in one workspace open each other's notebooks
        url = f"{self.server.base}/lab/workspaces/{space}/tree/{self.notebook}?token={self.server.token}"
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

    def shot(self, name: str) -> Path:
        """A picture of the page, in ``$HDVLAB_SHOTS`` where that is set."""
        path = Path(os.environ.get("HDVLAB_SHOTS") or self.shots) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))
        return path

    def violations(self, name: str) -> list[str]:
        """What axe-core finds wrong with the accessibility of a panel, a line each; empty = nothing."""
        return self.violations_in(f"[data-testid=hdv-{name}]")

    def violations_in(self, selector: str) -> list[str]:
        """The same for everything that a selector finds."""
        assert _AXE.exists(), f"{_AXE} is missing; run `npm ci` in widgets/"
        if not self.page.evaluate("() => 'axe' in window"):
            # Under AMD's define, which JupyterLab's page has, it would not be on window.
            self.page.evaluate(f"() => {{ const define = undefined, module = undefined; {_AXE.read_text()} }}")
        found = self.page.evaluate(
            "async selector => (await window.axe.run(selector)).violations.map("
            "one => [one.id, one.help, one.nodes.map(node => node.html + ': ' + node.failureSummary).join(' | ')])",
            selector,
        )
        return [f"{rule}: {text}: {nodes}" for rule, text, nodes in found]

    # ---- the kernel --------------------------------------------------------------------------------------------

    def ev(self, expression: str) -> str:
        """The repr of an expression's value in the kernel; waits for the cell that runs."""
        with self.server.client(self.notebook) as client:
            answer = client.execute("", user_expressions={"x": expression}, silent=True, reply=True, timeout=PATIENCE)
        told = answer["content"]["user_expressions"]["x"]
        assert told["status"] == "ok", "\n".join(told["traceback"])
        return str(told["data"]["text/plain"])

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
