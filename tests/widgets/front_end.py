"""The browser's end of a panel, in the test's hands: what arrives there, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hdvlab.widgets.panel_widget import PanelWidget
from hdvlab.widgets.pump import PUMP

from ..labs import PATIENCE


class FrontEnd:
    """Stands where the kernel's comm ends: keeps the messages of a panel, and sends it some."""

    def __init__(self, panel: PanelWidget) -> None:
        self.panel = panel
        self.received: list[tuple[dict[str, Any], list[bytes]]] = []
        panel.comm.publish_msg = self._publish

    def _publish(
        self, kind: str, data: Any = None, metadata: Any = None, buffers: Sequence[Any] | None = None, **_: Any
    ) -> None:
        if kind == "comm_msg" and data["method"] == "custom":
            self.received.append((data["content"], [bytes(one) for one in buffers or []]))

    def says(self, kind: str, *buffers: bytes, **content: Any) -> None:
        """Send a message and wait until the panel has done what it asks."""
        message = {"data": {"method": "custom", "content": {"kind": kind, **content}}}
        self.panel.comm.handle_msg({"content": message, "buffers": [memoryview(one) for one in buffers]})
        assert PUMP.settle(PATIENCE)

    def show(self, view: str = "a") -> None:
        """A view comes on screen."""
        self.says("visible", view=view, on=True)

    def hide(self, view: str = "a") -> None:
        """A view leaves the screen."""
        self.says("visible", view=view, on=False)

    def take(self, kind: str) -> list[tuple[dict[str, Any], list[bytes]]]:
        """The messages of a kind so far, which are then forgotten."""
        chosen = [one for one in self.received if one[0]["kind"] == kind]
        self.received = [one for one in self.received if one[0]["kind"] != kind]
        return chosen
