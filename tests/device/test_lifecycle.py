"""A device's life: the order of its steps, and a step that fails."""

from __future__ import annotations

import gc
import uuid
import weakref

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessWarning, DeviceError, HdvError, HResult, StateError, UsageError
from hdvlab.hdv import DeviceHost
from hdvlab.systems import EmbeddedMachine


class Living(Device):
    vendor_id, device_id = 0x1234, 16
    fail_in = ""

    class bar0(Bar):
        CTRL = Register(0x00, reset=3)

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.fail_in == name:
            raise RuntimeError(f"{name} goes wrong")

    def initialize(self) -> None:
        self.step("initialize")

    def configure(self, configuration: dict[str, str]) -> None:
        self.step("configure")

    def start(self) -> None:
        self.step("start")

    def stop(self) -> None:
        self.step("stop")

    def teardown(self) -> None:
        self.step("teardown")


STEPS = ["initialize", "configure", "start", "stop", "teardown"]
KINDS = ["initialize", "set_configuration", "get_details", "start", "stop", "teardown"]


def failing(step: str) -> Living:
    device = Living()
    device.fail_in = step
    return device


def lifecycle_rows(lab: Lab) -> list[str]:
    return [kind for kind in lab.trace.frame()["kind"] if kind in KINDS]


def test_the_steps_come_in_the_documented_order_each_a_row(lab: Lab) -> None:
    device = Living()
    lab.plug(device)
    assert device.steps == STEPS[:3]
    lab.stop()
    assert device.steps == STEPS
    assert lifecycle_rows(lab) == KINDS


