"""The text of a bundle, read when the first panel that needs it is made."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path


class Bundle:
    """A file of ``static/``; ``str()`` is its text.

    anywidget's own holder of files calls each of its widgets when the file changes, and so keeps every widget, and the
    trace that it shows, until the interpreter ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def text(self) -> str:
        """What the file holds."""
        return self.path.read_text(encoding="utf-8")

    def __str__(self) -> str:
        return self.text
