"""What a device in a host has of its own can be called from the notebook."""

from __future__ import annotations

import pytest

from hdvlab.devices.nvme import Nvme
from hdvlab.errors import UsageError
from hdvlab.host import RemoteLab


def test_a_method_of_the_devices_own_runs_in_the_host(remote: RemoteLab) -> None:
    remote.plug(Nvme)
    device = remote["nvme"].device
    assert "fail" in dir(device)
    assert "left=1, retry=False, block=3" in device.fail("read", block=3)
    with pytest.raises(UsageError, match="no opcode 'raed'"):
        device.fail("raed")


@pytest.mark.parametrize("name", ["start", "spawn", "_close_namespace", "nothing", "namespace"])
def test_nothing_else_can_be_reached(remote: RemoteLab, name: str) -> None:
    remote.plug(Nvme)
    assert not hasattr(remote["nvme"].device, name)
    with pytest.raises(UsageError, match=f"nvme has no method {name} to call; it has .*fail"):
        remote.connection.call("call_device", device="nvme", method=name, named={})
