"""A lab to test with. What a test takes from the library must be given back when its objects are gone."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from hdvlab import Lab
from hdvlab._core import lib
from hdvlab.lab.forgotten import settle

#: Longest wait for something that happens on another thread, seconds. Nothing here waits that long when all is well.
PATIENCE = 10.0


@pytest.fixture(scope="session")
def _quick_collections() -> None:
    """What is there before the first test with a lab is not looked through again at the end of each."""
    import pandas  # noqa: F401 - most of what there is, and otherwise loaded by the first frame

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_handle_is_left(request: pytest.FixtureRequest, _quick_collections: None) -> Iterator[None]:
    before = lib.hdvlab_live_handles()
    yield
    (request.node.funcargs or {}).clear()  # pytest would hold the lab, and the lab its devices
    gc.collect()
    if lib.hdvlab_live_handles() > before and settle():  # a lab that the test forgot
        gc.collect()
    deadline = time.monotonic() + PATIENCE  # a compute system's last call gives its references back after its result
    while lib.hdvlab_live_handles() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lib.hdvlab_live_handles() <= before


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab without devices; closed afterwards."""
    with Lab() as made:
        yield made


def wait_for(event: threading.Event) -> None:
    """Wait for something that another thread is about to do."""
    assert event.wait(PATIENCE), "it did not happen"
