"""Commands and files through the agent, which runs here on a pseudo terminal."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hdvlab.errors import BackendError, GuestTimeoutError, StateError, UsageError
from hdvlab.systems.qemu.agent import Agent, Completed
from hdvlab.systems.qemu.agent.protocol import COMMAND_MAX, REQUESTS

from ....labs import PATIENCE
from .pty_guest import PtyGuest


def test_output_and_errors_come_in_the_order_they_were_written(agent: Agent) -> None:
    assert agent.run("echo one; echo two >&2; echo three") == Completed(0, b"one\ntwo\nthree\n")


@pytest.mark.parametrize(
    ("command", "status"), [("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("/no/such", 127), ("", 0)]
)
def test_the_exit_status_is_the_commands(agent: Agent, command: str, status: int) -> None:
    assert agent.run(command).status == status


def test_a_command_reads_all_of_its_standard_input(agent: Agent) -> None:
    data = os.urandom(100_000)
    assert agent.run("cat", stdin=data).output == data


def test_a_command_that_does_not_read_its_input_ends_all_the_same(agent: Agent) -> None:
    assert agent.run("exec <&-; echo done", stdin=bytes(100_000)).output == b"done\n"


def test_output_is_handed_on_as_it_comes(agent: Agent, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen: list[bytes] = []

    def take(data: bytes) -> None:
        seen.append(data)
        if data == b"first\n":
            fifo.write_bytes(b"go")  # the command waits for that: what it said before is here by now

    agent.run(f"echo first; cat {fifo}", on_output=take, timeout=60)
    assert b"".join(seen) == b"first\ngo"


@pytest.mark.parametrize("size", [0, 1, 1024, 4096, 4097, 300_000])
def test_a_file_goes_there_and_back(agent: Agent, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    agent.put(data, str(path), 0o640)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o7777 == 0o640
    assert agent.get(str(path)) == data
    assert [one.name for one in tmp_path.iterdir() if "partial" in one.name] == []


def test_a_file_that_has_no_size_is_read_to_its_end(agent: Agent) -> None:
    assert agent.get("/proc/self/stat").split()[1] == b"(agent)" or agent.get("/proc/version")


def test_a_program_that_runs_can_be_replaced(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "program"
    agent.put(Path("/bin/cat").read_bytes(), str(path), 0o755)
    running = agent.start(f"exec {path} /dev/zero")
    seen: list[bytes] = []

    def replace(_: bytes) -> None:
        if not seen:
            seen.append(b"")
            agent.put(b"#!/bin/sh\necho new\n", str(path), 0o755)
            seen.append(agent.run(str(path)).output)
            running.kill(signal.SIGKILL)

    assert running.wait(60, replace).status == 137
    assert seen[1] == b"new\n"


def test_a_device_file_is_written_and_not_replaced(agent: Agent) -> None:
    agent.put(b"gone", "/dev/null")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda agent: agent.get("/no/such"), "get /no/such: No such file or directory"),
        (lambda agent: agent.get("/tmp"), "get /tmp: Is a directory"),
        (lambda agent: agent.put(b"x", "/no/such"), "put /no/such: No such file or directory"),
        (lambda agent: agent.put(bytes(20_000), "/dev/full"), "put /dev/full: No space left on device"),
    ],
)
def test_what_the_guest_refuses_is_said_in_its_words(agent: Agent, call: object, text: str) -> None:
    with pytest.raises(BackendError) as caught:
        call(agent)  # type: ignore[operator]
    assert str(caught.value).startswith(text)
    assert agent.run("echo alive").output == b"alive\n"
    assert agent.running == []


def test_what_cannot_be_asked_is_refused_here(agent: Agent) -> None:
    with pytest.raises(UsageError, match="put it into a file"):
        agent.run("x" * (COMMAND_MAX + 1))
    with pytest.raises(UsageError, match="from / on"):
        agent.get("relative")
    assert agent.run(f"true {'x' * (COMMAND_MAX - 5)}").status == 0


def test_many_requests_run_side_by_side(agent: Agent, tmp_path: Path) -> None:
    data = os.urandom(30_000)

    def one(number: int) -> bool:
        path = str(tmp_path / str(number))
        agent.put(data, path)
        return agent.get(path) == data and agent.run(f"cat {path}").output == data

    with ThreadPoolExecutor(2 * REQUESTS) as pool:
        assert all(pool.map(one, range(2 * REQUESTS)))
    assert agent.running == []


def test_a_command_that_runs_long_does_not_hold_up_the_others(agent: Agent) -> None:
    running = agent.start("cat /dev/zero")
    assert agent.run("echo there").output == b"there\n"
    running.kill(signal.SIGKILL)
    assert running.wait(60).status == 137


def test_what_a_command_leaves_in_the_background_is_not_waited_for(agent: Agent) -> None:
    done = agent.run("sleep 1000 & echo $!", timeout=60)
    os.kill(int(done.output), signal.SIGKILL)


def test_a_timeout_ends_the_command_with_all_that_it_started(agent: Agent) -> None:
    seen: list[bytes] = []
    with pytest.raises(GuestTimeoutError, match="give it a longer timeout"):
        agent.run("sh -c 'echo $$; sleep 1000'; true", timeout=1, on_output=seen.append)
    deadline = time.monotonic() + PATIENCE
    while is_there(int(b"".join(seen))):  # it was killed, and somebody has yet to be told of its end
        assert time.monotonic() < deadline


def is_there(process: int) -> bool:
    """Whether a process's group is."""
    try:
        os.killpg(os.getpgid(process), 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_ends_the_command_in_the_guest(agent: Agent) -> None:
    seen: list[bytes] = []

    def take(data: bytes) -> None:
        seen.append(data)
        if data == b"here\n":
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        agent.run("trap 'echo bye; exit' INT; echo here; while :; do sleep 0.05; done", on_output=take)
    assert b"".join(seen) == b"here\nbye\n"
    assert agent.running == []
    assert agent.run("echo next").output == b"next\n"


def test_the_next_host_finds_nothing_of_the_last_one(guest: PtyGuest, agent: Agent) -> None:
    agent.start("cat /dev/zero")
    agent.close()
    with Agent(guest.path) as other:
        other.connect(30)
        assert other.run("echo hello").output == b"hello\n"


def test_nobody_to_connect_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(GuestTimeoutError, match="nobody listens .* start the VM"):
        Agent(tmp_path / "none").connect(0.1)
    with pytest.raises(StateError, match="boot a VM"):
        Agent(tmp_path / "none").run("true")


def test_each_thread_sees_the_end_of_its_own_request(agent: Agent) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = agent.run(f"echo {number}").output

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: b"%d\n" % number for number in range(20)}
