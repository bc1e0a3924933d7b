"""Ctrl-C at every moment of plugging, unplugging and power: whatever it cuts short, the lab can go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.device import CompiledDevice, Pluggable, RemoteDevice, serve
from hdvlab.device.compiled import _attached
from hdvlab.lab import Plugged

from ..c_devices import blink
from ..labs import PATIENCE, wait_for
from .moments import pressed_at

#: Whose moments count. What firmware and the trace do in between has none of the lab's state.
_PLACES = (
    "hdvlab.lab.", "hdvlab.device.device", "hdvlab.device.machine_side", "hdvlab.device.compiled",
    "hdvlab.device.remote", "hdvlab.device.work", "hdvlab.hdv.", "hdvlab.systems.embedded",
)  # fmt: skip


class Small(Device):
    vendor_id, device_id = 0x1234, 0x77

    class bar0(Bar, size=8192):
        CTRL = Register(0x00, reset=0x10)

    def start(self) -> None:
        self.after(1000.0, print)
        self.section(4096, 4096)

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        pass


class Tiny(Device):
    vendor_id, device_id = 0x1234, 0x78

    class bar0(Bar, size=8192):
        CTRL = Register(0x00, reset=0x10)


def _pressed_at(moment: int, action: Callable[[], Any]) -> bool:
    return pressed_at(moment, action, _PLACES)


Doing = tuple[Callable[[], Any], Pluggable]
Make = Callable[[], Pluggable]


_loaded: list[CompiledDevice] = []


def _compiled() -> CompiledDevice:
    """One of two in turn, for loading takes long."""
    if len(_loaded) < 2:
        _loaded.append(CompiledDevice(blink()))
    _loaded.reverse()
    return _loaded[-1]


def _hot_plug(lab: Lab, make: Make) -> Doing:
    if not lab.running:
        lab.start()
    device = make()
    return lambda: lab.plug(device, name="small"), device


def _cold_plug(lab: Lab, make: Make) -> Doing:
    device = make()
    return lambda: lab.plug(device, name="small"), device


def _swap(lab: Lab, make: Make) -> Doing:
    lab.plug(make(), name="small")
    device = make()
    return lambda: lab.plug(device, name="small"), device


def _unplug(lab: Lab, make: Make) -> Doing:
    device = lab.plug(make(), name="small").device
    return lambda: lab.unplug("small"), device


def _start(lab: Lab, make: Make) -> Doing:
    device = lab.plug(make(), name="small").device
    lab.stop()
    return lab.start, device


def _stop(lab: Lab, make: Make) -> Doing:
    device = lab.plug(make(), name="small").device
    return lab.stop, device


def _goes_on(lab: Lab, device: Pluggable, moment: int) -> Plugged:
    plugged = lab.plug(device, name="small")  # the very one, in whatever state Ctrl-C left it
    if not lab.running:
        lab.start()
    assert lab["small"] is plugged
    assert [one.name for one in lab] == ["small"], f"moment {moment}"
    assert plugged.bar0.address == 0xE000_0000, "no place of a BAR was lost"
    return plugged


@pytest.mark.fault(52)
@pytest.mark.parametrize("make", [Small, _compiled])
@pytest.mark.parametrize("action", [_hot_plug, _cold_plug, _swap, _unplug, _start, _stop])
def test_ctrl_c_at_any_moment_leaves_a_lab_that_goes_on(action: Callable[[Lab, Make], Doing], make: Make) -> None:
    moment, came = 1, True
    with Lab() as lab:
        lab.plug(make(), name="small")
        lab.unplug("small")
        while came:
            lab.stop()
            do, device = action(lab, make)
            came = _pressed_at(moment, do)
            plugged = _goes_on(lab, device, moment)
            assert plugged.bar0.CTRL.read() == (0x10 if make is Small else 0)
            lab.unplug("small")
            assert lab.faults == []
            moment += 1
        assert not _attached, "nothing is kept of compiled devices that are out"
    assert moment > 30, "there were moments"


@pytest.mark.fault(52)
@pytest.mark.parametrize("action", [_hot_plug, _swap, _unplug])
def test_ctrl_c_at_any_moment_of_a_remote_device_leaves_a_lab_that_goes_on(
    action: Callable[[Lab, Make], Doing], tmp_path: Path
) -> None:
    def make() -> RemoteDevice:
        return RemoteDevice(Tiny)

    moment, came = 1, True
    ready = threading.Event()
    with Lab() as lab:
        lab.broker(tmp_path / "s", budget=4)
        process = threading.Thread(target=serve, args=(Tiny, tmp_path / "s"), kwargs={"ready": ready.set})
        process.start()  # a thread does for a process: what it has is its own, up to the socket
        wait_for(ready)
        while came:
            do, device = action(lab, make)
            came = _pressed_at(moment, do)
            assert _goes_on(lab, device, moment).bar0.CTRL.read() == 0x10
            lab.unplug("small")
            assert lab.faults == []
            moment += 1
    process.join(PATIENCE)
    assert not process.is_alive()
    assert moment > 20, "there were moments"


@pytest.mark.fault(52)
def test_ctrl_c_at_any_moment_of_a_broker_leaves_no_socket_and_no_thread(tmp_path: Path) -> None:
    moment, came = 1, True
    threads = threading.active_count() + 1  # the one that switches forgotten labs off
    while came:
        with Lab() as lab:
            lab.start()
            came = _pressed_at(moment, lambda lab=lab: lab.broker(tmp_path / "s"))  # type: ignore[misc]
            assert lab.broker(tmp_path / "s").path.is_socket()
            came |= _pressed_at(moment, lab.stop)
        assert not (tmp_path / "s").exists(), f"moment {moment}"
        moment += 1
    assert threading.active_count() <= threads
    assert moment > 20, "there were moments"
