"""Versions, platform and what is missing, to be pasted into a question."""

from __future__ import annotations

import importlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hdvlab.commands.text import Text

#: What a question is usually about.
_PACKAGES = ("ipython", "ipykernel", "jupyterlab", "notebook", "anywidget", "pandas", "numpy", "matplotlib", "cffi")


def about() -> Text:
    """This hdvlab, Python, system and packages, then what is missing and how to get it."""
    lines = [f"hdvlab {_version('hdvlab')}", f"Python {platform.python_version()}, {platform.platform()}"]
    lines.append(", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    # By name: the doctor is in a layer above, since it has to work where everything else does not.
    findings: list[Any] = importlib.import_module("hdvlab.doctor").examine()
    parts = [
        f"{one.what} {one.found}" for one in findings if one.state == "ok" and one.what in ("QEMU", "guest kernel")
    ]
    lines += [part.partition(",")[0] for part in parts]
    lines += [f"{one.what}: {one.found}" for one in findings if one.what == "clock of traces"]
    wrong = [one for one in findings if one.state in ("missing", "absent")]
    for one in wrong:
        lines.append(f"{one.state}: {one.what}: {one.found}" + (f" ({one.advice})" if one.advice else ""))
    return Text("\n".join(lines if wrong else [*lines, "nothing is missing"]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
