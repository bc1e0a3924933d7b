"""Looking at many places at once, for panels that look ten times a second; no handler, no row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.host.requests import request
from hdvlab.host.wire import packed

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host


@request
def peek_many(host: Host, call: Call, *, places: list[list[Any]]) -> list[int | str]:
    """Stored values, each a number, or a text that says why there is none."""
    return host.lab.peek_many([(str(device), int(bar), int(offset), int(size)) for device, bar, offset, size in places])


@request
def ram_peek(host: Host, call: Call, *, address: int, size: int) -> list[dict[str, Any]]:
    """Guest RAM in stretches, each with its bytes, or a text that says why there are none."""
    return [
        {"address": start, "data": packed(data)} if isinstance(data, bytes) else {"address": start, "why": data}
        for start, data in host.lab.ram_peek(address, size)
    ]
