"""Ctrl-C in the middle of an import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import signal, sys
from hdvlab.commands.importing import import_whole

before = signal.getsignal(signal.SIGINT)
try:
    import_whole("no_such_thing", "slow")
    import_whole("slow")
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is before
    print(sys.modules["slow"].done)
"""


def test_it_counts_when_the_package_is_there_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\ndone = True\n")
    told = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, check=False
    )
    assert (told.stdout, told.stderr, told.returncode) == ("True\n", "", 0)
