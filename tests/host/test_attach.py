"""A host is started, used as a lab is, left alone, and found again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from hdvlab import commands
from hdvlab.devices.edu import Edu, driver
from hdvlab.errors import BackendError, StateError, UsageError
from hdvlab.host import RemoteLab, attach, hosts, start, stop_host
from hdvlab.host.record import latest
from hdvlab.trace.open import open_trace

from .conftest import kill, wait_until


def test_a_device_in_a_host_is_used_as_one_in_this_process(remote: RemoteLab) -> None:
    assert repr(remote.plug(Edu)) == "<edu at 00:01.0, 1234:11e8, on>"
    assert int(commands.peek(remote, "IDENTIFICATION")) == 0x010000ED
    commands.write(remote, "LIVENESS", "0xf")
    assert int(commands.read(remote, "LIVENESS")) == 0xFFFFFFF0
    assert repr(commands.poke(remote, "LIVENESS=1")) == "LIVENESS: 0xfffffff0 → 0xfffffffe"
    assert remote["edu"].bar0.LIVENESS.read() == 0xFFFFFFFE
    assert "1234:11e8" in commands.lspci(remote)
    assert commands.regs(remote).set_index("register").loc["LIVENESS", "value"] == 0xFFFFFFFE
    assert "embedded" in repr(commands.status(remote))


def test_the_frame_is_the_hosts_memory_and_rows_name_the_persons_line(remote: RemoteLab) -> None:
    remote.plug(Edu)
    with remote.record("mine") as run:
        remote["edu"].bar0.LIVENESS.write(5)
    frame = run.frame(decode=True)
    assert list(frame["kind"]) == ["mmio_write"]
    assert frame["source"].iloc[0].endswith('remote["edu"].bar0.LIVENESS.write(5)')
    assert frame["value"].to_numpy().base is not None  # not a copy


def test_a_guest_program_runs_in_the_host_and_its_result_comes_back(remote: RemoteLab) -> None:
    remote.plug(Edu, configuration=["dma_delay_ms=1"])
    run = remote.run(driver, name="first")
    assert len(run) > 10
    assert "EduResult" in repr(run.value)


def test_a_cell_runs_here_as_the_guest_over_the_hosts_bus(remote: RemoteLab) -> None:
    remote.plug(Edu, configuration=["dma_delay_ms=1"])
    here = []

    def body(guest) -> None:  # type: ignore[no-untyped-def]
        buffer = guest.dma_alloc(4096)
        buffer.write(b"abc")
        here.append((buffer.address, buffer.read(0, 3), guest.request_interrupts(guest["edu"])))

    run = remote.run_cell(body)
    assert here == [(1 << 20, b"abc", [0x20])]
    assert len(run) > 0
    assert remote.run_cell(body).program is not None
    assert here[1][0] == 1 << 20  # what the first had was given back


def test_who_attaches_later_finds_devices_values_rows_and_named_runs(remote: RemoteLab) -> None:
    remote.plug(Edu)
    with remote.record("kept") as run:
        remote["edu"].bar0.LIVENESS.write(5)
    rows = len(remote.trace)
    remote.close()
    began = time.monotonic()
    with attach("lab") as again:
        assert time.monotonic() - began < 1.0
        assert [one.name for one in again] == ["edu"]
        assert int(commands.peek(again, "LIVENESS")) == 0xFFFFFFFA
        assert len(again.trace) == rows
        assert list(again.runs["kept"].frame().index) == list(run.frame().index)


def test_two_clients_see_what_the_other_does(remote: RemoteLab) -> None:
    with attach("lab") as other:
        remote.plug(Edu)
        wait_until(lambda: "edu" in other, "the other hears of it")
        remote["edu"].bar0.LIVENESS.write(5)
        assert int(commands.peek(other, "LIVENESS")) == 0xFFFFFFFA
        assert len(other.trace) == len(remote.trace)
        assert hosts()[0].clients == 2


def test_a_long_request_holds_nobody_up(remote: RemoteLab) -> None:
    remote.plug(Edu)
    began, ended = threading.Event(), []

    def wait() -> None:
        began.set()
        with pytest.raises(BackendError):  # the host ends under it
            remote.connection.call("wait_interrupt", vector=0x30, timeout=60)
        ended.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    began.wait()
    for _ in range(100):
        assert int(commands.peek(remote, "IDENTIFICATION")) == 0x010000ED
    assert not ended
    kill(remote.host)
    waiting.join()


def test_hosts_is_a_table_with_what_is_dead_beside_what_lives(remote: RemoteLab) -> None:
    other = start("other")
    other.plug(Edu)
    kill(other.host)
    (one,) = hosts(dead=False)
    assert (one.name, one.machine, one.clients, one.state) == ("lab", "embedded", 1, "off")
    assert one.pid == remote.host.pid
    text = repr(hosts())
    assert "dead" in text
    assert other.host.trace in text
    assert "<table>" in hosts()._repr_html_()
    other.close()


@pytest.mark.fault(46)
def test_a_killed_host_is_told_of_and_its_trace_is_whole(remote: RemoteLab, capsys: pytest.CaptureFixture[str]) -> None:
    remote.plug(Edu)
    for value in range(100):
        remote["edu"].bar0.LIVENESS.write(value)
    rows = len(remote.trace)
    kill(remote.host)
    wait_until(lambda: not remote.attached, "the connection's end")
    remote.connection.join()
    assert "reads all ones" in capsys.readouterr().err
    with pytest.raises(BackendError, match="is gone"):
        commands.peek(remote, "LIVENESS")
    assert "not attached" in repr(remote)
    assert len(remote.trace) == rows
    with pytest.raises(StateError, match="is dead") as caught:
        attach("lab")
    assert remote.host.trace in str(caught.value)
    trace = open_trace(remote.host.trace)
    assert len(trace) == rows
    assert [info.name for info in trace.devices] == ["edu"]


@pytest.mark.fault(49)
def test_a_dead_hosts_name_is_free_and_its_trace_stays(remote: RemoteLab) -> None:
    remote.mark("the first")
    kill(remote.host)
    with start("lab", lease=60) as second:
        assert len(second.trace) == 0
        assert second.host.trace != remote.host.trace
        assert list(open_trace(remote.host.trace).marks()["text"]) == ["the first"]
        second.shut_down()


def test_shutting_down_ends_the_process_and_leaves_log_and_trace(remote: RemoteLab) -> None:
    remote.plug(Edu)
    rows = len(remote.trace)
    remote.shut_down()
    wait_until(lambda: not remote.host.is_alive, "the host's end")
    record = latest("lab")
    assert record is not None
    assert record.ended == "a client asked for it"
    assert len(open_trace(record.trace)) >= rows  # with Stop and Teardown
    assert "has come" in Path(record.log).read_text()


def test_stop_host_ends_it_whoever_is_attached(remote: RemoteLab) -> None:
    assert stop_host("lab").ended
    with pytest.raises(BackendError, match="has ended"):
        remote.start()


@pytest.mark.fault(49)
def test_a_second_host_of_a_name_is_refused(remote: RemoteLab) -> None:
    with pytest.raises(StateError, match=f"there is a host lab already, process {remote.host.pid};"):
        start("lab")
    assert len(hosts()) == 1


def test_a_trace_directory_that_holds_a_trace_fails_the_start(remote: RemoteLab) -> None:
    with pytest.raises(Exception, match="holds a trace already"):
        start("two", trace=remote.host.trace)
    assert [one.name for one in hosts()] == ["lab"]


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", ".hidden", "x" * 49])
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a host's name"):
        start(name)


def test_a_host_nobody_knows_is_named_with_those_there_are(remote: RemoteLab) -> None:
    with pytest.raises(UsageError, match="no host nope; there is lab"):
        attach("nope")


def test_an_instance_is_refused_with_the_class_to_plug(remote: RemoteLab) -> None:
    with pytest.raises(UsageError, match=r"plug the class: Edu, not Edu\(\)"):
        remote.plug(Edu())


def test_what_a_class_of_a_function_says_is_what_to_do(remote: RemoteLab) -> None:
    class Inner(Edu):
        pass

    with pytest.raises(UsageError, match="defined inside a function"):
        remote.plug(Inner)


def test_power_off_and_on_again(remote: RemoteLab) -> None:
    remote.plug(Edu)
    commands.poke(remote, "LIVENESS=1")
    blink = remote["edu"]
    commands.stop(remote)
    assert not remote.running
    with pytest.raises(StateError, match="the machine is off"):
        commands.read(remote, "LIVENESS")
    commands.start(remote)
    assert remote["edu"] is blink
    assert blink.bar0.LIVENESS.read() == 0
    commands.unplug(remote, "edu")
    assert list(remote) == []
