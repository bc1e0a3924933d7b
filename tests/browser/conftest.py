"""Panels where people see them: JupyterLab in Debian's Chromium, driven by Playwright, compared with the kernel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from .page import LabPage
from .server import PATIENCE, Server, jupyter_lab

_CHROMIUM = os.environ.get("HDVLAB_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
_ARGUMENTS = [
    "--no-sandbox",  # root in a container
    "--disable-dev-shm-usage",  # whose /dev/shm is small
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--force-color-profile=srgb", "--font-render-hinting=none"),  # the same picture everywhere
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Of the package, not of the session: while Playwright is there, this thread has a loop, and nothing else may run one.
@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab."""
    if not Path(_CHROMIUM).exists():
        pytest.skip("no Chromium; install Debian's package chromium")
    with jupyter_lab(tmp_path_factory.mktemp("jupyter")) as made:
        yield made


@pytest.fixture(scope="package")
def browser(server: Server) -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS, timeout=PATIENCE * 1000)
        yield made
        made.close()


@pytest.fixture
def lab_page(server: Server, browser: Browser, tmp_path: Path) -> Iterator[LabPage]:
    """A page for one notebook. It must ask for nothing elsewhere and put no error on the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    made = LabPage(server, context.new_page(), tmp_path)
    try:
        yield made
        assert made.errors == []
    finally:
        context.close()
        server.end_kernels()
