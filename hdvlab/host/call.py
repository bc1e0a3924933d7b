"""One request that is being served."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hdvlab.host.session import Session


class Call:
    """What a request's function knows of whoever asks."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.stopped = threading.Event()
        """Set when the client does not want the answer any more: the stop button. Not when it is gone."""
