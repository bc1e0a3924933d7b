"""Panels where people see them: JupyterLab in Debian's Chromium, driven by Playwright, compared with the kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from hdvlab.bench.browser.chromium import chromium, chromium_path
from hdvlab.bench.browser.server import PATIENCE, Server, jupyter_lab

from .page import LabPage

expect.set_options(timeout=PATIENCE * 1000)  # a loaded machine is no failure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Of the package, not of the session: while Playwright is there, this thread has a loop, and nothing else may run one.
@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab."""
    if chromium_path() is None:
        pytest.skip("no Chromium; install Debian's package chromium")
    with jupyter_lab(tmp_path_factory.mktemp("jupyter"), str(Path(__file__).parents[2])) as made:
        yield made


@pytest.fixture(scope="package")
def browser(server: Server) -> Iterator[Browser]:
    """Chromium."""
    with chromium() as made:
        yield made


@contextlib.contextmanager
def _page(server: Server, browser: Browser, shots: Path) -> Iterator[LabPage]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000}, reduced_motion="reduce")
    made = LabPage(server, context.new_page(), shots)
    try:
        yield made
        assert made.errors == []
    finally:
        context.close()
        server.end_kernels()


@pytest.fixture
def lab_page(server: Server, browser: Browser, tmp_path: Path) -> Iterator[LabPage]:
    """A page for one notebook. It must ask for nothing elsewhere and put no error on the console."""
    with _page(server, browser, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def module_page(server: Server, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """A page for all tests of a file, where one notebook serves them all: opening one takes seconds."""
    with _page(server, browser, tmp_path_factory.mktemp("shots")) as made:
        yield made
