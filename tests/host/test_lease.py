"""No orphan stays for ever: hosts end without clients, VMs without hosts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hdvlab.devices.edu import Edu
from hdvlab.host import attach, hosts, start
from hdvlab.host.record import latest
from hdvlab.systems.qemu import keeper
from hdvlab.trace.open import open_trace

from .conftest import wait_until


@pytest.mark.fault(48)
def test_a_host_without_clients_ends_in_good_order_after_its_lease(places: Path) -> None:
    lab = start("lab", lease=0.5)
    lab.plug(Edu)
    wait_until(lambda: time.time() - lab.host.lease_file.stat().st_mtime < 0.5, "a client renews the lease")
    time.sleep(2.5)  # much longer than the lease: who is attached keeps it
    assert lab.mark("still there") >= 0
    lab.close()
    wait_until(lambda: not lab.host.is_alive, "the host's end")
    record = latest("lab")
    assert record is not None
    assert record.ended == "nobody was there for 0.5 s"
    kinds = set(open_trace(record.trace).frame()["kind"].astype(str))
    assert {"stop", "teardown"} <= kinds
    assert not os.path.exists(record.socket)


def test_a_lease_of_nothing_is_for_ever(places: Path) -> None:
    lab = start("lab", lease=0)
    lab.close()
    time.sleep(1.5)
    assert lab.host.is_alive
    assert hosts()[0].lease_left is None


def test_looking_at_hosts_renews_no_lease(places: Path) -> None:
    lab = start("lab", lease=1)
    lab.close()
    wait_until(lambda: not hosts(dead=False), "the host ends although it is looked at")


def test_sigterm_ends_a_host_in_good_order(places: Path) -> None:
    with start("lab") as lab:
        lab.plug(Edu)
        os.kill(lab.host.pid, signal.SIGTERM)
        wait_until(lambda: not lab.host.is_alive, "the host's end")
        record = latest("lab")
        assert record is not None
        assert record.ended == "SIGTERM"


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGHUP])
def test_what_a_terminal_sends_does_not_reach_a_host(places: Path, word: signal.Signals) -> None:
    with start("lab") as lab:
        assert os.getsid(lab.host.pid) != os.getsid(0)
        os.kill(lab.host.pid, word)
        assert lab.mark("goes on") >= 0
    with attach("lab") as again:
        assert again.mark("goes on") >= 0


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])


def keep(host: int, vm: int, lease: float, file: Path, *directories: Path) -> subprocess.Popen[bytes]:
    words = [str(host), str(vm), str(lease), str(file), *map(str, directories)]
    return subprocess.Popen([sys.executable, "-I", "-S", keeper.__file__, *words])


@pytest.mark.fault(48)
def test_the_keeper_ends_a_vm_whose_host_is_gone_after_the_lease(tmp_path: Path) -> None:
    host, vm = sleeper(), sleeper()
    (tmp_path / "lease").touch()
    (tmp_path / "sockets").mkdir()
    one = keep(host.pid, vm.pid, 0.5, tmp_path / "lease", tmp_path / "sockets")
    assert vm.poll() is None
    host.kill()
    host.wait()
    killed = time.monotonic()
    assert vm.wait(30) == -signal.SIGKILL
    assert time.monotonic() - killed > 0.3
    assert one.wait(30) == 0
    assert not (tmp_path / "sockets").exists()


def test_the_keeper_waits_for_who_touches_the_lease(tmp_path: Path) -> None:
    host, vm = sleeper(), sleeper()
    lease = tmp_path / "lease"
    lease.touch()
    host.kill()
    one = keep(host.pid, vm.pid, 1.0, lease)  # it dies before the keeper looks
    host.wait()
    for _ in range(20):
        lease.touch()
        time.sleep(0.1)
    assert vm.poll() is None
    assert vm.wait(30) == -signal.SIGKILL
    assert one.wait(30) == 0


def test_the_keeper_goes_with_the_vm_and_kills_nobody_else(tmp_path: Path) -> None:
    host, vm = sleeper(), sleeper()
    one = keep(host.pid, vm.pid, 0.1, tmp_path / "lease")
    vm.kill()
    vm.wait()
    assert one.wait(30) == 0
    assert host.poll() is None
    host.kill()
    host.wait()
