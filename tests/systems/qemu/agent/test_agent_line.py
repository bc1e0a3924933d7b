"""What happens to requests when the line, the agent or the whole guest does not behave."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from hdvlab.errors import BackendError, GuestTimeoutError, StateError
from hdvlab.systems.qemu.agent import Agent
from hdvlab.systems.qemu.agent.line import Line
from hdvlab.systems.qemu.agent.protocol import MARK, Frame, Kind, Parser, pack

from .pty_guest import PtyGuest

_NOISE = b"[   12.345678] usb 1-1: a message of the kernel\r\n" + MARK + bytes(8) + b"\xff" * 20


def test_a_kernel_message_between_frames_disturbs_nothing(guest: PtyGuest, agent: Agent) -> None:
    for _ in range(5):
        guest.to_host.append(_NOISE)
        guest.to_agent.append(_NOISE)
        assert agent.run("cat", stdin=b"text").output == b"text"


@pytest.mark.parametrize("direction", ["drop_to_host", "drop_to_agent"])
def test_bytes_that_were_lost_are_an_error_and_then_all_is_well(guest: PtyGuest, agent: Agent, direction: str) -> None:
    setattr(guest, direction, 10)
    with pytest.raises(BackendError, match="bytes are missing; do it again"):
        agent.run("cat", stdin=bytes(10_000), timeout=60)
    assert agent.run("cat", stdin=b"again").output == b"again"
    assert agent.running == []


def test_a_reset_guest_ends_what_ran_in_it_and_takes_the_next(guest: PtyGuest, agent: Agent) -> None:
    first = agent.ping()
    running = [agent.start("echo started; exec sleep 1000") for _ in range(3)]
    guest.reset()
    for one in running:
        with pytest.raises(StateError, match="the guest was reset"):
            one.wait(60)
    assert agent.run("echo back").output == b"back\n"
    assert agent.ping().start != first.start


def test_a_vm_that_is_gone_is_said_and_can_be_connected_again(guest: PtyGuest, agent: Agent) -> None:
    running = agent.start("sleep 1000")
    guest.close()
    with pytest.raises(StateError, match="the VM is gone"):
        running.wait(60)
    with pytest.raises(StateError, match="the VM is gone"):
        agent.run("true")


def test_a_guest_that_is_held_says_so_and_the_command_goes_on(guest: PtyGuest, agent: Agent) -> None:
    agent.why_silent = lambda: "the guest is held at CTRL"
    agent.silence = 1.0
    guest.passing.clear()
    with pytest.raises(StateError, match="held at CTRL"):
        agent.run("echo one")
    (left,) = agent.running
    agent.silence = 60.0  # it may be slow from here on, and is not held
    guest.passing.set()
    assert left.wait(60).output == b"one\n"
    assert agent.running == []


def test_a_silent_guest_without_a_reason_is_given_up(guest: PtyGuest, agent: Agent) -> None:
    agent.silence = 1.0
    guest.passing.clear()
    with pytest.raises(GuestTimeoutError, match="has not answered .* look at its console"):
        agent.run("echo one")
    guest.passing.set()


def test_a_command_that_says_nothing_is_not_a_guest_that_does_not(guest: PtyGuest, agent: Agent) -> None:
    agent.silence = 3.0
    asked = threading.Event()
    agent.why_silent = lambda: asked.set() or ""  # type: ignore[func-returns-value]
    assert agent.run("sleep 4; echo done", timeout=120).output == b"done\n"
    assert not asked.is_set()


@pytest.mark.parametrize("kind", [Kind.CREDIT, Kind.DONE, 77])
def test_an_answer_that_the_agent_never_gives_fails_the_request_and_no_more(
    guest: PtyGuest, agent: Agent, kind: int
) -> None:
    running = agent.start("sleep 1000")
    running.put(Frame(kind, running.number, 1, b"x"))
    with pytest.raises(BackendError, match="something else in the guest writes to its serial port"):
        running.wait(60)
    assert agent.running == []
    assert agent.run("echo next").output == b"next\n"


def test_output_without_end_is_ended_and_not_kept(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdvlab.systems.qemu.agent.running.OUTPUT_MAX", 1 << 20)
    running = agent.start("yes")
    with pytest.raises(BackendError, match="more than 1 MiB came from the guest"):
        running.wait(60)
    assert len(running.output) <= 1 << 20
    assert agent.run("echo next").output == b"next\n"


def test_a_guest_that_asks_and_does_not_listen_costs_no_memory(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(os.fspath(tmp_path / "port"))
        listener.listen()
        ended = threading.Event()
        line = Line(tmp_path / "port", lambda frame: None, lambda error: ended.set())
        guest = listener.accept()[0]
        with guest:
            parser, frames = Parser(), []
            while not frames:
                frames = parser.feed(guest.recv(65536))
            greeting = struct.pack("<I", 1) + frames[0].payload + bytes(4) + b"boot"
            guest.sendall(pack(Kind.HELLO, 0, 0, greeting))
            assert line.wait_greeting(60)
            for sequence in range(1, 4001):
                guest.sendall(pack(Kind.PING, 0, sequence, bytes(1024)))
            guest.sendall(pack(Kind.HELLO, 0, 0, struct.pack("<III", 2, 1, 1)))
            assert ended.wait(60)
            assert "speaks version 2" in str(line.ended)
            assert len(line._queue) <= 256
            line.close()
