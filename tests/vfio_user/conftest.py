from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..core.conftest import nothing_is_left_behind as nothing_is_left_behind
from ..core.conftest import recording as recording
from ..core.scaffold import CallbackDevice, Recording
from .client import Client
from .served import PAGE, Vm


@pytest.fixture
def vm(recording: Recording) -> Iterator[Vm]:
    vm = Vm(recording)
    yield vm
    vm.close()


@pytest.fixture
def device() -> CallbackDevice:
    """One page of BAR 0."""
    return CallbackDevice((PAGE,))


@pytest.fixture
def client(vm: Vm, device: CallbackDevice) -> Client:
    """A connection to ``device``, after VERSION, with decoding and bus mastering on."""
    client = vm.serve(device)
    client.enable()
    device.calls.clear()
    return client
