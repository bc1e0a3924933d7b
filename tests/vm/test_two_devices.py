"""Two devices in one VM with two CPUs, both accessed at once: every access is a row, once, whole, and in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.analysis.agreement import df_accesses
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.guest_c import compile_guest_program, run_guest_program
from hdvlab.trace.schema import Kind, Origin

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm

ROUNDS = 1000

#: Two threads, each with a CPU and a device of its own, begin together. In each round: a number is written into a plain
#: register and read back, then a register with code behind it is told to add, and asked.
PROGRAM = """
#define _GNU_SOURCE
#include <hdvlab_guest.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLAIN = 0x00, SUM = 0x08, WIDE = 0x10 };
static pthread_barrier_t both;
static int rounds;

static void *drive(void *name)
{
    HdvlabFunction *function;
    cpu_set_t one;
    long wrong = 0;
    CPU_ZERO(&one);
    CPU_SET(((char *)name)[0] == 'b', &one);
    if (sched_setaffinity(0, sizeof one, &one) || hdvlab_open_at(&function, name)) {
        exit(1);
    }
    pthread_barrier_wait(&both);
    uint32_t sum = 0;
    for (int i = 1; i <= rounds; i++) {
        hdvlab_write32(function, 0, PLAIN, (uint32_t)i);
        wrong += hdvlab_read32(function, 0, PLAIN) != (uint32_t)i;
        hdvlab_write32(function, 0, SUM, (uint32_t)i);
        sum += (uint32_t)i;
        hdvlab_write64(function, 0, WIDE, (uint64_t)i << 32 | sum);
        wrong += hdvlab_read64(function, 0, WIDE) != ((uint64_t)i << 32 | sum);
        wrong += hdvlab_read32(function, 0, SUM) != sum;
    }
    hdvlab_close(function);
    return (void *)wrong;
}

int main(int count, char **arguments)
{
    pthread_t threads[2];
    void *wrong[2];
    rounds = count > 1 ? atoi(arguments[1]) : 1;
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&threads[0], NULL, drive, "a");
    pthread_create(&threads[1], NULL, drive, "b");
    pthread_join(threads[0], &wrong[0]);
    pthread_join(threads[1], &wrong[1]);
    printf("%ld %ld\\n", (long)wrong[0], (long)wrong[1]);
    return 0;
}
"""


class Sums(Bar, size=4096):
    PLAIN = Register(0x00)
    SUM = Register(0x08)
    WIDE = Register(0x10, 64)


class Adder(Device):
    vendor_id, device_id = 0x1234, 0x0061
    bar0: Any = Sums

    def start(self) -> None:
        self.sum = 0

    @Sums.SUM.on_write
    def add(self, value: int) -> None:
        self.sum += value

    @Sums.SUM.on_read
    def total(self) -> int:
        return self.sum & 0xFFFFFFFF


def expected() -> list[tuple[str, int, int, int]]:
    """Operation, offset, width and value of one device's accesses."""
    told: list[tuple[str, int, int, int]] = []
    total = 0
    for i in range(1, ROUNDS + 1):
        total += i
        wide = i << 32 | total
        told += [("write", 0, 4, i), ("read", 0, 4, i), ("write", 8, 4, i)]
        told += [("write", 0x10, 8, wide), ("read", 0x10, 8, wide), ("read", 8, 4, total)]
    return told


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(machine="vm") as made:
        made.plug(Adder, name="a")
        made.plug(Adder, name="b")
        yield made


@pytest.mark.usefixtures("installation")
def test_two_devices_driven_at_once_by_two_cpus_lose_and_mix_nothing(lab: Lab) -> None:
    vm = lab.boot(VmOptions(cpus=2))
    program = compile_guest_program(PROGRAM, "two_devices")
    assert program.warnings == ""
    places = {name: f"0000:{lab[name].address}" for name in "ab"}
    with lab.record() as run:
        done = run_guest_program(vm.agent, program, [str(ROUNDS)], devices=places, timeout=120)
    assert (done.status, done.output) == (0, b"0 0\n")
    rows = run.frame()
    assert not rows.attrs["lost"]
    assert not rows.attrs["pending"]
    told = expected()
    for name in "ab":
        got = df_accesses(rows, lab[name].index)
        assert list(got[["operation", "offset", "size", "value"]].itertuples(index=False, name=None)) == told
    mmio = rows[rows["kind"].isin([Kind.mmio_read.name, Kind.mmio_write.name])]
    assert len(mmio) == 2 * len(told)
    assert (mmio["origin"] == Origin.guest.name).all()
    assert (mmio["status"] == 0).all()
    assert (mmio["bar"] == 0).all()
    # They did run at once, and each device's own rows are in the order of time.
    assert np.count_nonzero(np.diff(mmio["device"].to_numpy().astype(int))) > 2
    for name in "ab":
        assert (np.diff(mmio["t_ns"][mmio["device"] == lab[name].index]) >= 0).all()
    assert lab["a"].device.sum == lab["b"].device.sum == ROUNDS * (ROUNDS + 1) // 2
    assert all(not one.device.faults for one in lab)
