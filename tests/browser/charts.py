"""What the tests of canvases need: what is on them, and what the panel says it shows."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import FloatRect, Locator

from .page import LabPage


class Chart:
    """The canvas of one panel, and the hands of a person on it."""

    def __init__(self, page: LabPage, name: str) -> None:
        self.lab_page = page
        self.page = page.page
        self.panel: Locator = page.panel(name)
        self.chart = self.panel.get_by_test_id("chart")

    def wait(self, condition: str) -> dict[str, str]:
        """Wait until ``condition``, over the panel's facts ``d``, holds and no picture is awaited; the facts."""
        handle = self.chart.element_handle()
        self.page.wait_for_function(
            f"e => {{ const d = e.dataset; return d.waits === 'false' && ({condition}); }}", arg=handle
        )
        return self.facts()

    def facts(self) -> dict[str, str]:
        """What the panel says of what it shows."""
        found: dict[str, str] = self.chart.evaluate("e => ({...e.dataset})")
        return found

    def box(self) -> FloatRect:
        """Where the canvas is in the page."""
        self.chart.scroll_into_view_if_needed()
        found = self.chart.bounding_box()
        assert found is not None
        return found

    def colours(self) -> int:
        """How many colours are on the canvas, and that it fills its place at the screen's resolution."""
        result: Any = self.chart.evaluate(
            """e => {
                const canvas = e.querySelector("canvas");
                const ratio = window.devicePixelRatio;
                if (Math.abs(canvas.width - canvas.clientWidth * ratio) > 1) return -1;
                const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
        return int(result)

    def focus(self) -> None:
        """Give the chart the keys."""
        self.chart.focus()

    def drag(self, x: float, y: float, to_x: float, to_y: float, *, shift: bool = False) -> None:
        """Drag from one point of the chart to another, in px from its corner."""
        box, mouse = self.box(), self.page.mouse
        if shift:
            self.page.keyboard.down("Shift")
        mouse.move(box["x"] + x, box["y"] + y)
        mouse.down()
        mouse.move(box["x"] + (x + to_x) / 2, box["y"] + (y + to_y) / 2)
        mouse.move(box["x"] + to_x, box["y"] + to_y)
        mouse.up()
        if shift:
            self.page.keyboard.up("Shift")
