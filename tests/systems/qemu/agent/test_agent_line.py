"""What happens to requests when the line, the agent or the whole guest does not behave."""

from __future__ import annotations

import threading

import pytest

from hdvlab.errors import BackendError, GuestTimeoutError, StateError
from hdvlab.systems.qemu.agent import Agent
from hdvlab.systems.qemu.agent.protocol import MARK

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
    agent.silence = 2.0
    asked = threading.Event()
    agent.why_silent = lambda: asked.set() or ""  # type: ignore[func-returns-value]
    assert agent.run("sleep 3; echo done", timeout=120).output == b"done\n"
    assert not asked.is_set()