def test_all_devices_are_initialized_before_the_first_is_started_and_stopped_before_one_is_torn_down(lab: Lab) -> None:
    lab.plug(Living, name="one")
    lab.plug(Living, name="other")
    lab.stop()
    rows = len(lab.trace)
    lab.start()
    lab.stop()
    frame = lab.trace[rows:].frame()
    steps = frame[frame["kind"].isin(["initialize", "start", "stop", "teardown"])]["kind"]
    assert list(steps) == ["initialize"] * 2 + ["start"] * 2 + ["stop"] * 2 + ["teardown"] * 2


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    ("step", "operation"),
    [("initialize", "Initialize"), ("configure", "SetConfiguration"), ("start", "Start")],
)
@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
def test_a_step_that_fails_fails_the_plugging_and_leaves_no_half_device(
    lab: Lab, step: str, operation: str, hot: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if hot:
        lab.plug(Living, name="other")
    device = failing(step)
    with pytest.raises(DeviceError) as caught:
        lab.plug(device)
    assert caught.value.hresult == HResult.E_UNEXPECTED
    assert "living" not in lab
    assert lab.running is hot
    assert device.steps[: STEPS.index(step) + 1] == STEPS[: STEPS.index(step) + 1]
    assert device.steps[-1] == "teardown", "what it took in its first steps it may give back"
    [fault] = device.faults
    assert (fault.operation, str(fault.error)) == (operation, f"{step} goes wrong")
    told = capsys.readouterr().err
    assert "the device stays off" in told
    assert f"living: {operation} failed: RuntimeError: {step} goes wrong" in told
    frame = lab.trace.frame()
    assert frame["status"][fault.cause] == HResult.E_UNEXPECTED.signed

    device.fail_in = ""
    lab.plug(device)
    assert lab["living"].bar0.CTRL.read() == 3, "the same object and its slot can be used again"


@pytest.mark.parametrize("step", ["stop", "teardown"])
def test_a_step_of_the_end_that_fails_is_a_fault_and_the_end_goes_on(lab: Lab, step: str) -> None:
    device = failing(step)
    lab.plug(device)
    lab.plug(Living, name="other")
    lab.stop()
    assert device.steps == STEPS
    assert [str(fault.error) for fault in lab.faults] == [f"{step} goes wrong"]
    assert not lab.running
    lab.start()
    lab.stop()
    assert lab.faults[0].count == 2


@pytest.mark.fault(42)
def test_a_device_that_fails_the_power_on_takes_the_others_down_in_order(lab: Lab) -> None:
    good, bad = Living(), Living()
    lab.plug(good, name="good")
    lab.plug(bad, name="bad")
    lab.stop()
    bad.fail_in = "start"
    with pytest.raises(DeviceError):
        lab.start()
    assert not lab.running
    assert good.steps[-5:] == STEPS
    bad.fail_in = ""
    lab.start()
    assert lab["good"].bar0.CTRL.read() == 3


@pytest.mark.fault(42)
def test_power_in_the_wrong_order_is_refused_with_the_state(lab: Lab) -> None:
    with pytest.raises(StateError, match="the machine is off already"):
        lab.stop()
    lab.start()
    with pytest.raises(StateError, match="the machine is on already"):
        lab.start()


@pytest.mark.fault(42)
def test_an_access_between_stop_and_start_is_told_that_the_machine_is_off(lab: Lab) -> None:
    register = lab.plug(Living).bar0.CTRL
    lab.stop()
    for use in (register.read, lambda: register.write(1), lambda: lab["living"].poke(0, 0, 4, 1),
                lambda: lab["living"].bar0, lambda: lab.machine, lambda: lab["living"].lspci()):  # fmt: skip
        with pytest.raises(StateError, match="the machine is off; start it"):
            use()
    assert lab["living"].peek(0, 0, 4) == 3, "looking works"


@pytest.mark.fault(19)
def test_registers_answer_while_the_device_starts_and_nothing_is_lost(lab: Lab) -> None:
    class Eager(Living):
        def start(self) -> None:
            self.bar0.CTRL = 77

        def initialize(self) -> None:
            assert self.bar0.CTRL == 3

    assert lab.plug(Eager).bar0.CTRL.read() == 77


@pytest.mark.fault(39)
def test_a_handler_may_not_end_the_machine_it_runs_in(lab: Lab) -> None:
    class Suicidal(Living):
        @Living.bar0.CTRL.on_write
        def ctrl(self, value: int) -> None:
            lab.stop()

    lab.plug(Suicidal)
    with pytest.warns(AccessWarning):
        lab["suicidal"].bar0.CTRL.write(1)
    [fault] = lab.faults
    assert isinstance(fault.error, StateError)
    assert "this is a callback of one of its devices" in str(fault.error)
    assert lab.running
    assert lab["suicidal"].bar0.CTRL.read() == 3


@pytest.mark.fault(43)
def test_one_object_can_be_in_one_place_at_a_time(lab: Lab) -> None:
    device = Living()
    lab.plug(device, name="one")
    with pytest.raises(StateError, match=r"one is plugged in already; make another one: Living\(\)"):
        lab.plug(device, name="two")
    assert "two" not in lab
    assert lab["one"].bar0.CTRL.read() == 3
    lab.unplug("one")
    lab.plug(device, name="two")


@pytest.mark.fault(40)
def test_a_device_that_everybody_forgot_lives_until_its_teardown() -> None:
    """The library has a pointer to it; its last callback must not find freed memory."""
    steps: list[str] = []

    class Forgotten(Living):
        def teardown(self) -> None:
            steps.append("teardown")

    machine = EmbeddedMachine(1 << 20)
    host = DeviceHost(machine.handle)
    device: Device | None = Forgotten()
    device.attach(host, uuid.uuid4(), "forgotten", lambda fault: None)
    alive = weakref.ref(device)
    device = None
    gc.collect()
    host.teardown()
    machine.close()
    assert steps == ["teardown"]
    gc.collect()
    assert alive() is None


# ---- configuration strings -----------------------------------------------------------------------------------------


class Configured(Living):
    def configure(self, configuration: dict[str, str]) -> None:
        self.seen = dict(configuration)


def test_configuration_strings_arrive_as_keys_and_values(lab: Lab) -> None:
    texts = ["rate=5", "flag", "path=a=b", "empty=", "ünï=✓𝄞", ""]
    device = lab.plug(Configured, configuration=texts).device
    want = {"rate": "5", "flag": "", "path": "a=b", "empty": "", "ünï": "✓𝄞", "": ""}
    assert device.configuration == want
    assert device.seen == want
    frame = lab.trace.frame()
    assert list(frame[frame["kind"] == "set_configuration"]["value"]) == [6]


def test_configuration_comes_again_with_the_power(lab: Lab) -> None:
    device = lab.plug(Configured, configuration=["rate=5"]).device
    device.seen = {}
    lab.stop()
    lab.start()
    assert device.seen == {"rate": "5"}


@pytest.mark.parametrize("given", ["rate=5", [5], ["a\0b"], [None], [b"rate=5"]], ids=repr)
def test_configuration_that_is_no_list_of_texts_is_refused_with_an_example(lab: Lab, given: list[str]) -> None:
    """A single text would be taken letter by letter."""
    with pytest.raises(UsageError, match="configuration is a list of texts"):
        lab.plug(Configured, configuration=given)
    assert "configured" not in lab


def test_a_lone_surrogate_passes_through_as_windows_lets_it(lab: Lab) -> None:
    assert lab.plug(Configured, configuration=["a=\ud800"]).device.configuration == {"a": "\ud800"}


def test_the_error_of_a_failed_plugging_is_the_devices_own(lab: Lab) -> None:
    class Refusing(Living):
        def configure(self, configuration: dict[str, str]) -> None:
            raise HdvError("no such rate", HResult.E_INVALIDARG)

    with pytest.raises(HdvError) as caught:
        lab.plug(Refusing)
    assert caught.value.hresult == HResult.E_INVALIDARG
