"""One argument of a verb, and the verbs that have none of their own."""

from __future__ import annotations

import argparse
from typing import Any


def add(parser: argparse.ArgumentParser, *names: str, complete: str = "", **settings: Any) -> None:
    """Add an argument; ``complete`` names what TAB offers for it, see :mod:`hdvlab.commands.completion`."""
    action = parser.add_argument(*names, **settings)
    action.complete = complete  # type: ignore[attr-defined]


def nothing(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def rest(parser: argparse.ArgumentParser) -> None:
    """Whatever comes; somebody else reads it."""
    add(parser, "words", nargs=argparse.REMAINDER, metavar="...")
