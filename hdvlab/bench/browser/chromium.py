"""Debian's Chromium, and what is missing for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hdvlab.errors import BackendUnavailableError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_ARGUMENTS = [
    "--no-sandbox",  # root in a container
    "--disable-dev-shm-usage",  # whose /dev/shm is small
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--force-color-profile=srgb", "--font-render-hinting=none"),  # the same picture everywhere
]
_PACKAGES = ("playwright", "jupyterlab", "nbformat")
#: Seconds for a browser to start on a busy machine.
_PATIENCE = 60.0


def chromium_path() -> Path | None:
    """The browser: ``$HDVLAB_CHROMIUM``, or what the path has; None = there is none."""
    found = os.environ.get("HDVLAB_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    return Path(found) if Path(found).exists() else None


def check_browser() -> None:
    """See that everything is there.

    Raises
    ------
    BackendUnavailableError
        It is not; the message says what to install.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise BackendUnavailableError(f"a browser needs {', '.join(missing)}; type pip install {' '.join(missing)}")
    if chromium_path() is None:
        raise BackendUnavailableError(
            "there is no Chromium; install Debian's package chromium, or set HDVLAB_CHROMIUM to where one is"
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block ends. While it is there this thread has an event loop: no other can run in it."""
    check_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(chromium_path()), args=_ARGUMENTS, timeout=_PATIENCE * 1000
        )
        yield made
        made.close()
