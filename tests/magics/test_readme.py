"""What the README shows can be typed as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).parents[2]
#: Language and text of each block that is not cut short.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), flags=re.M | re.S)
CELLS = [text for language, text in BLOCKS if language in ("", "python") and "\n...\n" not in text]


def test_the_readmes_cells_run_one_after_the_other(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len(CELLS) == 11
    for cell in CELLS:
        shell.run_cell(cell).raise_error()
    assert shell.user_ns["df"]["register"].tolist() == ["CTRL", "COUNT"]
