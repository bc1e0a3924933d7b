"""VERSION: what is agreed with each client that there is, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import struct
from typing import Any

import pytest

from ..core.scaffold import CallbackDevice
from . import client as wire
from .client import CLOUD_HYPERVISOR, QEMU, Client, Closed, Refused, document, expect
from .served import Vm, descriptors_become


@pytest.fixture
def fresh(vm: Vm, device: CallbackDevice) -> Client:
    """A connection that nothing has been said on."""
    vm.running(device, place=False)
    return vm.wire()


def refused(client: Client, payload: bytes, fds: list[int] | None = None, number: int = errno.EINVAL) -> None:
    """VERSION is answered with EINVAL; nothing else is served on that connection afterwards."""
    expect(number, client.ask, wire.VERSION, payload, fds or [])
    with pytest.raises((Refused, Closed, ConnectionError)):
        client.info()


def test_qemu_is_answered_with_its_version_and_a_reply_no_longer_than_its_message(fresh: Client) -> None:
    # QEMU rejects a minor above 0, and reads the reply into a buffer as long as its own message.
    request = struct.pack("<HH", 0, 0) + document(QEMU)
    reply = fresh.ask(wire.VERSION, request)
    assert len(reply.payload) <= len(request)
    assert struct.unpack_from("<HH", reply.payload) == (0, 0)
    agreed = json.loads(reply.payload[4:-1])["capabilities"]
    assert set(agreed) <= set(QEMU), "QEMU: spurious capabilities"
    # QEMU: malformed otherwise. The server's values are what QEMU may send, or 8 descriptors where none is named.
    assert agreed.get("max_msg_fds", 8) in range(1, 17)
    assert 4096 <= agreed.get("max_data_xfer_size", 1 << 20) <= 64 << 20
    assert agreed.get("max_dma_maps", 65535) in range(1, 65536)
    assert agreed.get("pgsizes", 4096) & 0xFFF == 0
    assert agreed.get("pgsizes", 4096) & 4096
    # True makes QEMU 10.1 and 10.2 queue every message; migration is not served at all.
    assert agreed.get("write_multiple", False) is False
    assert "migration" not in agreed
    assert fresh.is_alive()


def test_cloud_hypervisor_gets_capabilities_and_no_minor_above_its_own(fresh: Client) -> None:
    major, minor, agreed = fresh.version(CLOUD_HYPERVISOR, minor=1)
    assert (major, minor) in ((0, 0), (0, 1))
    assert set(agreed) <= set(CLOUD_HYPERVISOR)
    assert fresh.is_alive()


@pytest.mark.parametrize("minor", [0, 1, 2, 7, 0xFFFF])
def test_the_minor_is_never_above_what_was_proposed(fresh: Client, minor: int) -> None:
    major, agreed, _ = fresh.version(QEMU, minor=minor)
    assert major == 0
    assert agreed <= minor


@pytest.mark.parametrize("text", [b"", b"{}\0", b'{"capabilities": {}}\0', b'{"more": [1, {"x": null}]}\0'])
def test_capabilities_are_optional_and_come_back_as_a_subset(fresh: Client, text: bytes) -> None:
    reply = fresh.ask(wire.VERSION, struct.pack("<HH", 0, 0) + text)
    assert json.loads(reply.payload[4:-1])["capabilities"] == {}
    assert fresh.is_alive()


def test_capabilities_that_nobody_knows_are_not_agreed_to(fresh: Client) -> None:
    _, _, agreed = fresh.version(QEMU | {"future": {"a": [1]}, "twin_socket": {"supported": False}})
    assert "future" not in agreed
    assert not agreed.get("twin_socket", {}).get("supported", False)


MALFORMED: dict[str, bytes] = {
    "no NUL": b'{"capabilities": {}}',
    "NUL in the middle": b'{"capabilities":\0 {}}\0',
    "an open brace": b'{"capabilities": {}\0',
    "a closing brace too many": b'{"capabilities": {}}}\0',
    "no JSON": b"capabilities\0",
    "not an object": b"[1]\0",
    "only NUL": b"\0",
    "capabilities not an object": b'{"capabilities": 4}\0',
    "no UTF-8": b'{"capabilities": {"\xff\xfe": 1}}\0',
    "nested": b'{"capabilities": {"x": ' + b"[" * 5000 + b"]" * 5000 + b"}}\0",
}
WRONG: list[dict[str, Any]] = [
    {"max_msg_fds": "1"},
    {"max_msg_fds": -1},
    {"max_msg_fds": 1025},
    {"max_msg_fds": 1 << 40},
    {"max_msg_fds": 1e300},
    {"max_data_xfer_size": None},
    {"max_data_xfer_size": -1},
    {"max_dma_maps": [1]},
    {"pgsizes": 0},
    {"pgsizes": "4096"},
]


@pytest.mark.fault(7)
@pytest.mark.parametrize("what", MALFORMED)
def test_a_proposal_that_is_no_json_is_refused(fresh: Client, what: str) -> None:
    refused(fresh, struct.pack("<HH", 0, 0) + MALFORMED[what])


@pytest.mark.fault(7)
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_capability_of_the_wrong_type_or_out_of_range_is_refused(fresh: Client, wrong: dict[str, Any]) -> None:
    refused(fresh, struct.pack("<HH", 0, 0) + document(QEMU | wrong))


@pytest.mark.fault(7)
def test_a_mebibyte_of_nesting_is_refused_and_nobody_recurses(fresh: Client) -> None:
    depth = (1 << 19) - 40
    refused(fresh, struct.pack("<HH", 0, 0) + b'{"capabilities": ' + b"[" * depth + b"]" * depth + b"}\0")


@pytest.mark.fault(7)
@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0"])
def test_a_proposal_without_a_version_is_refused(fresh: Client, payload: bytes) -> None:
    refused(fresh, payload)


@pytest.mark.parametrize("major", [1, 2, 0xFFFF])
def test_another_major_version_is_refused(fresh: Client, major: int) -> None:
    refused(fresh, struct.pack("<HH", major, 0) + document(QEMU), number=errno.EINVAL)


@pytest.mark.fault(9)
def test_descriptors_with_version_are_refused_and_closed(fresh: Client) -> None:
    fd = wire.memory(4096)
    before = len(os.listdir("/proc/self/fd"))
    expect(errno.EINVAL, fresh.ask, wire.VERSION, struct.pack("<HH", 0, 0) + document(QEMU), [fd])
    assert fresh.hung_up() or not fresh.socket.close()
    fresh.socket.close()
    descriptors_become(before - 2)  # both ends of the connection are gone, and no copy of the memory is left
    os.close(fd)


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (wire.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)),
        (wire.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096)),
        (wire.REGION_READ, struct.pack("<QII", 0, 0, 4)),
        (wire.REGION_WRITE, struct.pack("<QII", 0, 0, 4) + b"1234"),
        (wire.RESET, b""),
        (99, b""),
    ],
)
def test_no_command_is_served_before_version(
    vm: Vm, device: CallbackDevice, fresh: Client, command: int, payload: bytes
) -> None:
    device.calls.clear()
    with pytest.raises((Refused, Closed, ConnectionError)):
        fresh.ask(command, payload)
    assert device.calls == []


@pytest.mark.fault(6)
def test_a_second_version_is_refused(fresh: Client) -> None:
    fresh.version()
    with pytest.raises((Refused, Closed, ConnectionError)):
        fresh.version()


def test_a_refused_client_leaves_the_socket_to_the_next(vm: Vm, device: CallbackDevice, tmp_path: Any) -> None:
    vm.running(device, place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path) == 0
    for payload in (b"", struct.pack("<HH", 3, 0), struct.pack("<HH", 0, 0) + b"{"):
        client = vm.dial(path)
        with pytest.raises((Refused, Closed, ConnectionError)):
            client.ask(wire.VERSION, payload)
        client.close()
    client = vm.dial(path)
    client.version()
    assert client.is_alive()
