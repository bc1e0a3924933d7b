"""Panels that are open when Python ends."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import builtins
from hdvlab import Lab
lab = Lab()
builtins.kept = lab.panel("table", "timeline")
"""


def test_an_open_dashboard_says_nothing_when_python_ends() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stderr == ""
