"""What the tests of this folder build, once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .building import Wine, build_dll, build_for_windows, build_native


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C tests as a program of this system."""
    return build_native(tmp_path_factory.mktemp("native") / "tests")


@pytest.fixture(scope="session")
def dll(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``vmdevicehost.dll``."""
    return build_dll(tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="session")
def windows_program(dll: Path) -> Path:
    """The C tests as a Windows program, beside the DLL."""
    return build_for_windows(dll.with_name("tests.exe"), dll)


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """A Windows to run programs in."""
    wine = Wine(tmp_path_factory.mktemp("wine") / "prefix")
    yield wine
    wine.close()
