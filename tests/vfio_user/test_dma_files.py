"""Guest RAM comes as many regions of few files: each file is held and mapped once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice
from .client import Client, memory
from .served import descriptors, descriptors_become

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def ram() -> Iterator[int]:
    fd = memory(2 * MIB)
    yield fd
    os.close(fd)


def test_one_file_is_held_once_however_many_regions_it_has(client: Client, ram: int) -> None:
    before = descriptors()
    for i in range(64):
        client.dma_map(2 * i * PAGE, PAGE, ram, i * PAGE)
    assert descriptors() - before <= 1
    for i in range(64):
        client.dma_unmap(2 * i * PAGE, PAGE)
    assert client.is_alive()


def test_regions_of_one_file_end_one_by_one(client: Client, device: CallbackDevice, ram: int) -> None:
    before = descriptors()
    for i in range(4):
        client.dma_map(i << 20, PAGE, ram, i * PAGE, flags=3 if i % 2 else 1)
    assert descriptors() - before == 2, "once for writing, once for reading only"
    for i in range(4):
        os.pwrite(ram, bytes([i + 1]) * 8, i * PAGE + 8)
    for gone in (0, 3, 1):
        client.dma_unmap(gone << 20, PAGE)
        assert device.dma_read((gone << 20) + 8, 8)[0] == HResult.ERROR_NOACCESS
        assert device.dma_read((2 << 20) + 8, 8) == (S_OK, b"\3" * 8)
        assert device.dma_write((2 << 20) + 8, b"x") == HResult.E_ACCESSDENIED
    client.dma_unmap(2 << 20, PAGE)
    descriptors_become(before)


def test_a_piece_of_a_file_that_no_address_space_holds_is_reached(client: Client, device: CallbackDevice) -> None:
    before = descriptors()
    fd = memory(1 << 60)
    for i in range(2):
        client.dma_map(i << 20, PAGE, fd, (1 << 59) + i * PAGE)
        assert device.dma_write((i << 20) + 5, b"far") == S_OK
        assert os.pread(fd, 3, (1 << 59) + i * PAGE + 5) == b"far"
        client.dma_unmap(i << 20, PAGE)
    os.close(fd)
    descriptors_become(before)


def test_a_file_that_has_grown_since_is_reached_in_its_new_part(client: Client, device: CallbackDevice) -> None:
    fd = memory(PAGE, sealed=False)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    client.dma_map(0, PAGE, fd)
    os.ftruncate(fd, 4 * PAGE)
    client.dma_map(1 << 20, 3 * PAGE, fd, PAGE)
    assert device.dma_write((1 << 20) + 2 * PAGE, b"new") == S_OK
    assert os.pread(fd, 3, 3 * PAGE) == b"new"
    assert device.dma_write(0, b"old") == S_OK
    os.close(fd)
