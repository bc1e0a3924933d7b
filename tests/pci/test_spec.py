"""The package imports nothing but the standard library and hdvlab.errors, and its masks are the standard's."""

from __future__ import annotations

import ast
from pathlib import Path

import hdvlab.pci
from hdvlab.pci import spec


def test_the_command_and_status_masks_are_the_standards() -> None:
    assert spec.COMMAND_WRITABLE == 0x0547
    assert spec.STATUS_WRITE_ONE_TO_CLEAR == 0xF900


def test_the_vocabulary_imports_only_errors_and_itself() -> None:
    root = Path(hdvlab.pci.__file__).parent
    for source in root.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                assert not name.startswith("hdvlab") or name.startswith(("hdvlab.pci", "hdvlab.errors")), (source, name)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(hdvlab.pci, name) for name in hdvlab.pci.__all__)
    assert sorted(hdvlab.pci.__all__) == hdvlab.pci.__all__
