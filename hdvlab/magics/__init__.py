"""``%hdv`` and ``%%hdv``: doors to :mod:`hdvlab.commands`. ``%load_ext hdvlab`` opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.magics.door import HdvMagics
from hdvlab.magics.matcher import is_ours, matcher
from hdvlab.magics.mistake import show_errors_in_full, show_errors_short
from hdvlab.magics.skipping import stop_skipping

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_NAME = "hdv"


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completion and how errors are shown. Loading twice is loading once."""
    unregister(shell)
    shell.register_magics(HdvMagics(shell))
    show_errors_short(shell)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher(shell))


def unload(shell: InteractiveShell) -> None:
    """Close the lab of ``%hdv`` and take everything away."""
    from hdvlab.commands import close_lab

    unregister(shell)
    close_lab()


def unregister(shell: InteractiveShell) -> None:
    """Take the magics and their completion away; the lab stays."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop(_NAME, None)
    show_errors_in_full(shell)
    stop_skipping(shell)
    shell.magics_manager.registry.pop(HdvMagics.__name__, None)
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [one for one in matchers if not is_ours(one)]
