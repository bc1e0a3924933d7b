"""Ctrl-C while the lab itself works: in a device's lifecycle step, with programs that do not end."""

from __future__ import annotations

import threading

import pytest

from hdvlab import Lab
from hdvlab._core import lib
from hdvlab.errors import StateError
from hdvlab.guest import Guest, program

from ..labs import PATIENCE, wait_for
from .blink import Blink


def pressed(self: Blink, *arguments: object) -> None:
    """What Ctrl-C does to a step that runs on the notebook's thread."""
    raise KeyboardInterrupt


@pytest.mark.fault(52)
@pytest.mark.parametrize("step", ["initialize", "configure", "start"])
@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
def test_ctrl_c_in_a_step_of_the_beginning_ends_the_plugging(lab: Lab, step: str, hot: bool) -> None:
    if hot:
        lab.plug(Blink, name="other")
    with pytest.raises(KeyboardInterrupt):
        lab.plug(type("Slow", (Blink,), {step: pressed}))
    assert "slow" not in lab
    assert lab.running is hot
    assert lab.faults == []
    lab.plug(Blink)
    assert lab["blink"].bar0.CTRL.read() == 0x10


@pytest.mark.fault(52)
@pytest.mark.parametrize("step", ["stop", "teardown"])
def test_ctrl_c_in_a_step_of_the_end_still_ends_in_a_machine_that_is_off(lab: Lab, step: str) -> None:
    lab.start()
    handles = lib.hdvlab_live_handles()
    lab.stop()
    off = lib.hdvlab_live_handles()
    device = type("Slow", (Blink,), {step: pressed})()
    lab.plug(device)
    with pytest.raises(KeyboardInterrupt):
        lab.stop()
    assert not lab.running
    assert lib.hdvlab_live_handles() == off + 1 < handles + 1, "the device's registers alone"
    with pytest.raises(StateError, match="the machine is off already"):
        lab.stop()
    lab.unplug("slow")


def test_a_program_that_python_cannot_interrupt_is_cut_off_and_the_machine_goes_off(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "STOP_GRACE", 0.2)
    inside, go_on = threading.Event(), threading.Lock()
    go_on.acquire()

    after: list[BaseException] = []

    def blocked(guest: Guest) -> None:
        inside.set()
        while not after:
            try:
                with go_on:
                    pass
                guest.bus.ram_read(0, 1)
            except BaseException as error:
                if "no machine any more" in str(error):
                    after.append(error)

    run = lab.run(blocked, wait=False)
    wait_for(inside)
    lab.stop()
    assert "blocked does not stop: it catches everything, or is in a call" in capsys.readouterr().err
    assert not lab.running
    go_on.release()
    assert run.program is not None
    assert run.program.join(PATIENCE)
    assert len(after) == 1
