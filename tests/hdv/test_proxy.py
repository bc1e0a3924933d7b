"""Python devices in processes of their own, plugged into a lab."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.device import RemoteDevice
from hdvlab.errors import AccessError, BackendError, HdvError, HResult, StateError
from hdvlab.hdv import Broker, ProxyDeviceHost
from hdvlab.systems import EmbeddedMachine

from .remote_process import Engine

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0


class Process:
    def __init__(self, broker: Broker) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hdv.remote_process", str(broker.path)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        (self.host,) = [host for host in broker.hosts if host.process_id == self.process.pid]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def broker(lab: Lab, tmp_path: Path) -> Broker:
    return lab.broker(tmp_path / "new" / "socket", budget=4)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)
    return value


def test_a_python_device_of_another_process_works_as_in_this_one(lab: Lab, broker: Broker) -> None:
    with Process(broker):
        engine = lab.plug(RemoteDevice(Engine))
        assert engine.name == "engine"
        machine = lab.machine
        machine.ram_write(0x2000, bytes(range(64)))
        engine.bar0.ADDRESS.write(0x2000)
        engine.bar0.LENGTH.write(64)
        engine.bar0.GO.write(3)
        assert machine.ram_read(0x2000, 64) == bytes(range(3, 67))
        assert engine.bar0.DONE.read() == 1
        frame = lab.trace.frame(decode=True)
        go = frame[(frame["kind"] == "mmio_write") & (frame["register"] == "GO")]
        caused = frame[frame["cause"] == go.index[0]]
        assert list(caused["kind"]) == ["aperture_map", "aperture_unmap"] * 2 + ["interrupt"]
        assert list(caused["status"])[-1] == HResult.ERROR_INVALID_STATE.signed, "the driver has not enabled MSI"
        assert set(caused["device"]) == {engine.index}
        assert "1234:00e6" in engine.lspci(verbose=1)


def test_the_socket_is_its_owners_alone(broker: Broker) -> None:
    assert stat.S_IMODE(broker.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(broker.path.parent.stat().st_mode) == 0o700
    broker.close()
    assert not broker.path.exists()
    broker.close()


@pytest.mark.fault(46)
def test_a_process_that_dies_is_told_in_the_notebook_and_replaced(
    lab: Lab, broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    with Process(broker) as process:
        engine = lab.plug(RemoteDevice(Engine))
        process.process.kill()
        until(lambda: not broker.hosts)
        until(lambda: lab.faults)
        with pytest.warns(match="all ones"):
            assert engine.bar0.DONE.read() == 0xFFFF_FFFF
    (fault,) = lab.faults
    assert fault.hresult == HResult.HCS_E_SERVICE_DISCONNECT
    assert f"process {process.process.pid} is gone" in capfd.readouterr().err
    frame = lab.trace.frame(decode=True)
    assert list(frame[frame["kind"] == "fault"]["device"]) == [engine.index]
    with Process(broker):
        again = lab.plug(RemoteDevice(Engine))
        assert again.slot == engine.slot
        assert again.bar0.DONE.read() == 0


def test_a_process_that_ctrl_c_ends_is_told_though_it_went_in_good_order(
    lab: Lab, broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    with Process(broker) as process:
        engine = lab.plug(RemoteDevice(Engine))
        process.process.send_signal(signal.SIGINT)
        until(lambda: lab.faults)
        assert process.host.reason == HResult.S_OK
        with pytest.warns(match="the device, or the end of a section's file"):
            assert engine.bar0.DONE.read() == 0xFFFF_FFFF
    assert "has ended; the guest reads all ones of engine. Serve it again" in capfd.readouterr().err
    with Process(broker) as process:
        assert lab.plug(RemoteDevice(Engine)).bar0.DONE.read() == 0
        lab.unplug("engine")
        process.process.send_signal(signal.SIGINT)
        until(lambda: process.host.state == "ended")
    assert len(lab.faults) == 1, "nobody misses what was unplugged"


@pytest.mark.fault(56)
def test_a_device_that_exits_is_told_as_one_that_was_killed(lab: Lab, broker: Broker) -> None:
    with Process(broker) as process:
        engine = lab.plug(RemoteDevice(Engine))
        with pytest.warns(match=r"its process is gone; serve it again there.* \(HCS_E_SERVICE_DISCONNECT\)"):
            engine.bar0.EXIT.write(3)
        until(lambda: not broker.hosts)
        assert process.process.wait(DEADLINE) == 3
        assert process.host.state == "ended"
        assert "HCS_E_SERVICE_DISCONNECT" in repr(process.host)


@pytest.mark.fault(53)
def test_a_device_that_hangs_is_told_and_can_be_killed(
    lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = lab.broker(tmp_path / "s", budget=0.2)
    with Process(broker) as process:
        process.host.set_budget(4)
        engine = lab.plug(RemoteDevice(Engine))
        process.host.set_budget(0.2)
        with pytest.warns(match="all ones"):
            assert engine.bar0.HANG.read() == 0xFFFF_FFFF
        until(lambda: process.host.state == "hung")
        until(lambda: lab.faults)
        process.host.kill()
        until(lambda: process.host.state == "ended")
    assert "does not answer" in capfd.readouterr().err


def test_what_a_device_may_not_says_why_in_its_own_process(lab: Lab, broker: Broker) -> None:
    with Process(broker) as process:
        engine = lab.plug(RemoteDevice(Engine))
        with pytest.warns(match="dropped"):
            engine.bar0.FAULT.write(1)
        rows = lab.trace.frame(decode=True)
        assert rows[rows["kind"] == "doorbell_register"]["status"].iloc[-1] == HResult.E_ACCESSDENIED.signed
        process.process.kill()
        _, errors = process.process.communicate()
        assert "the machine's owner may, for it (E_ACCESSDENIED)" in errors


def test_power_off_ends_the_processes_in_order(lab: Lab, broker: Broker) -> None:
    with Process(broker) as process:
        lab.plug(RemoteDevice(Engine))
        lab.stop()
        assert "engine" not in lab
        out, errors = process.process.communicate(timeout=DEADLINE)
        assert (out, errors, process.process.returncode) == ("over\n", "", 0)
        assert process.host.state == "ended"
        assert process.host.reason == HResult.S_OK
        assert lab.faults == []


def test_a_device_that_no_process_has_cannot_be_plugged(lab: Lab, broker: Broker) -> None:
    with pytest.raises(HdvError, match="no process has that device.*wait_for_host"):
        lab.plug(RemoteDevice(Engine))
    assert "engine" not in lab
    with Process(broker):
        lab.plug(RemoteDevice(Engine))
        with pytest.raises(StateError, match="use read"):
            lab["engine"].peek(0, 0, 4)


def test_a_peer_that_is_no_device_host_is_told_and_turned_away(lab: Lab, broker: Broker) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.connect(str(broker.path))
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        peer.settimeout(DEADLINE)
        assert peer.recv(100) == b""
    (fault,) = until(lambda: lab.faults)
    assert fault.hresult == HResult.HCS_E_PROTOCOL_ERROR


def test_a_cell_with_a_broker_and_a_remote_device_may_run_again(lab: Lab, broker: Broker) -> None:
    with Process(broker) as process:
        lab.plug(RemoteDevice(Engine)).bar0.LENGTH.write(5)
        again = lab.broker(broker.path, budget=2)
        assert again is broker
        assert (again.budget, again.hosts) == (2, [process.host])
        engine = lab.plug(RemoteDevice(Engine))
        assert engine.bar0.LENGTH.read() == 0, "at its reset values"
        lab.unplug("engine")
        remote = RemoteDevice(Engine)
        assert lab.plug(remote).bar0.LENGTH.read() == 0
        assert lab.plug(remote).bar0.LENGTH.read() == 0, "the very object, too"


def test_an_instance_is_in_one_slot_and_stays_there(lab: Lab, broker: Broker) -> None:
    with Process(broker):
        engine = lab.plug(RemoteDevice(Engine))
        with pytest.raises(StateError, match="Engine is plugged in already; serve another,"):
            lab.plug(RemoteDevice(Engine), name="two")
        assert [one.name for one in lab] == ["engine"]
        assert engine.bar0.DONE.read() == 0, "it was not taken out"


def test_a_socket_that_a_killed_kernel_left_is_replaced(lab: Lab, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(tmp_path / "s"))
        left.listen()
    with Process(lab.broker(tmp_path / "s")):
        assert lab.plug(RemoteDevice(Engine)).bar0.DONE.read() == 0


def test_a_home_folder_is_understood_on_both_sides(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    broker = lab.broker("~/s")
    assert broker.path == tmp_path / "s"
    with ProxyDeviceHost("~/s"):
        assert broker.wait_for_host(timeout=DEADLINE)


def test_a_broker_without_descriptors_says_so_and_goes_on(lab: Lab, broker: Broker) -> None:
    import resource
    import socket

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno() + 1, hard))  # those below are open or soon filled
        filled = []
        try:
            while True:
                try:
                    filled.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            peer.connect(str(broker.path))
            until(lambda: lab.faults)
        finally:
            for fd in filled:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in lab.faults[0].text
    with Process(broker):
        assert lab.plug(RemoteDevice(Engine)).bar0.DONE.read() == 0


def test_power_that_ctrl_c_switched_off_takes_remote_devices_out(lab: Lab, broker: Broker) -> None:
    with Process(broker):
        lab.plug(RemoteDevice(Engine))
        power = lab._switch.power
        assert power is not None
        power.is_on = False  # as Ctrl-C in stop() leaves it
        lab.start()
        assert list(lab) == []
        assert lab.running


def test_an_author_may_have_an_attribute_of_that_name(lab: Lab) -> None:
    class Named(Engine):
        instance_id = "mine"

    assert lab.plug(Named).bar0.DONE.read() == 0


def test_a_broker_alone_serves_a_machine_alone(tmp_path: Path) -> None:
    machine = EmbeddedMachine(1 << 20)
    machine.start()
    states: list[str] = []
    with Broker(machine.handle, tmp_path / "s", changed=lambda host: states.append(host.state)) as broker:
        host = ProxyDeviceHost(broker.path)
        assert broker.wait_for_host(timeout=DEADLINE)[0].process_id == os.getpid()
        with pytest.raises(BackendError, match="has a host for that VM already"):
            ProxyDeviceHost(broker.path, host.vm_id)
        assert not host.wait(0)
        broker.hosts[0].end()
        assert host.wait(DEADLINE)
        host.teardown()
        until(lambda: not broker.hosts)
    assert states == ["up", "ended"]
    machine.close()


def test_mistakes_are_named(lab: Lab, broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="nobody listens there"):
        ProxyDeviceHost(tmp_path / "none")
    with Lab() as other, pytest.raises(BackendError, match="somebody listens there already; close that broker"):
        other.broker(broker.path)
    (tmp_path / "file").write_text("mine")
    for there in (tmp_path, tmp_path / "file"):
        with pytest.raises(BackendError, match="this is there already and is no socket"):
            lab.broker(there)
    assert (tmp_path / "file").read_text() == "mine"
    for budget in (0, 5, float("nan")):
        with pytest.raises(AccessError, match=r"a budget is 0\.001 to 4 seconds"):
            lab.broker(tmp_path / "s", budget=budget)
    with pytest.raises(BackendError, match="too long"):
        lab.broker(tmp_path / ("x" * 120))
    with Process(broker) as process, pytest.raises(AccessError, match="a VM itself gives up after 5"):
        process.host.set_budget(5)
    assert RemoteDevice(Engine, uuid.UUID(int=5)).instance_id == uuid.UUID(int=5)
