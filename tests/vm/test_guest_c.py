"""Drivers in C in a real guest, on QEMU's own edu: hdvlab's device has no part in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hdvlab.devices.edu
from hdvlab.systems.qemu.agent import Agent, Completed
from hdvlab.systems.qemu.guest_c import compile_guest_program, run_guest_program
from hdvlab.systems.qemu.setup import Installation

from .bare_vm import BOOT, BareVm

pytestmark = pytest.mark.vm

EDU_DRIVER = Path(hdvlab.devices.edu.__file__).with_name("driver.c")
PLACE = "0000:00:08.0"
_DEVICES = ["edu,addr=08.0", "pci-testdev,addr=09.0", "pcie-root-port,chassis=1,addr=0a.0"]

CASES = Path(__file__).with_name("guest_cases.c")


@pytest.fixture(scope="module")
def agent(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with BareVm(installation, tmp_path_factory.mktemp("vm"), _DEVICES) as vm:
        yield vm.agent


def run(agent: Agent, case: str, argument: str = "", devices: dict[str, str] | None = None) -> Completed:
    program = compile_guest_program(CASES.read_text(), "guest_cases")
    assert program.warnings == ""
    return run_guest_program(agent, program, [case, argument], timeout=BOOT, devices=devices)


@pytest.mark.parametrize("interrupt", ["msi", "intx", "auto"])
def test_edus_driver_goes_through_all_that_edu_can_do(agent: Agent, interrupt: str) -> None:
    done = run_guest_program(
        agent, compile_guest_program(EDU_DRIVER.read_text(), "driver"), [interrupt, "12"], timeout=BOOT
    )
    assert done.output.decode().splitlines() == [
        f"edu 1.0 at {PLACE}",
        "12! = 479001600 modulo 2^32",
        "256 bytes went to the device and came back",
    ]
    assert done.status == 0


@pytest.mark.parametrize("place", [PLACE, "00:08.0", "mine"])
def test_a_function_is_opened_by_place_and_by_the_labs_name(agent: Agent, place: str) -> None:
    assert run(agent, "place", place, {"mine": PLACE}).output == b"11e81234 10000ed"


@pytest.mark.parametrize(
    ("case", "argument", "said"),
    [
        ("nobody", "", "no function has the ids 1234:9999; lspci shows what is there"),
        ("place", "his", '"his" is no place such as 00:03.0, and no device of the lab'),
        ("place", "00:1c.0", "there is no function at 0000:00:1c.0 that this program may use"),
        ("outside", "", f"BAR0+0xffffe/4 is outside: {PLACE} has 1048576 bytes there"),
        ("no_bar", "", f"BAR2+0x0/4 is outside: {PLACE} has no memory BAR"),
        ("no_msix", "", f"{PLACE} has no MSI-X capability"),
        ("no_pin", "", "0000:00:09.0 has no INTx pin"),
        ("not_on", "", f"vector 0 of {PLACE} is not on; hdvlab_interrupt_enable first"),
        ("too_big", "", "DMA memory of 2097153 bytes: 1 to 2 MiB can be had"),
        ("twice", "", f"another program has {PLACE}; end it"),
    ],
)
def test_a_mistake_is_a_line_that_says_what_to_do(agent: Agent, case: str, argument: str, said: str) -> None:
    done = run(agent, case, argument)
    assert done.status in (1, 2)
    assert done.output.decode().startswith(f"hdvlab: {said}")


def test_a_kernel_drivers_device_is_not_taken_from_it(agent: Agent) -> None:
    driver, place = "pcieport", "0000:00:0a.0"
    advice = f"echo {place} > /sys/bus/pci/drivers/{driver}/unbind"
    assert f"the kernel's driver {driver} has {place}: {advice}" in run(agent, "place", place).output.decode()


@pytest.mark.parametrize("kind", ["msi", "intx"])
def test_an_interrupt_that_does_not_come_is_a_timeout_and_two_may_become_one(agent: Agent, kind: str) -> None:
    assert run(agent, "interrupts", kind).output == b"010"


def test_dma_memory_is_contiguous_zeroed_and_where_it_says(agent: Agent) -> None:
    done = run(agent, "dma")
    assert done.output.decode().splitlines()[-1] == "through the device"
    assert done.status == 0


def test_a_program_that_is_killed_leaves_the_device_quiet_and_free(agent: Agent) -> None:
    crashed = run(agent, "crash")
    assert (crashed.status, crashed.output) == (139, b"1\n")
    # The function can be taken once the device is quiet.
    assert run(agent, "place", PLACE).status == 0
    command = agent.run(f"od -An -tx2 -j4 -N2 /sys/bus/pci/devices/{PLACE}/config")
    assert int(command.output, 16) & 4 == 0
    assert agent.run("ps | grep '[h]dvlab-'").output == b""


def test_a_changed_program_goes_over_as_its_difference_and_does_the_new_thing(agent: Agent) -> None:
    sent: list[int] = []

    class Counting:
        """The agent, and how much it was given."""

        def run(self, command: str, *, stdin: bytes = b"", **settings: object) -> Completed:
            sent.append(len(stdin))
            return agent.run(command, stdin=stdin, **settings)  # type: ignore[arg-type]

    source = CASES.read_text()
    for text in ("through the device", "another way round "):
        program = compile_guest_program(source.replace("through the device", text), "guest_cases")
        done = run_guest_program(Counting(), program, ["dma", ""], timeout=BOOT)
        assert done.output.decode().splitlines()[-1] == text
    assert 0 < max(sent[-3:]) < len(program.path.read_bytes()) // 10
