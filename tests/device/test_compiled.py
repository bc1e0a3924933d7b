"""Devices in C: loaded, checked, driven as Python's are, unloaded."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hdvlab import Device, Lab
from hdvlab._core.where import compile_flags
from hdvlab.device import CannotPeekError, CompiledDevice, Pluggable
from hdvlab.device.compiler import CompileError, compile_source, find_compiler
from hdvlab.device.work import DeviceLock
from hdvlab.devices.edu import Edu
from hdvlab.errors import (
    AccessWarning,
    BackendUnavailableError,
    DeviceError,
    HdvError,
    HResult,
    StateError,
    UsageError,
)
from hdvlab.trace.open import open_trace
from hdvlab.trace.schema import E_PENDING

from ..c.building import needed
from ..c_devices import BLINK, blink
from ..labs import wait_for


def mapped(word: str) -> list[str]:
    """Names of the files mapped into this process that contain a word."""
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if word in line})


# ---- as any device -------------------------------------------------------------------------------------------------


def test_both_kinds_of_devices_are_pluggable() -> None:
    assert isinstance(CompiledDevice(blink()), Pluggable)
    assert isinstance(Edu(), Pluggable)
    assert not isinstance(3, Pluggable)


def test_it_is_described_by_its_own_data() -> None:
    device = CompiledDevice(blink())
    assert (device.type_name, device.vendor_id, device.device_id) == ("blink", 0x1234, 0x0001)
    bar = device.description.bars[0]
    assert (bar.bar_size, bar.bits, bar.prefetchable) == (4096, 32, False)
    ctrl, count = bar.map
    assert (ctrl.name, ctrl.offset, ctrl.width, ctrl.access, ctrl.doc) == ("CTRL", 0, 32, "rw", "switches it on")
    assert [(f.name, f.lsb, f.width, f.meanings) for f in ctrl.fields.values()] == [
        ("EN", 0, 1, {}), ("RATE", 1, 4, {}), ("MODE", 8, 1, {0: "slow", 1: "fast"})
    ]  # fmt: skip
    assert (count.name, count.access, count.doc, count.fields) == ("COUNT", "ro", "", {})


def test_it_is_driven_and_its_rows_have_names(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink()))
    assert repr(plugged) == "<blink at 00:01.0, 1234:0001, on>"
    plugged.bar0.CTRL.write(3)
    assert plugged.bar0.COUNT.read() == 1
    assert plugged.poke(0, 0, 4, 0x101) == 0
    assert plugged.peek(0, 4, 4) == 2
    with pytest.warns(AccessWarning, match="the register is read-only"):
        plugged.bar0.COUNT.write(1)
    frame = lab.trace.frame(decode=True)
    frame = frame[frame["kind"].isin(["mmio_read", "mmio_write"])]
    assert list(frame["register"]) == ["CTRL", "COUNT", "CTRL", "COUNT"]
    assert list(frame["fields"])[::2] == ["EN=1 RATE=1 MODE=slow", "EN=1 RATE=0 MODE=fast"]
    assert list(frame["status"]) == [0, 0, 0, HResult.E_ACCESSDENIED.signed]
    assert set(frame["name"]) == {"blink"}
    assert lab.faults == []


def test_its_registers_are_a_frame_and_lspci_lists_it(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink()))
    plugged.bar0.CTRL.write(0x1F)
    frame = plugged.registers()
    assert list(frame["value"]) == [0x1F, 1]
    assert frame["fields"][0] == "EN=1 RATE=0xf MODE=slow"
    text = plugged.lspci(1)
    assert "1234:0001" in text
    assert "[size=4K]" in text


def test_configuration_reaches_it(lab: Lab) -> None:
    assert lab.plug(CompiledDevice(blink()), configuration=["e=1"]).peek(0, 4, 4) == 4


def test_power_off_and_on_makes_a_new_instance_at_its_reset_values(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink()))
    plugged.bar0.CTRL.write(1)
    lab.stop()
    with pytest.raises(StateError, match="the machine is off"):
        plugged.peek(0, 4, 4)
    lab.start()
    assert plugged.peek(0, 4, 4) == 0


def test_two_devices_of_one_file_do_not_know_of_each_other(lab: Lab) -> None:
    one, two = (lab.plug(CompiledDevice(blink()), name=name) for name in ("one", "two"))
    one.bar0.CTRL.write(1)
    assert (one.peek(0, 4, 4), two.peek(0, 4, 4)) == (1, 0)
    with pytest.raises(StateError, match="is plugged in already; load it once more"):
        lab.plug(one.device, name="three")


def test_c_and_python_devices_share_a_machine(lab: Lab) -> None:
    lab.plug(Edu)
    lab.plug(CompiledDevice(blink()))
    lab["edu"].bar0.LIVENESS.write(1)
    lab["blink"].bar0.CTRL.write(1)
    frame = lab.trace.frame(decode=True)
    assert list(frame[frame["kind"] == "mmio_write"]["name"]) == ["edu", "blink"]


def test_an_unplugged_one_is_unloaded_and_its_file_may_have_changed_meanwhile(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "changing.so"
    shutil.copyfile(blink(), path)
    lab.plug(CompiledDevice(path))
    assert len(mapped("changing-")) == 1
    path.write_bytes(b"\x7fELF" + bytes(5000))  # as a compiler does that writes over it
    lab["blink"].bar0.CTRL.write(1)
    assert lab["blink"].peek(0, 4, 4) == 1
    lab.unplug("blink")
    gc.collect()
    assert mapped("changing-") == []


def test_one_that_nobody_knows_any_more_stays_loaded_until_its_teardown(tmp_path: Path) -> None:
    path = tmp_path / "forgotten.so"
    shutil.copyfile(blink(), path)
    lab = Lab()
    lab.plug(CompiledDevice(path))
    one = lab._plugged.pop("blink")  # a lab that lost it
    handle = one.handle
    del one
    gc.collect()
    assert len(mapped("forgotten-")) == 1
    assert lab.machine.device_access(handle, False, 0, 4, 4, 0, 1)[1] == 0
    lab.close()


def test_swapping_again_and_again_leaves_nothing_behind(lab: Lab) -> None:
    lab.plug(CompiledDevice(blink()))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        lab.plug(CompiledDevice(blink()))
    gc.collect()
    assert len(mapped("blink-")) == 1
    assert len(os.listdir("/proc/self/fd")) == before


# ---- looking -------------------------------------------------------------------------------------------------------


def test_one_without_a_peek_says_that_there_is_none(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink("-DNO_PEEK")))
    with pytest.raises(CannotPeekError, match="HDV has no such call; give its HdvlabDevice a Peek function") as error:
        plugged.peek(0, 0, 4)
    assert error.value.hresult == HResult.E_NOTIMPL
    assert plugged.registers()["value"].isna().all()
    plugged.bar0.CTRL.write(1)
    assert plugged.bar0.COUNT.read() == 1


def test_a_peek_outside_of_what_there_is_is_refused(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink()))
    with pytest.raises(HdvError, match="no register there") as error:
        plugged.peek(0, 8, 4)
    assert error.value.hresult == HResult.ERROR_NOT_FOUND
    for bar, offset, size in ((0, 4096, 4), (1, 0, 4), (0, 4094, 4), (0, 0, 3)):
        with pytest.raises(HdvError) as error:
            plugged.peek(bar, offset, size)
        assert error.value.hresult == HResult.E_INVALIDARG
    assert len(lab.trace.frame().query("kind == 'mmio_read'")) == 0


def test_one_without_a_description_is_asked_itself(lab: Lab) -> None:
    device = CompiledDevice(blink("-DNO_INFO"))
    assert (device.vendor_id, dict(device.description.bars)) == (0, {})
    plugged = lab.plug(device)
    assert plugged.bar0.read(4) == 0
    assert repr(plugged) == "<blink at 00:01.0, 1234:0001, on>"
    assert list(lab.trace.frame(decode=True)["register"])[-1] == ""
    assert "[size=4K]" in plugged.lspci(1)
    assert len(plugged.registers()) == 0


# ---- what is wrong with a library is said --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("-DHdvlabPlugDevice=plug", "exports no HdvlabPlugDevice; include hdvlab_device.h and define it"),
        ("-DWRONG_VERSION", "HdvlabDevice has version 99 and 88 bytes, this hdvlab reads version 1 with 88; begin it "
         "with HDVLAB_DEVICE_HEAD and compile it again"),
        ("-DMEANING_FIRST", "HdvlabDevice contradicts itself: meaning 'slow' stands before the first HDVLAB_FIELD"),
        ("-DUNDEFINED", "cannot be loaded: undefined symbol: nobody_has_this; define it, or name the library"),
        ("-DCRASHES_AT_LOAD", "crashes when it is loaded (SIGSEGV); look at its constructors"),
        ("-DEXITS_AT_LOAD", "ends the process that loads it (exit code 3); look at its constructors"),
    ],
)  # fmt: skip
def test_a_defective_library_is_refused_with_what_to_do(flag: str, said: str) -> None:
    with pytest.raises(DeviceError) as error:
        CompiledDevice(blink(flag))
    assert said in str(error.value)
    assert str(blink(flag)) in str(error.value)


def test_one_that_was_not_linked_to_the_library_is_told_how(tmp_path: Path) -> None:
    source, target = tmp_path / "blink.c", tmp_path / "unlinked.so"
    source.write_text(BLINK, "utf-8")
    subprocess.run([find_compiler(), "-shared", "-fPIC", *compile_flags(), source, "-o", target], check=True)
    with pytest.raises(DeviceError, match="symbol: HdvCreateDeviceInstance; link hdvlab's library: cc -shared"):
        CompiledDevice(target)


def test_what_is_no_library_or_not_there_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library", "utf-8")
    with pytest.raises(DeviceError, match=r"text.so is no shared object \(ELF\); compile it as one: cc -shared"):
        CompiledDevice(text)
    text.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(DeviceError, match="text.so cannot be loaded: .*; compile it again"):
        CompiledDevice(text)
    with pytest.raises(UsageError, match="no file .*nothing.so; compile the device first"):
        CompiledDevice(tmp_path / "nothing.so")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("-DMAKES_NOTHING", "it returned S_OK but no device; hand on what HdvCreateDeviceInstance gave"),
        ("-DOTHER_INSTANCE", "its instance has another id; pass on the instanceId it is given"),
        ("-DREFUSES", r"the device's own code answered that \(E_ACCESSDENIED\)"),
        ("-DFAILS_TO_INITIALIZE", "not plugged in, because its Initialize answered E_FAIL"),
        ("-DOTHER_BAR", "is described with bar0 of 0x1000 bytes, but its GetDetails has bar0 of 0x2000 bytes"),
    ],
)
def test_one_that_cannot_be_plugged_in_is_out_and_the_lab_goes_on(lab: Lab, flag: str, said: str) -> None:
    with pytest.raises(HdvError, match=said):
        lab.plug(CompiledDevice(blink(flag)))
    assert list(lab) == []
    lab.plug(CompiledDevice(blink())).bar0.CTRL.write(1)
    with pytest.raises(HdvError, match=said):
        lab.plug(CompiledDevice(blink(flag)), name="second")
    assert lab["blink"].peek(0, 4, 4) == 1


# ---- compiling -----------------------------------------------------------------------------------------------------


def test_the_compilers_lines_are_the_error() -> None:
    with pytest.raises(CompileError) as error:
        compile_source("\nint x = ;\n", "broken")
    assert "broken.c:2:9: error:" in str(error.value)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BackendUnavailableError, match="no C compiler here; install one .*apt install gcc"):
        compile_source("int x;")
    monkeypatch.setenv("CC", "tcc")
    with pytest.raises(BackendUnavailableError, match="no compiler tcc here"):
        compile_source("int x;")


def test_a_device_may_be_cplusplus(lab: Lab) -> None:
    needed("g++", "g++")
    source = BLINK.replace("struct blink *b = context", "struct blink *b = (struct blink *)context")
    source = source.replace("struct blink *mine = calloc", "struct blink *mine = (struct blink *)calloc")
    made = compile_source(source, ending=".cc", cc="g++", flags=["-std=c++17", "-fvisibility=hidden"])
    assert made.warnings == ""
    assert lab.plug(CompiledDevice(made.library)).bar0.COUNT.read() == 0


# ---- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.fault(56)
def test_a_crash_in_c_ends_the_process_and_the_trace_is_whole_up_to_there(tmp_path: Path) -> None:
    code = (
        "import sys; from hdvlab import Lab; from hdvlab.device import CompiledDevice\n"
        "lab = Lab(trace=sys.argv[2]); one = lab.plug(CompiledDevice(sys.argv[1]))\n"
        "for value in (1, 3, 0xDEAD): one.bar0.CTRL.write(value)\n"
    )
    path = tmp_path / "trace"
    done = subprocess.run([sys.executable, "-c", code, str(blink("-DCRASHES")), str(path)], check=False)
    assert done.returncode == -11
    frame = open_trace(path).frame(decode=True)
    writes = frame[frame["kind"] == "mmio_write"]
    assert list(writes["value"]) == [1, 3, 0xDEAD]
    assert list(writes["status"]) == [0, 0, E_PENDING]  # the last one was never answered
    assert list(writes["register"]) == ["CTRL"] * 3
    assert writes.index[-1] == frame.index[-1]
    assert frame.attrs["pending"] == 1


def test_a_subclass_of_device_is_not_disturbed_by_the_protocol() -> None:
    class Other(Edu):
        name_of_mine = "x"

    assert Other().type_name == "Other"
    assert issubclass(Other, Device)


def test_a_peek_at_a_device_that_does_not_return_says_so(lab: Lab) -> None:
    plugged = lab.plug(CompiledDevice(blink()))
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with DeviceLock(plugged.handle):
            held.set()
            go_on.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        wait_for(held)
        with pytest.raises(HdvError, match="one of its callbacks does not return"):
            plugged.peek(0, 0, 4)
    finally:
        go_on.set()
        thread.join()
    assert plugged.peek(0, 0, 4) == 0
    with pytest.raises(HdvError, match="no register there"):
        plugged.peek(0, 8, 4)
