"""What tests with a virtual machine share. The cache is ``$HDVLAB_CACHE``, else the user's, so it is filled once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jupyter_core.utils import ensure_event_loop

from hdvlab.errors import BackendError
from hdvlab.systems.qemu.setup import Installation, find, set_up

from ..core.conftest import nothing_is_left_behind as nothing_is_left_behind
from ..core.conftest import recording as recording
from ..core.scaffold import CallbackDevice, Recording
from ..vfio_user.served import Vm
from .qtest import Qtest


@pytest.fixture(scope="session", autouse=True)
def what_stays() -> None:
    """Jupyter's clients share an event loop, pandas has threads: they are there before a test's own are counted."""
    importlib.import_module("pandas")
    ensure_event_loop()


@pytest.fixture(scope="session")
def installation() -> Installation:
    """QEMU, kernel and busybox; fetched where they are not there yet. A machine that cannot have them skips what needs
    them, and says why; CI lets nothing be skipped."""
    try:
        return find() or set_up()
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def qemu(installation: Installation) -> tuple[list[str], Mapping[str, str]]:
    """QEMU's command and environment."""
    return list(installation.qemu), installation.environment


@pytest.fixture
def vm(recording: Recording) -> Iterator[Vm]:
    vm = Vm(recording)
    yield vm
    vm.close()


@pytest.fixture
def boot(vm: Vm, qemu: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Qtest]]:
    """Plug devices into slots 0 and up, serve them, and start QEMU with them in its slots 4 and up."""
    folder: Path = tmp_path_factory.mktemp("s")
    started: list[Qtest] = []

    def start(
        *devices: CallbackDevice,
        shared: bool = True,
        options: Mapping[str, int] | None = None,
        prepare: Callable[[], object] = lambda: None,
        **properties: Any,
    ) -> Qtest:
        if not vm.devices:
            vm.running(*devices, place=False)
            prepare()
            for slot in range(len(devices)):
                assert vm.listen(folder / str(slot), slot, **(options or {})) == 0
        named = {name.replace("_", "-"): value for name, value in properties.items()}
        sockets = {4 + slot: (folder / str(slot), named) for slot in range(len(devices))}
        started.append(Qtest(*qemu, sockets, shared))
        started[-1].config_load(4, 0)  # once it answers, the reset that comes before the guest is over
        for device in devices:
            device.calls.clear()
        return started[-1]

    yield start
    for one in started:
        one.close()
