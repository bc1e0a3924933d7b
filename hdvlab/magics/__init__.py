"""``%hdv`` and ``%%hdv``: doors to :mod:`hdvlab.commands`. ``%load_ext hdvlab`` opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.errors import HdvError
from hdvlab.magics.classes import hide_classes, show_classes
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
    show_classes(shell)
    tell_of_hosts()


def tell_of_hosts() -> None:
    """After a restart of the kernel: say which device host was started from this notebook, or this folder."""
    from hdvlab.commands import existing_lab
    from hdvlab.host.record import of_this_place

    if existing_lab() is not None:
        return
    try:
        found = of_this_place()
    except (HdvError, OSError):  # a look around that nobody asked for
        return
    if len(found) == 1:
        print(f"host {found[0].name} runs: %hdv attach {found[0].name}")
    elif found:
        print(f"hosts {', '.join(one.name for one in found)} run: %hdv attach NAME")


def unload(shell: InteractiveShell) -> None:
    """Close the lab of ``%hdv`` and take everything away."""
    from hdvlab.commands.current import existing_lab, forget
    from hdvlab.host import RemoteLab

    unregister(shell)
    lab = existing_lab()
    if isinstance(lab, RemoteLab) and lab.attached:
        print(f"host {lab.name} goes on; %load_ext hdvlab and %hdv attach {lab.name} come back to it")
    forget()


def unregister(shell: InteractiveShell) -> None:
    """Take the magics and their completion away; the lab stays."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop(_NAME, None)
    show_errors_in_full(shell)
    stop_skipping(shell)
    hide_classes(shell)
    shell.magics_manager.registry.pop(HdvMagics.__name__, None)
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [one for one in matchers if not is_ours(one)]
