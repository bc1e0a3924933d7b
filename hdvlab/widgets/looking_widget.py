"""A panel that looks at the machine again and again: what may wait for a device host waits on no one's thread."""

from __future__ import annotations

import time
from typing import Any

from hdvlab.errors import HdvError
from hdvlab.widgets.panel_widget import PanelWidget

#: Seconds after which a look that has not come back is told of.
_PATIENCE = 2.0


class LookingWidget(PanelWidget):
    """Looks while it is on screen, one look at a time. A subclass says what a look is and what becomes of it."""

    _looking_since: float | None = None
    _tells_waiting = False

    def fetch(self) -> Any:
        """Look. On a thread of its own; it may wait, and touches nothing of the panel's."""
        raise NotImplementedError

    def take(self, seen: Any) -> None:
        """Keep what was seen, and send what is new. On the pump's thread."""
        raise NotImplementedError

    def is_stale(self) -> bool:
        """Always: stored values change without a row, so only a look can tell."""
        return True

    def refresh(self) -> None:
        """Begin a look, if the one before has ended."""
        now = time.monotonic()
        if self._looking_since is not None:
            waited = now - self._looking_since
            if waited > _PATIENCE and not self._tells_waiting:
                self._tells_waiting = True
                self.send_data({"kind": "waiting", "text": "the device host does not answer; this is as it was last"})
            return
        self._looking_since = now
        self.run_aside(self._fetched, self._came)

    def _fetched(self) -> Any:
        try:
            return self.fetch()
        except HdvError as error:  # the lab or its host is gone: that is what there is to see
            return error

    def _came(self, seen: Any) -> None:
        self._looking_since = None
        if isinstance(seen, HdvError):
            self._tells_waiting = True
            self.send_data({"kind": "waiting", "text": seen.message})
            return
        if self._tells_waiting:
            self._tells_waiting = False
            self.send_data({"kind": "waiting", "text": ""})
        self.take(seen)
