"""One notebook in one browser page, its pictures, and what is wrong with its accessibility."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from hdvlab.bench.browser.page import NotebookPage
from hdvlab.bench.browser.server import Server

_AXE = Path(__file__).parents[2] / "widgets/node_modules/axe-core/axe.min.js"

#: What every notebook begins with: a lab with a register or two.
PREAMBLE = """
import hdvlab, numpy as np, threading, time
from hdvlab import Bar, Device, Lab, Register
"""


class LabPage(NotebookPage):
    """A page of JupyterLab with one notebook."""

    def __init__(self, server: Server, page: Page, shots: Path) -> None:
        super().__init__(server, page)
        self.shots = shots

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
        if not _AXE.exists():
            pytest.skip("no axe-core; run `npm ci` in widgets/")
        if not self.page.evaluate("() => 'axe' in window"):
            # Under AMD's define, which JupyterLab's page has, it would not be on window.
            self.page.evaluate(f"() => {{ const define = undefined, module = undefined; {_AXE.read_text()} }}")
        found = self.page.evaluate(
            "async selector => (await window.axe.run(selector)).violations.map("
            "one => [one.id, one.help, one.nodes.map(node => node.html + ': ' + node.failureSummary).join(' | ')])",
            selector,
        )
        return [f"{rule}: {text}: {nodes}" for rule, text, nodes in found]
