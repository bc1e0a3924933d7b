"""The agent in a real guest, over QEMU's serial port."""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hdvlab.errors import StateError
from hdvlab.systems.qemu.agent import Agent
from hdvlab.systems.qemu.setup import Installation

from .bare_vm import BOOT, BareVm

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def vm(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareVm]:
    with BareVm(installation, tmp_path_factory.mktemp("vm"), []) as vm:
        yield vm


@pytest.fixture
def agent(vm: BareVm) -> Agent:
    return vm.agent


def test_commands_run_as_root_in_the_guest(agent: Agent, installation: Installation) -> None:
    assert agent.run("uname -r; id -u").output.decode().split() == [installation.kernel_version, "0"]


def test_no_byte_is_lost_on_the_serial_port(agent: Agent) -> None:
    data = os.urandom(256 * 1024)

    def there_and_back(number: int) -> bool:
        path = f"/tmp/file{number}"
        agent.put(data[number:], path)
        return agent.get(path) == data[number:] and agent.run("cat", stdin=data[:20_000]).output == data[:20_000]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(there_and_back, range(4)))


def test_what_the_kernel_writes_to_the_port_disturbs_nothing(agent: Agent) -> None:
    running = agent.start("for i in 1 2 3 4 5; do echo line $i; cat /proc/uptime >/dev/ttyS1; done")
    assert running.wait(BOOT).output == b"".join(b"line %d\n" % number for number in range(1, 6))


def test_ctrl_c_ends_a_command_in_the_guest(agent: Agent) -> None:
    def interrupt(_: bytes) -> None:
        _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        agent.run("echo here; exec sleep 4321", on_output=interrupt)
    assert agent.run("ps | grep '[s]leep 4321'").status == 1


def test_a_paused_vm_is_said_and_the_command_goes_on_with_it(vm: BareVm, agent: Agent) -> None:
    agent.why_silent = lambda: "the VM is paused" if vm.qmp("query-status")["status"] == "paused" else ""
    vm.qmp("stop")
    try:
        with pytest.raises(StateError, match="the VM is paused"):
            agent.run("echo after all")
    finally:
        vm.qmp("cont")
        agent.why_silent = lambda: ""
    (left,) = agent.running
    assert left.wait(BOOT).output == b"after all\n"


def test_a_reset_ends_what_runs_and_the_next_command_waits_for_the_boot(vm: BareVm, agent: Agent) -> None:
    before = agent.ping()
    agent.silence = BOOT

    def reset(_: bytes) -> None:
        threading.Thread(target=vm.qmp, args=("system_reset",)).start()

    with pytest.raises(StateError, match="the guest was reset"):
        agent.run("echo ready; exec sleep 1000", on_output=reset, timeout=BOOT)
    assert agent.run("echo back").output == b"back\n"
    assert agent.ping().boot_id != before.boot_id
