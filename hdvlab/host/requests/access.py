"""Accesses, each answered with its value, its HRESULT, and what the device's code raised if that is why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.hdv.callbacks import take_failure
from hdvlab.host.requests import request
from hdvlab.host.wire import packed, unpacked
from hdvlab.trace.schema import Origin

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host

Answer = tuple[int, int, str]


@request
def read(host: Host, call: Call, *, address: int, size: int, origin: int, pc: int) -> Answer:
    """Over the bus."""
    value, hresult = host.lab.machine.read(address, size, Origin(origin), pc)
    return value, hresult, take_failure(hresult) if hresult < 0 else ""


@request
def write(host: Host, call: Call, *, address: int, size: int, value: int, origin: int, pc: int) -> Answer:
    """Over the bus."""
    hresult = host.lab.machine.write(address, size, value, Origin(origin), pc)
    return 0, hresult, take_failure(hresult) if hresult < 0 else ""


@request
def config_read(host: Host, call: Call, *, slot: int, offset: int, size: int, origin: int, pc: int) -> Answer:
    """Of a slot."""
    value, hresult = host.lab.machine.config_read(slot, offset, size, Origin(origin), pc)
    return value, hresult, take_failure(hresult) if hresult < 0 else ""


@request
def config_write(
    host: Host, call: Call, *, slot: int, offset: int, size: int, value: int, origin: int, pc: int
) -> Answer:
    """Of a slot."""
    hresult = host.lab.machine.config_write(slot, offset, size, value, Origin(origin), pc)
    return 0, hresult, take_failure(hresult) if hresult < 0 else ""


@request
def config_peek(host: Host, call: Call, *, slot: int) -> str:
    """A slot's config space."""
    return packed(host.lab.machine.config_peek(slot))


@request
def device_access(
    host: Host, call: Call, *, device: str, write: bool, bar: int, offset: int, size: int, value: int, origin: int,
    pc: int = 0,
) -> Answer:
    """Past the bus, to one device."""
    one = host.lab[device]
    one.on()
    value, hresult = host.lab.machine.device_access(one.handle, write, bar, offset, size, value, Origin(origin), pc)
    return value, hresult, take_failure(hresult) if hresult < 0 else ""


@request
def peek(host: Host, call: Call, *, device: str, bar: int, offset: int, size: int) -> int:
    """Stored bytes; no row."""
    return host.lab[device].peek(bar, offset, size)


@request
def rehearse(
    host: Host, call: Call, *, device: str, bar: int, offset: int, size: int, value: int | None = None
) -> dict[str, Any]:
    """What an access would do; nothing changes, no row."""
    return host.lab[device].rehearse_access(bar, offset, size, value).to_dict()


@request
def ram_read(host: Host, call: Call, *, address: int, size: int) -> str:
    """Copy from guest RAM; no row."""
    return packed(host.lab.machine.ram_read(address, size))


@request
def ram_write(host: Host, call: Call, *, address: int, data: str) -> None:
    """Copy to guest RAM; no row."""
    host.lab.machine.ram_write(address, unpacked(data))


@request
def wait_interrupt(host: Host, call: Call, *, vector: int, timeout: float) -> int:
    """Take one pending interrupt; how many are left."""
    return host.lab.machine.wait_interrupt(vector, timeout)


@request
def cancel_waits(host: Host, call: Call) -> None:
    """Make whoever waits for an interrupt look whether it is to go on."""
    host.lab.machine.cancel()
