"""Where a command's data is, for all shapes of PRP entries and lists."""

from __future__ import annotations

import itertools
import random
import struct

import pytest

from hdvlab.devices.nvme import prp
from hdvlab.devices.nvme.command import CommandError
from hdvlab.devices.nvme.spec import Status

PAGE = 4096


class Memory:
    """Guest memory with nothing but PRP lists in it."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.reads: list[tuple[int, int]] = []

    def read(self, address: int, size: int) -> bytes:
        self.reads.append((address, size))
        assert address // PAGE == (address + size - 1) // PAGE, "a list does not go on behind its page"
        return b"".join(struct.pack("<Q", self.words[place]) for place in range(address, address + size, 8))

    def put(self, address: int, entries: list[int], next_list: list[int]) -> None:
        """Store a list that begins at ``address`` and goes on in the pages of ``next_list``."""
        room = (PAGE - address % PAGE) // 8
        while len(entries) > room:
            following = next_list.pop()
            for place, entry in enumerate([*entries[: room - 1], following]):
                self.words[address + 8 * place] = entry
            entries, address, room = entries[room - 1 :], following, PAGE // 8
        for place, entry in enumerate(entries):
            self.words[address + 8 * place] = entry


def bytes_of(runs: list[tuple[int, int]]) -> list[int]:
    return [address + n for address, size in runs for n in range(0, size, 4)]


@pytest.mark.parametrize("seed", range(40))
def test_any_length_offset_and_chain_of_lists_gives_every_byte_in_order(seed: int) -> None:
    chance = random.Random(seed)
    memory = Memory()
    offset = chance.choice([0, 4, 512, 2048, PAGE - 4, 4 * chance.randrange(PAGE // 4)])
    length = 4 * chance.choice([1, 128, 1024, chance.randrange(1, 2048), chance.randrange(1, 400_000)])
    pages = [0x10_0000 + PAGE * n for n in chance.sample(range(4096), -(-(offset + length) // PAGE))]
    for place in range(1, len(pages)):  # some pages follow one another
        if chance.random() < 0.5:
            pages[place] = pages[place - 1] + PAGE
    start = 0x8000_0000 + 8 * chance.choice([0, 1, 510, 511, chance.randrange(512)])
    memory.put(start, pages[1:], [0x9000_0000 + PAGE * n for n in range(8)])
    prp2 = start if len(pages) > 2 else pages[1] if len(pages) == 2 else 0xDEAD  # not looked at where not needed

    runs = prp.walk(memory.read, pages[0] + offset, prp2, length, PAGE)

    expected = [pages[(offset + n) // PAGE] + (offset + n) % PAGE for n in range(0, length, 4)]
    assert bytes_of(runs) == expected
    assert all(size > 0 for _, size in runs)
    assert all(a + size != b for (a, size), (b, _) in itertools.pairwise(runs)), "neighbours are one run"


def test_one_list_is_one_read() -> None:
    memory = Memory()
    memory.put(0x8000_0000, [0x1000 * n for n in range(2, 258)], [])
    assert prp.walk(memory.read, 0x1000, 0x8000_0000, 257 * PAGE, PAGE) == [(0x1000, 257 * PAGE)]
    assert memory.reads == [(0x8000_0000, 256 * 8)]


@pytest.mark.parametrize(
    ("prp1", "prp2", "length"),
    [(0x1002, 0, 4), (0x1000, 0x2004, 2 * PAGE), (0x1000, 0x8000_0004, 3 * PAGE)],
    ids=["first entry", "second entry", "list"],
)
def test_entries_that_point_into_pages_are_refused(prp1: int, prp2: int, length: int) -> None:
    with pytest.raises(CommandError) as caught:
        prp.walk(Memory().read, prp1, prp2, length, PAGE)
    assert caught.value.status == Status.INVALID_PRP_OFFSET


@pytest.mark.parametrize("place", [0, 1])
def test_entries_of_a_list_that_point_into_pages_are_refused(place: int) -> None:
    memory = Memory()
    entries = [0x2000, 0x3000]
    entries[place] += 512
    memory.put(0x8000_0000, entries, [])
    with pytest.raises(CommandError):
        prp.walk(memory.read, 0x1000, 0x8000_0000, 3 * PAGE, PAGE)


def test_a_list_that_leads_into_the_middle_of_a_page_is_refused() -> None:
    memory = Memory()
    memory.put(0x8000_0FF8, [0x2000, 0x3000], [0x9000_0008])
    with pytest.raises(CommandError):
        prp.walk(memory.read, 0x1000, 0x8000_0FF8, 3 * PAGE, PAGE)
