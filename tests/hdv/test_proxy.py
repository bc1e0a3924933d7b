"""Python devices in processes of their own, plugged into a lab."""

from __future__ import annotations

import os
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


@pytest.mark.fault(56)
def test_a_device_that_exits_is_told_as_one_that_was_killed(lab: Lab, broker: Broker) -> None:
    with Process(broker) as process:
        engine = lab.plug(RemoteDevice(Engine))
        with pytest.warns(match="HCS_E_SERVICE_DISCONNECT"):
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
    with pytest.raises(BackendError, match="it is there already"):
        lab.broker(broker.path)
    with pytest.raises(BackendError, match="too long"):
        lab.broker(tmp_path / ("x" * 120))
    with Process(broker) as process, pytest.raises(AccessError, match="a VM itself gives up after 5"):
        process.host.set_budget(5)
    assert RemoteDevice(Engine, uuid.UUID(int=5)).instance_id == uuid.UUID(int=5)
