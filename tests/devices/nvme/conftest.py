"""A controller on the embedded machine, and what drivers and guest programs in tests need of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.devices.nvme import Nvme, NvmeDriver
from hdvlab.guest import Guest

from ...labs import PATIENCE
from ...labs import _quick_collections as _quick_collections
from ...labs import lab as lab
from ...labs import no_handle_is_left as no_handle_is_left


@pytest.fixture(params=["shadow", "registers"])
def doorbells(request: pytest.FixtureRequest) -> str:
    """How doorbells carry their values."""
    return str(request.param)


@pytest.fixture
def nvme(lab: Lab) -> Nvme:
    """A controller with 16 MiB in memory."""
    device = Nvme()
    lab.plug(device, configuration=["size=16M"])
    return device


@pytest.fixture
def either(lab: Lab, doorbells: str) -> Nvme:
    """The same, once with each kind of doorbell."""
    device = Nvme()
    lab.plug(device, configuration=["size=16M", f"doorbells={doorbells}"])
    return device


@pytest.fixture
def drive(lab: Lab) -> Callable[..., Any]:
    """Run a function with a driver that has brought the controller up."""

    def run(function: Callable[[NvmeDriver], Any], **settings: Any) -> Any:
        def program(guest: Guest) -> Any:
            return function(NvmeDriver(guest, **settings))

        return lab.run(program).value

    return run


def until(true: Callable[[], bool]) -> None:
    """Wait for something that the worker is about to do."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.001)
