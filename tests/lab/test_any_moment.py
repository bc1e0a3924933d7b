"""Ctrl-C at every moment of plugging, unplugging and power: whatever it cuts short, the lab can go on.

CPython answers a signal when a Python function begins and when a C function has returned; the profiler's events
``call`` and ``c_return`` are these moments, so that each can be tried, one after the other, without a clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register

#: Whose moments count. What firmware and the trace do in between has none of the lab's state.
_PLACES = ("hdvlab.lab.", "hdvlab.device.device", "hdvlab.device.work", "hdvlab.hdv.", "hdvlab.systems.embedded")
_HARMLESS = {"config_read", "config_write", "__del__"}


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


def _counts(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    caller = frame.f_back.f_code.co_name if frame.f_back is not None else ""  # what __del__ raises goes nowhere
    return name.startswith(_PLACES) and not {frame.f_code.co_name, caller} & _HARMLESS


def _pressed_at(moment: int, action: Callable[[], Any]) -> bool:
    """Do it with Ctrl-C at the given moment; whether it has that many."""
    left = moment

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and _counts(frame):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        action()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0


Doing = tuple[Callable[[], Any], Device]


def _hot_plug(lab: Lab) -> Doing:
    lab.start()
    device = Small()
    return lambda: lab.plug(device), device


def _cold_plug(lab: Lab) -> Doing:
    device = Small()
    return lambda: lab.plug(device), device


def _swap(lab: Lab) -> Doing:
    lab.plug(Small())
    device = Small()
    return lambda: lab.plug(device), device


def _unplug(lab: Lab) -> Doing:
    device = lab.plug(Small()).device
    return lambda: lab.unplug("small"), device


def _start(lab: Lab) -> Doing:
    device = lab.plug(Small()).device
    lab.stop()
    return lab.start, device


def _stop(lab: Lab) -> Doing:
    device = lab.plug(Small()).device
    return lab.stop, device


@pytest.mark.fault(52)
@pytest.mark.parametrize("action", [_hot_plug, _cold_plug, _swap, _unplug, _start, _stop])
def test_ctrl_c_at_any_moment_leaves_a_lab_that_goes_on(action: Callable[[Lab], Doing]) -> None:
    moment, came = 1, True
    with Lab() as lab:
        lab.plug(Small())
        lab.unplug("small")
        while came:
            lab.stop()
            do, device = action(lab)
            came = _pressed_at(moment, do)
            plugged = lab.plug(device)  # the very one, in whatever state Ctrl-C left it
            if not lab.running:
                lab.start()
            assert lab["small"] is plugged
            assert [one.name for one in lab] == ["small"], f"moment {moment}"
            assert plugged.bar0.address == 0xE000_0000, "no place of a BAR was lost"
            assert plugged.bar0.CTRL.read() == 0x10
            lab.unplug("small")
            assert lab.faults == []
            moment += 1
    assert moment > 30, "there were moments"
