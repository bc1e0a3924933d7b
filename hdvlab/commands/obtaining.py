"""What a VM is made of, on the command line: ``vm`` says what is here, ``vm setup`` brings what is missing."""

from __future__ import annotations

import time
from pathlib import Path

from hdvlab.commands.text import Text


def vm_setup(*, mirror: str | None = None, cache: str | Path | None = None, quiet: bool = False) -> Text:
    """Bring QEMU, a kernel and busybox, and check what is there; a bar says how far it is.

    Parameters
    ----------
    mirror : str, optional
        A Debian mirror; the system's apt's if not given.
    cache : str or Path, optional
        Where to; ``$HDVLAB_CACHE`` or the user's cache directory if not given.
    quiet : bool
        No bar.
    """
    from hdvlab.systems.qemu.setup import TextBar, set_up

    started = time.monotonic()
    bar = TextBar()
    try:
        set_up(progress=None if quiet else bar, mirror=mirror, cache=_folder(cache))
    finally:
        bar.close()
    return Text(f"{vm_parts(cache=cache)}\nready for a VM after {time.monotonic() - started:.1f} s")


def vm_parts(*, cache: str | Path | None = None) -> Text:
    """QEMU, kernel, busybox and the guest's tools: version and place, or what is missing and what to type."""
    from hdvlab.systems.qemu.setup import part_states

    states = part_states(_folder(cache))
    width = max(len(one.what) for one in states)
    lines = [
        f"{one.what:<{width}}  {one.version}, {one.place}" if one.version else f"{one.what:<{width}}  {one.problem}"
        for one in states
    ]
    if not all(one.version for one in states):
        lines.append("hdvlab vm setup brings what is missing")
    return Text("\n".join(lines))


def _folder(cache: str | Path | None) -> Path | None:
    return None if cache is None else Path(cache).expanduser()
