"""The theme that a person asked to keep: one word in a file, so that the next notebook draws as this one did."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

#: Overrides where settings are kept.
VARIABLE = "HDVLAB_CONFIG"


def settings_folder() -> Path:
    """``$HDVLAB_CONFIG``, else ``$XDG_CONFIG_HOME/hdvlab``, else ``~/.config/hdvlab``. It need not exist yet."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path("~/.config").expanduser()) / "hdvlab"


def remember(name: str) -> Path:
    """Write the theme's name down; returns the file. Written beside and renamed, so it is never half there."""
    folder = settings_folder()
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".theme.{os.getpid()}"
    half.write_text(f"{name}\n", encoding="utf-8")
    return half.replace(folder / "theme")


def remembered(known: tuple[str, ...]) -> str | None:
    """The name that :func:`remember` wrote; None if there is none. One that cannot be used is told of and left out."""
    file = settings_folder() / "theme"
    try:
        name = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    if name in known:
        return name
    warnings.warn(f"{file} says {name[:20]!r}, which is no theme; there are {', '.join(known)}", stacklevel=2)
    return None
