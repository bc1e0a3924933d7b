"""A guest, a device author and an operator at random, on several threads at once; then the books must balance.

``HDVLAB_FUZZ`` multiplies the number of operations, for longer runs by hand; a failure names its seed.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .register_scaffold import ON_READ, ON_WRITE, RegisterDevice, register
from .scaffold import PLACE, S_OK, SLACK, CallbackDevice, Failure, Machine, Recording, Threads, code, ones, resident

SCALE = int(os.environ.get("HDVLAB_FUZZ", "1"))
OPERATIONS = 2500 * SCALE  # of each guest, in each of the episodes
RAM = 1 << 20
SPREAD = 0x100_0000
GONE = HResult.E_HANDLE
ACCESS = (
    lib.HDVLAB_CONFIG_READ,
    lib.HDVLAB_CONFIG_WRITE,
    lib.HDVLAB_MMIO_READ,
    lib.HDVLAB_MMIO_WRITE,
    lib.HDVLAB_DOORBELL,
)
#: What the books count, and the kinds of row that it is counted in.
BOOKS = {
    "access": ACCESS,
    "dma": (lib.HDVLAB_DMA_READ, lib.HDVLAB_DMA_WRITE),
    "aperture": (lib.HDVLAB_APERTURE_MAP,),
    "section": (lib.HDVLAB_SECTION_MAP,),
    "ring": (lib.HDVLAB_DOORBELL_REGISTER,),
    "unring": (lib.HDVLAB_DOORBELL_UNREGISTER,),
    "teardown": (lib.HDVLAB_TEARDOWN,),
}


def _rows_of(address: int, size: int) -> int:
    """Rows that a load or store leaves: one for each aligned piece outside RAM, one for what is refused as a whole."""
    if size not in (1, 2, 4, 8) or address + size > 1 << 64:
        return 1
    rows = done = 0
    while done < size:
        piece = 1
        while (address + done) % (piece * 2) == 0 and done + piece * 2 <= size:
            piece *= 2
        rows += address + done >= RAM
        done += piece
    return rows


class Author(CallbackDevice):
    """A device whose callbacks do something at random, also what they must not."""

    def __init__(self, machine: Machine, seed: int) -> None:
        super().__init__((0xFFFFC000, 0, 0xFFFF000C, 0xFFFFFFFF, 0xFFFFFF00))
        self._random = random.Random(seed)
        self._machine, self.books = machine, Counter[str]()  # no lock: callbacks come one after the other
        self.read = lambda bar, offset, size: self._anything() & ones(size)
        self.write = lambda bar, offset, size, value: self._anything() and None
        self.config_read = lambda offset: self._anything() & 0xFFFFFFFF
        self.config_write = lambda offset, value: self._anything() and None

    def _anything(self) -> int:
        choose, books = self._random.random(), self.books
        if choose < 0.1:
            books["dma"] += self.dma_write(self._random.randrange(RAM + 64), b"x" * self._random.randrange(40)) != GONE
        elif choose < 0.13:
            self.interrupt(0xFEE0_0000, self._random.randrange(256))
        elif choose < 0.15:
            address = PLACE + self._random.randrange(4) * SPREAD
            books["access"] += self._machine.read(address, wait_ms=1)[0] not in (HResult.ERROR_BUSY, GONE)
        elif choose < 0.16:
            assert code(lib.HdvTeardownDeviceHost(self._machine.host)) in (HResult.ERROR_INVALID_STATE, GONE)
            assert self._machine.stop() in (HResult.ERROR_INVALID_STATE, GONE)
        elif choose < 0.2:
            raise Failure(self._random.choice([HResult.E_FAIL, HResult.E_PENDING, HResult.E_NOTIMPL]))
        return self._random.getrandbits(64)


class Episode:
    """One machine from power on to its end, with three guests and an operator."""

    def __init__(self, recording: Recording | None, seed: int, books: Counter[str]) -> None:
        self.seed, self.total = seed, books
        self.machine = Machine(recording, RAM, record_sections=True)
        self.fds = [os.memfd_create(f"fuzz{i}", os.MFD_ALLOW_SEALING) for i in range(2)]
        for fd in self.fds:
            os.ftruncate(fd, 4 * 4096)
        self.event = os.eventfd(0, os.EFD_NONBLOCK)
        self.over = threading.Event()
        self._lock = threading.Lock()
        self.files: list[RegisterDevice] = []
        self.author = Author(self.machine, seed)
        plain = self._register_device()
        for slot, device in enumerate((self.author, plain)):
            self.machine.create(device)
            self.machine.add_slot(device, slot)
        assert self.machine.start() == S_OK
        self._place(0, books)
        self._place(1, books)

    def _register_device(self) -> RegisterDevice:
        config = {0x40: (0x0003_0011, 0xC000 << 16, 0), 0x44: (0x1000, 0, 0), 0x48: (0x1800, 0, 0)}
        registers = [
            register(0),
            register(8, 8, "w1c"),
            register(16, 2, flags=ON_READ | ON_WRITE),
            register(20, 1, "rc"),
        ]
        self.files.append(RegisterDevice(registers, bars=(8192, 4096), bar_flags=(0, 3), config=config, msix=0x40))
        return self.files[-1]

    def _place(self, slot: int, books: Counter[str]) -> None:
        """Decoding and bus mastering on, BARs in their places."""
        for offset, value in ((0x10, 0), (0x14, 0x10_0000), (0x18, 0x20_0000), (0x20, 0x40_0000)):
            books["access"] += self.machine.config_write(slot, offset, 4, PLACE + slot * SPREAD + value) != GONE
        for offset, value in ((0x1C, 0), (4, 6)):
            books["access"] += self.machine.config_write(slot, offset, 4, value) != GONE

    def guest(self, seed: int) -> None:
        r, books, system, access = random.Random(seed), Counter[str](), self.machine.system, self.machine.access()
        value, dword, pending = ffi.new("uint64_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        config, gone = ffi.new("uint8_t[4096]"), GONE.signed
        for _ in range(OPERATIONS):
            kind = r.random()
            size = r.choice((1, 2, 4, 8)) if r.random() < 0.98 else r.choice((0, 3, 16, 1 << 31))
            address = self._address(r)
            if kind < 0.35:
                hresult = lib.hdvlab_guest_read(system, access, address, size, value)
                books["access"] += _rows_of(address, size) if hresult != gone else 0
                assert hresult >= 0 or hresult == gone or size > 8 or address % (size or 1) or value[0] == ones(size)
            elif kind < 0.7:
                hresult = lib.hdvlab_guest_write(system, access, address, size, r.getrandbits(64) >> r.randrange(64))
                books["access"] += _rows_of(address, size) if hresult != gone else 0
            elif kind < 0.95:
                slot, offset = r.choice((0, 1, 1, 2, 31, 32, 1 << 31)), r.choice((r.randrange(0x60), r.randrange(4100)))
                if r.random() < 0.5:
                    hresult = lib.hdvlab_guest_config_read(system, access, slot, offset, size, dword)
                else:
                    written = r.choice((0, 6, 0xFFFFFFFF, r.getrandbits(32)))
                    if offset < 0x28 and r.random() < 0.8:  # else nothing would ever decode
                        offset += 0x28
                    hresult = lib.hdvlab_guest_config_write(system, access, slot, offset, size & 0xFFFFFFFF, written)
                books["access"] += hresult != gone
            elif kind < 0.97:
                lib.hdvlab_guest_wait_interrupt(system, r.randrange(256), 0, pending)
            elif kind < 0.98:
                lib.hdvlab_guest_config_peek(system, r.randrange(3), config)
            elif kind < 0.99:
                self._place(r.randrange(3), books)
            else:
                lib.hdvlab_guest_ram_write(system, address, min(size, 4096), config)
        with self._lock:
            self.total += books

    def _address(self, r: random.Random) -> int:
        base = r.choice(
            (PLACE, PLACE, PLACE + SPREAD, PLACE + SPREAD, PLACE + 2 * SPREAD, RAM - 16, 0xFEE0_0000, 1 << 64)
        )
        offset = r.choice((r.randrange(0, 64), r.randrange(-16, 16), 0x10_0000, 0x20_0000 + r.randrange(0x1_0010)))
        return (base + offset) % (1 << 64) & ~(7 if r.random() < 0.8 else 0)

    def operator(self, seed: int) -> None:
        r, books = random.Random(seed), Counter[str]()
        open_apertures: list[Any] = []
        while not self.over.is_set():
            device, choose = r.choice(self.machine.devices[:2] + self.machine.devices[-2:]), r.random()
            bar, offset, value = r.choice((0, 0, 0, 2, r.randrange(-1, 7))), r.randrange(64) & ~3, r.randrange(3)
            flags = r.choice((0, 3, 1 << 31, 9))
            if choose < 0.2:
                books["ring"] += device.ring(self.event, bar, offset, value, flags) != GONE
            elif choose < 0.4:
                books["unring"] += device.unring(bar, offset, value, flags) != GONE
            elif choose < 0.5:
                pages = (r.randrange(4), r.randrange(3), r.randrange(4), r.randrange(3))
                books["section"] += device.section(r.choice(self.fds), bar, *pages) != GONE
            elif choose < 0.6:
                device.unsection(bar, r.randrange(4))
            elif choose < 0.65:
                hresult, mapped = device.aperture(r.randrange(RAM + 64), r.randrange(9000), r.random() < 0.5)
                books["aperture"] += hresult != GONE
                if hresult == S_OK:
                    open_apertures.append((device, mapped))
            elif choose < 0.7 and open_apertures:
                device, mapped = open_apertures.pop(r.randrange(len(open_apertures)))
                lib.HdvDestroyGuestMemoryAperture(device.handle, mapped)
            elif choose < 0.8:
                books["dma"] += device.dma_read(r.choice((0, RAM - 8, 1 << 40)), r.randrange(64))[0] != GONE
            elif choose < 0.9:
                r.choice(self.files).raise_vector(r.randrange(6))
            elif choose < 0.95:
                if code(lib.hdvlab_device_enter(device.handle, 1, -1)) == S_OK:
                    books["dma"] += device.dma_write(0, b"entered") != GONE
                    lib.hdvlab_device_leave(device.handle)
            elif choose < 0.97:
                os.ftruncate(self.fds[0], r.randrange(5) * 4096)
                os.ftruncate(self.fds[0], 4 * 4096)
            elif choose < 0.985:
                self.machine.remove_slot(r.choice((1, 2)))
            elif len(self.files) < 20:
                plugged = self._register_device()
                if plugged.create(self.machine.host) == S_OK:
                    self.machine.devices.append(plugged)
                    slot = r.choice((1, 2))
                    if self.machine.add_slot(plugged, slot) == S_OK:
                        self._place(slot, books)
        with self._lock:
            self.total += books

    def run(self) -> None:
        r = random.Random(self.seed)
        ends: list[Callable[[], int]] = [
            self.machine.stop,
            self.machine.teardown,
            lambda: code(lib.hdvlab_system_close(self.machine.system)),
            lambda: self.machine.remove_slot(0),
        ]
        r.shuffle(ends)
        try:
            with Threads() as threads:
                guests = [threads.start(self.guest, self.seed * 100 + number) for number in range(3)]
                threads.start(self.operator, self.seed * 100 + 99)
                try:
                    guests[0].join()  # the others and the operator go on while the machine ends
                    for end in ends[: r.randrange(1, 4)]:
                        end()
                    for guest in guests:
                        guest.join()
                finally:
                    self.over.set()
        finally:
            self.machine.close()
            for file in self.files:
                assert file.close() == S_OK
            for fd in (*self.fds, self.event):
                os.close(fd)
        self.total += self.author.books
        for device in self.machine.devices:
            self.total["teardown"] += device.names().count("teardown")
            assert device.names().count("teardown") == 1, "exactly one Teardown for each device"
            assert device.names()[-1] == "teardown", "nothing after it"


@pytest.mark.fault(19)
@pytest.mark.fault(41)
@pytest.mark.parametrize("seed", range(1, 5))
def test_whatever_happens_every_access_is_one_finished_row(recording: Recording, seed: int) -> None:
    books: Counter[str] = Counter()
    for number in range(2):
        Episode(recording, seed * 10 + number, books).run()
    kinds, statuses = recording.column("kind"), recording.column("status")
    state = ffi.new("HDVLAB_TRACE_STATE *")
    assert code(lib.hdvlab_trace_state(recording.handle, state)) == S_OK
    assert (state.lost, state.stopped, state.reserved) == (0, 0, len(recording))
    assert not (kinds == 0).any()
    assert not (statuses == HResult.E_PENDING.signed).any(), "an access that was never answered"
    counted = {name: int(sum((kinds == kind).sum() for kind in rows)) for name, rows in BOOKS.items()}
    assert counted == {name: books[name] for name in BOOKS}
    mapped = [int((kinds == kind).sum()) for kind in (lib.HDVLAB_APERTURE_MAP, lib.HDVLAB_SECTION_MAP)]
    assert min(mapped) > 0
    causes = recording.column("cause")
    assert (causes < range(len(causes))).all(), "a cause comes before what it caused"
    assert (causes >= -1).all()


@pytest.mark.fault(20)
def test_whatever_happens_memory_stays_flat() -> None:
    def run(seed: int) -> None:
        Episode(None, seed, Counter()).run()

    for seed in range(2):
        run(seed)
    before = resident()
    for seed in range(2, 4):
        run(seed)
    assert resident() - before < 4 * SLACK
