"""Panels over a device host: each look is one message, and touches nothing."""

from __future__ import annotations

from typing import Any

from hdvlab.devices.edu import Edu
from hdvlab.host import RemoteLab
from hdvlab.widgets.config_view import ConfigView
from hdvlab.widgets.memory_view import MemoryView
from hdvlab.widgets.register_poke import Pokes
from hdvlab.widgets.register_view import RegisterView


def test_each_look_is_one_message_and_leaves_no_row(remote: RemoteLab) -> None:
    edu = remote.plug(Edu)
    edu.bar0.LIVENESS.write(1)
    registers, config, memory = RegisterView(remote), ConfigView(remote), MemoryView(remote, 4096)
    memory.go(remote.machine.ram_size - 2048)
    rows, call, asked = len(remote.trace), remote.connection.call, list[str]()

    def counted(request: str, /, **given: Any) -> Any:
        asked.append(request)
        return call(request, **given)

    vars(remote.connection)["call"] = counted
    vars(remote.machine)["_call"] = counted
    assert registers.look()
    assert config.look()
    assert memory.look()
    assert asked == ["peek_many", "config_peek", "ram_peek"]
    assert registers.answers[0] == 0x010000ED
    assert config.config[:4] == b"\x34\x12\xe8\x11"
    assert [why for *_, why in memory.gaps] == ["no RAM is here"]
    assert len(remote.trace) == rows


def test_pokes_and_their_undo_go_to_the_host_as_rows_of_the_user(remote: RemoteLab) -> None:
    edu, pokes = remote.plug(Edu), Pokes(remote)
    bar, register = edu.find("DMA_SOURCE")
    made = pokes.poke("edu", bar, register, None, 0xFFFF_8000_0000_0001)
    assert (made.old, made.new, made.hresult) == (0, 0xFFFF_8000_0000_0001, 0)
    assert remote.trace.frame().loc[made.row]["origin"] == "user"
    assert pokes.undo().new == 0


def test_power_and_devices_that_come_and_go_are_followed(remote: RemoteLab) -> None:
    remote.plug(Edu)
    registers, config, memory = RegisterView(remote), ConfigView(remote), MemoryView(remote, 64)
    for one in (registers, config, memory):
        one.look()  # type: ignore[attr-defined]
    remote.stop()
    assert registers.look()
    assert config.look()
    assert memory.look()
    assert registers.running is False
    assert "the machine is off" in config.why
    assert "the machine is off" in memory.why
    remote.unplug("edu")
    assert registers.look()
    assert registers.cells == []
