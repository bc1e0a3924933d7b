"""Arguments of a wrong type: refused where they are given, by name, and nothing is left of the call."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.device import CompiledDevice, RemoteDevice, serve
from hdvlab.errors import AccessError, HdvError, UsageError


class Typed(Device):
    vendor_id, device_id = 0x1234, 0x7E

    class bar0(Bar, size=16384):
        CTRL = Register(0x00)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda one: one.section(0x1000, 0x1000, file="/etc/passwd"),
            "'/etc/passwd' is no open file; give a memfd, or",
        ),
        (lambda one: one.section(0x1000, 0x1000, share=5), "share is 5; it is a Section"),
        (lambda one: one.section(0x1000, "x"), "size is 'x'; it is an integer"),
        (lambda one: one.section(None, 0x1000), "offset is None; it is an integer"),
        (lambda one: one.doorbell("CTRL"), "'CTRL' is no register and no offset; give type(self).bar0.TAIL"),
        (lambda one: one.aperture("x", 16), "address is 'x'; it is an integer"),
        (lambda one: one.aperture(0, 0), "an aperture has at least 1 byte (E_INVALIDARG)"),
        (lambda one: one.dma_read(0, 1.5), "size is 1.5; it is an integer"),
        (lambda one: one.dma_write("x", b""), "address is 'x'; it is an integer"),
        (lambda one: one.after("soon", print), "it takes seconds, and what to call then"),
        (lambda one: one.after(float("inf"), print), "it takes seconds, and what to call then"),
        (lambda one: one.after(float("nan"), print), "it takes seconds, and what to call then"),
        (lambda one: one.after(0, 5), "it takes seconds, and what to call then"),
        (lambda one: one.spawn(print()), "it takes what to call, without calling it"),
    ],
)
def test_a_wrong_argument_is_named(lab: Lab, call: Callable[[Any], Any], said: str) -> None:
    plugged = lab.plug(Typed)
    with pytest.raises(AccessError, match=re.escape(said)):
        call(plugged.device)
    assert plugged.bar0.CTRL.read() == 0
    assert lab.faults == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda lab: RemoteDevice(5), "5 is no class of devices"),  # type: ignore[arg-type]
        (lambda lab: RemoteDevice(Typed()), "is no class of devices; give one"),  # type: ignore[arg-type]
        (lambda lab: RemoteDevice(Device), "is no class of devices"),
        (lambda lab: RemoteDevice(Typed, "abc"), "instance_id is 'abc'; it is a uuid.UUID"),  # type: ignore[arg-type]
        (lambda lab: serve(5, "/nobody"), "is no class of devices"),  # type: ignore[arg-type]
        (lambda lab: serve(Typed, "/nobody", instance_id=3), "instance_id is 3"),  # type: ignore[arg-type]
        (lambda lab: lab.plug(CompiledDevice), "made first: lab.plug(CompiledDevice('./device.so'))"),
        (lambda lab: lab.plug(RemoteDevice), "made first: lab.plug(RemoteDevice(Blink))"),
    ],
)
def test_what_is_no_device_is_named(lab: Lab, call: Callable[[Lab], Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        call(lab)
    assert list(lab) == []


def test_numbers_of_other_libraries_are_numbers(lab: Lab) -> None:
    import numpy as np

    device: Any = lab.plug(Typed).device
    assert device.dma_read(np.uint64(0x1000), np.int32(4)) == bytes(4)
    with device.aperture(np.int64(0x1000), np.int64(16)) as aperture:
        assert len(aperture) == 16
    device.section(np.int64(0x1000), np.int64(0x1000)).close()
    device.after(np.float32(1000), print).cancel()
    assert RemoteDevice(Typed, uuid.UUID(int=3)).instance_id.int == 3
    with pytest.raises(HdvError, match="outside the BAR"):
        device.section(np.int64(1 << 20), 0x1000)
