"""Linux mmiotrace logs become rows, and a damaged line costs nothing but itself."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab.errors import TraceFormatError
from hdvlab.formats.mmiotrace import parse_mmiotrace, read_mmiotrace
from hdvlab.formats.text_lines import MAX_LINE, TextLines
from hdvlab.trace.schema import NO_BAR, NO_DEVICE, Kind
from hdvlab.trace.trace import Trace

SAMPLE = Path(__file__).parents[2] / "notebooks" / "traces" / "linux61_nvme_e1000.mmiotrace.gz"

HEAD = b"""VERSION 20070824
PCIDEV 0008 1b360010 a febe0004 0 0 0 0 0 0 4000 0 0 0 0 0 0 \n\
PCIDEV 0010 8086100e b febc0000 c001 0 0 0 0 0 20000 40 0 0 0 0 0 e1000
MAP 1.000001 1 0xfebe0000 0xff7c219e805b2000 0x2000 0x0 0
"""
ACCESS = b"R 4 2.000000 1 0xfebe001c 0x1 0x0 0\n"
SMALL = (
    HEAD
    + b"R 4 1.500000 1 0xfebe001c 0x1 0x0 0\n"
    + b"MARK 1.600000 load\n"
    + b"W 8 1.700000 1 0xfebe2000 0xfedcba9876543210 0xffffffff81000000 0\n"
    + b"MARK 0.000000 Lost 12 events.\n"
    + b"UNKNOWN 1.800000 1 0xfebe0008 0f,0b,12 0x1234 0\n"
    + b"UNMAP 1.900000 1 0x0 0\n"
    + b"W 1 2.000000 2 0x12345 0xff 0x0 0\n"
)


def parsed(text: bytes) -> Trace:
    return parse_mmiotrace(TextLines(io.BytesIO(text)))


def rows(trace: Trace) -> list[tuple[int, ...]]:
    """All columns, row by row, as plain numbers."""
    return list(zip(*(column.tolist() for column in trace.columns().values()), strict=True))


def reason_of(line: bytes) -> str:
    """What is said of one bad line between two good ones, which must both be there."""
    trace = parsed(HEAD + ACCESS + line + b"\n" + ACCESS)
    assert trace.columns()["kind"].tolist() == [Kind.mmio_read] * 2
    (bad,) = trace.bad_lines
    assert bad.number == HEAD.count(b"\n") + 2
    return bad.reason


@pytest.fixture(scope="module")
def sample() -> Trace:
    return read_mmiotrace(SAMPLE)


@pytest.fixture(scope="module")
def sample_lines() -> list[str]:
    return gzip.decompress(SAMPLE.read_bytes()).decode().splitlines()


# The real file


def test_every_access_of_the_sample_has_its_device_and_bar(sample: Trace) -> None:
    columns = sample.columns()
    access = np.isin(columns["kind"], [Kind.mmio_read, Kind.mmio_write])
    names = [device.name for device in sample.devices]
    for name, count in (("nvme", 748), ("e1000", 13_764)):
        mine = access & (columns["device"] == names.index(name))
        assert int(mine.sum()) == count
        assert set(columns["bar"][mine].tolist()) == {0}
    assert int(access.sum()) == 748 + 13_764
    assert sample.bad_lines == ()


def test_every_access_of_the_sample_says_what_its_line_says(sample: Trace, sample_lines: list[str]) -> None:
    bases = {"1": 0xFEBE0000, "2": 0xFEBE0000, "3": 0xFEBE0000, "4": 0xFEBC0000}
    expected = []
    for line in sample_lines:
        fields = line.split(" ")
        if fields[0] in ("R", "W"):
            kind = Kind.mmio_read if fields[0] == "R" else Kind.mmio_write
            t_ns = int(fields[2].replace(".", "")) * 1000 - 2_902_021_000  # the first timed line: MARK 2.902021
            offset = int(fields[4], 16) - bases[fields[3]]
            device = 1 if fields[3] in "123" else 2
            row = (t_ns, 0, kind, 0, device, 0, int(fields[1]), offset, int(fields[5], 16))
            expected.append((*row, 0, -1, -1, int(fields[6], 16)))
        elif fields[0] == "MARK":
            t_ns = int(fields[1].replace(".", "")) * 1000 - 2_902_021_000
            expected.append((t_ns, 0, Kind.mark, 0, NO_DEVICE, NO_BAR, 0, 0, 0, 0, -1, -1, 0))
    assert rows(sample) == expected


def test_the_devices_of_the_sample_are_as_its_pcidev_lines_say(sample: Trace) -> None:
    names = ["8086:29c0", "nvme", "e1000", "8086:2918", "8086:2922", "8086:2930"]
    assert [device.name for device in sample.devices] == names
    nvme, e1000, sata = sample.devices[1], sample.devices[2], sample.devices[4]
    assert (nvme.vendor_id, nvme.device_id, nvme.address, nvme.driver) == (0x1B36, 0x0010, "00:01.0", "")
    assert {bar: (info.address, info.size) for bar, info in nvme.bars.items()} == {0: (0xFEBE0000, 0x4000)}
    assert {bar: (info.address, info.size) for bar, info in e1000.bars.items()} == {
        0: (0xFEBC0000, 0x20000),
        1: (0xC000, 0x40),
    }
    assert sata.address == "00:1f.2"
    assert [fact["io_bars"] for fact in sample.tables.facts["pcidevs"]] == [[], [], [1], [], [4], [4]]


def test_the_maps_of_the_sample_show_the_msix_table(sample: Trace) -> None:
    facts = sample.tables.facts
    msix = [one for one in facts["maps"] if one["event"] == "map" and one["length"] == 0x410]
    assert [(one["id"], one["device"], one["bar"], one["offset"]) for one in msix] == [
        (2, 1, 0, 0x2000),
        (3, 1, 0, 0x2000),
    ]
    assert [(one["event"], one["id"], one["line"]) for one in facts["maps"]] == [
        ("map", 1, 9),
        ("map", 2, 11),
        ("unmap", 2, 131),
        ("map", 3, 132),
        ("map", 4, 249),
    ]
    assert msix[0]["t_ns"] == (3_073_850 - 2_902_021) * 1000
    assert (facts["version"], facts["t0_ns"]) == ("20070824", 2_902_021_000)
    assert list(facts["marks"].values()) == ["load drivers", "nvme read", "ping", "end"]
    assert all(sample.columns()["kind"][row] == Kind.mark for row in facts["marks"])


def test_the_sample_is_a_frame_with_names(sample: Trace) -> None:
    frame = sample.frame(decode=True)
    assert frame.groupby("name", observed=True).size().to_dict() == {"": 4, "e1000": 13_764, "nvme": 748}
    assert frame.attrs == {"pending": 0, "lost": 0, "bad_lines": 0}


def test_a_log_is_the_same_plain_compressed_in_members_and_with_unix_line_ends(sample: Trace, tmp_path: Path) -> None:
    text = gzip.decompress(SAMPLE.read_bytes())
    half = text.index(b"\n", len(text) // 2) - 20
    forms = {
        "plain.gz": text,
        "compressed.txt": gzip.compress(text, 1),
        "members": gzip.compress(text[:half]) + gzip.compress(text[half:]) + bytes(512),
        "unix": text.replace(b"\r\n", b"\n"),
        "blanks": text.replace(b"\r\n", b" \t\r\n\r\n"),
    }
    for name, data in forms.items():
        path = tmp_path / name
        path.write_bytes(data)
        trace = read_mmiotrace(path)
        assert rows(trace) == rows(sample), name
        assert trace.devices == sample.devices
        assert trace.bad_lines == ()


def test_neighbours_of_damaged_lines_survive_field_by_field(sample_lines: list[str]) -> None:
    chance = random.Random(20070824)
    clean = []
    for number, line in enumerate(sample_lines):  # the PC, which is 0x0 throughout, tells which line a row is from
        is_access = line[:2] in ("R ", "W ")
        clean.append((line[: -len("0x0 0")] + f"{number + 1:#x} 0" if is_access else line).encode())
    damaged = list(clean)
    for number in range(99, len(clean), 100):
        damaged[number] = damage(clean[number], chance)
    hit = set(range(99, len(clean), 100))
    before, after = parsed(b"\n".join(clean) + b"\n"), parsed(b"\n".join(damaged) + b"\n")
    pc = before.columns()["pc"]
    whole = [row for row, line in zip(rows(before), pc.tolist(), strict=True) if line and line - 1 not in hit]
    lines = {row[-1] for row in whole}
    survived = [row for row in rows(after) if row[-1] in lines]
    assert len(whole) > 14_300
    assert survived == whole
    assert len(after.bad_lines) > 80
    assert after.tables.facts["maps"][:4] == before.tables.facts["maps"][:4]


def damage(line: bytes, chance: random.Random) -> bytes:
    """A line with a piece replaced, removed, doubled or put in, which leaves it in one line or splits it."""
    start = chance.randrange(len(line))
    end = min(len(line), start + chance.randint(1, 12))
    kind = chance.randrange(7)
    junk = chance.randbytes(end - start).replace(b"\n", b"?")
    piece = [junk, b"", line[start:end] * 2, junk + line[start:end], bytes(end - start), b"x\n", b" "][kind]
    return (line[:start] + piece + line[end:]) if chance.random() < 0.95 else b"Z" * 100_000


# Records


def test_an_access_outside_every_bar_keeps_its_physical_address() -> None:
    columns = parsed(SMALL).columns()
    assert (columns["device"][-1], columns["bar"][-1], columns["address"][-1]) == (NO_DEVICE, NO_BAR, 0x12345)


def test_values_addresses_and_pcs_are_full_64_bit() -> None:
    trace = parsed(b"W 8 1.000000 1 0xfffffffffffffff8 0xffffffffffffffff 0xffffffffffffffff 0\n")
    columns = trace.columns()
    top = (1 << 64) - 1
    assert (columns["address"][0], columns["value"][0], columns["pc"][0]) == (top - 7, top, top)


def test_times_are_exact_to_the_last_digit_however_late() -> None:
    trace = parsed(b"".join(b"R 4 4294967295.%06d 1 0x0 0x0 0x0 0\n" % micros for micros in (1, 2, 999_999)))
    assert trace.columns()["t_ns"].tolist() == [0, 1_000, 999_998_000]
    assert trace.tables.facts["t0_ns"] == 4_294_967_295_000_001_000


def test_time_counts_from_the_first_timed_record_even_if_it_is_no_row() -> None:
    trace = parsed(SMALL)
    assert trace.tables.facts["t0_ns"] == 1_000_001_000
    assert trace.columns()["t_ns"][0] == 499_999_000


def test_time_that_steps_back_does_not_change_the_order() -> None:
    trace = parsed(b"R 4 2.000000 1 0x0 0x1 0x0 0\nR 4 1.000000 1 0x0 0x2 0x0 0\n")
    assert trace.columns()["value"].tolist() == [1, 2]
    assert trace.columns()["t_ns"].tolist() == [0, -1_000_000_000]


def test_lost_events_are_a_row_where_the_line_stands_with_the_time_of_the_row_before() -> None:
    trace = parsed(SMALL)
    columns = trace.columns()
    (row,) = np.flatnonzero(columns["kind"] == Kind.lost)
    assert row == 3
    assert columns["value"][row] == 12
    assert columns["t_ns"][row] == columns["t_ns"][row - 1]
    assert columns["device"][row] == NO_DEVICE
    assert trace.frame().attrs["lost"] == 12


def test_lost_events_before_any_access_stand_at_time_zero() -> None:
    trace = parsed(b"MARK 0.000000 Lost 7 events.\nMARK 0.000000 Lost 8 events.\n" + ACCESS)
    assert trace.columns()["kind"].tolist() == [Kind.lost, Kind.lost, Kind.mmio_read]
    assert trace.columns()["t_ns"].tolist() == [0, 0, 0]
    assert trace.tables.facts["t0_ns"] == 2_000_000_000


def test_a_mark_that_only_speaks_of_loss_stays_a_mark() -> None:
    trace = parsed(b"MARK 1.000000 Lost 7 events.\nMARK 0.000000 Lost some events.\n")
    assert trace.columns()["kind"].tolist() == [Kind.mark, Kind.mark]
    assert trace.tables.facts["marks"] == {0: "Lost 7 events.", 1: "Lost some events."}


def test_places_of_loss_are_rows_and_are_not_counted_twice() -> None:
    place = b"CPU:0 [LOST 9 EVENTS]\n"
    counted = parsed(ACCESS + place + ACCESS + b"MARK 0.000000 Lost 9 events.\n")
    assert counted.columns()["kind"].tolist() == [Kind.mmio_read, Kind.lost, Kind.mmio_read, Kind.lost]
    assert counted.frame().attrs["lost"] == 9
    assert counted.tables.facts["losses"] == {1: "CPU:0 [LOST 9 EVENTS]"}
    alone = parsed(ACCESS + place + b"CPU:1 [LOST EVENTS]\n" + ACCESS)
    assert alone.columns()["value"].tolist() == [1, 9, 0, 1]


def test_an_unknown_record_is_a_fault_with_what_the_kernel_said() -> None:
    trace = parsed(SMALL)
    columns = trace.columns()
    (row,) = np.flatnonzero(columns["kind"] == Kind.fault)
    fault = [int(columns[name][row]) for name in ("device", "bar", "size", "address", "value", "pc")]
    assert fault == [0, 0, 0, 8, 0x0F0B12, 0x1234]
    assert "0f,0b,12" in trace.tables.facts["faults"][row]


def test_marks_keep_their_text_whatever_it_is() -> None:
    trace = parsed(b"MARK 1.000000  two  blanks \r\nMARK 1.000000 gr\xfc\xdfe \0\nMARK 1.000000 \nMARK 1.000000\n")
    assert list(trace.tables.facts["marks"].values()) == [" two  blanks ", "gr\\xfc\\xdfe \0", "", ""]
    assert trace.bad_lines == ()


def test_lspci_lines_and_comments_are_kept_and_no_fault() -> None:
    trace = parsed(b"# tracer: mmiotrace\n" + ACCESS + b"LSPCI 00:01.0 NVMe\n")
    assert (trace.tables.facts["comments"], trace.tables.facts["lspci"]) == (
        ["# tracer: mmiotrace"],
        ["LSPCI 00:01.0 NVMe"],
    )
    assert (len(trace), trace.bad_lines) == (1, ())


def test_a_log_without_version_is_read() -> None:
    trace = parsed(SMALL.split(b"\n", 1)[1])
    assert rows(trace) == rows(parsed(SMALL))
    assert (trace.tables.facts["version"], trace.bad_lines) == (None, ())


def test_a_wrong_version_is_told_and_the_log_is_read() -> None:
    trace = parsed(SMALL.replace(b"20070824", b"20991231"))
    assert rows(trace) == rows(parsed(SMALL))
    assert trace.tables.facts["version"] == "20991231"
    (bad,) = trace.bad_lines
    assert (bad.number, bad.text) == (1, "VERSION 20991231")
    assert "20070824" in bad.reason


# Devices


def test_a_device_is_named_by_its_driver_and_equal_names_by_their_place() -> None:
    line = b"PCIDEV %04x 8086100e b %x 0 0 0 0 0 0 20000 0 0 0 0 0 0 %s\n"
    text = (
        line % (0x10, 0xFEB00000, b"e1000") + line % (0x18, 0xFEC00000, b"e1000") + line % (0x20, 0xFED00000, b"igb x")
    )
    names = [device.name for device in parsed(text).devices]
    assert names == ["e1000@00:02.0", "e1000@00:03.0", "igb x"]
    again = [device.name for device in parsed(text + line % (0x10, 0xFEE00000, b"e1000")).devices]
    assert again == ["e1000@00:02.0", "e1000@00:03.0", "igb x", "e1000@00:02.0#2"]


def test_a_repeated_device_is_one_device_with_the_driver_of_either_line() -> None:
    trace = parsed(HEAD + HEAD.replace(b"0 \n", b"0 nvme_core\n") + ACCESS)
    assert [device.name for device in trace.devices] == ["nvme_core", "e1000"]
    assert [fact["device"] for fact in trace.tables.facts["pcidevs"]] == [0, 1, 0, 1]
    assert trace.columns()["device"].tolist() == [0]


def test_64_bit_bars_the_rom_and_bars_without_an_address_are_told_apart() -> None:
    starts, sizes = b"380000000c 0 fe00000c 0 0 d001 fd000001", b"100000000 0 1000 0 4000 20 10000"
    text = b"PCIDEV ff1f 12345678 10 %s %s\n" % (starts, sizes)
    addresses = (0x3800000000, 0x38FFFFFFFF, 0x3900000000, 0xFE000FFF, 0x10, 0xD000, 0xFD000000)
    text += b"".join(b"R 4 1.000000 1 %#x 0x0 0x0 0\n" % address for address in addresses)
    trace = parsed(text)
    (device,) = trace.devices
    assert device.address == "ff:03.7"
    assert {bar: (info.address, info.size) for bar, info in device.bars.items()} == {
        0: (0x3800000000, 1 << 32),
        2: (0xFE000000, 0x1000),
        4: (None, 0x4000),
        5: (0xD000, 0x20),
    }
    assert trace.columns()["bar"].tolist() == [0, 0, -1, 2, -1, -1, -1]
    assert trace.columns()["address"].tolist() == [0, 0xFFFFFFFF, 0x3900000000, 0xFFF, 0x10, 0xD000, 0xFD000000]
    (fact,) = trace.tables.facts["pcidevs"]
    assert (fact["rom_address"], fact["rom_size"], fact["io_bars"], fact["irq"]) == (0xFD000000, 0x10000, [5], 16)


def test_devices_are_found_wherever_their_lines_stand() -> None:
    trace = parsed(ACCESS + HEAD)
    assert (trace.columns()["device"][0], trace.columns()["address"][0]) == (0, 0x1C)


def test_a_bar_may_end_where_the_address_space_ends() -> None:
    text = b"PCIDEV 0000 12345678 0 fffffffffffff00c 0 0 0 0 0 0 1000 0 0 0 0 0 0 \n"
    trace = parsed(text + b"R 1 1.000000 1 0xffffffffffffffff 0x0 0x0 0\n")
    assert (trace.columns()["bar"][0], trace.columns()["address"][0]) == (0, 0xFFF)


# Bad lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"R 4 2.000000 1 0xfebe001c 0x1 0x0", "6 fields instead of 7"),
        (b"R 4 2.000000 1 0xfebe001c 0x1 0x0 0 0", "8 fields instead of 7"),
        (b"R 3 2.000000 1 0xfebe001c 0x1 0x0 0", "width '3'"),
        (b"W 16 2.000000 1 0xfebe001c 0x1 0x0 0", "width '16'"),
        (b"W 0 2.000000 1 0xfebe001c 0x1 0x0 0", "width '0'"),
        (b"W -4 2.000000 1 0xfebe001c 0x1 0x0 0", "width '-4'"),
        (b"W \xb2 2.000000 1 0xfebe001c 0x1 0x0 0", "width"),
        (b"R 4 2.00000 1 0xfebe001c 0x1 0x0 0", "time '2.00000'"),
        (b"R 4 2000000 1 0xfebe001c 0x1 0x0 0", "time"),
        (b"R 4 .000000 1 0xfebe001c 0x1 0x0 0", "time"),
        (b"R 4 4294967296.000000 1 0xfebe001c 0x1 0x0 0", "time"),
        (b"R 4 -2.000000 1 0xfebe001c 0x1 0x0 0", "time"),
        (b"R 4 2.000000 x 0xfebe001c 0x1 0x0 0", "map id 'x'"),
        (b"R 4 2.000000 1 febe001c 0x1 0x0 0", "address 'febe001c'"),
        (b"R 4 2.000000 1 0x 0x1 0x0 0", "address '0x'"),
        (b"R 4 2.000000 1 0x1febe001cfebe001c 0x1 0x0 0", "address"),
        (b"R 4 2.000000 1 0xfebe001c 0xg 0x0 0", "value '0xg'"),
        (b"R 4 2.000000 1 0xfebe001c 0x1 0x\0 0", "PC"),
        (b"R 4 2.000000 1 0xfebe001c 0x1 0x0 -", "PID"),
        (b"UNKNOWN 2.000000 1 0xfebe001c 0f,0b 0x0 0", "instruction bytes '0f,0b'"),
        (b"UNKNOWN 2.000000 1 0xfebe001c 0f,0b,0c 0x0", "5 fields instead of 6"),
        (b"MAP 2.000000 1 0xfebe0000 0xff7c219e805b2000 2000 0x0 0", "length '2000'"),
        (b"MAP 2.000000 1 0xfebe0000", "3 fields instead of 7"),
        (b"UNMAP 2.000000 1 0x0", "3 fields instead of 4"),
        (b"UNMAP 2.000000 1 0 0", "PC '0'"),
        (b"MARK now", "time 'now'"),
        (b"MARK ", "no time"),
        (b"MARK 0.000000 Lost 99999999999999999999 events.", "64 bits"),
        (b"PCIDEV 0008 1b360010 a febe0004", "4 fields"),
        (b"PCIDEV 008 1b360010 a 0 0 0 0 0 0 0 0 0 0 0 0 0 0 ", "hexadecimal"),
        (b"PCIDEV 0008 1b36001 a 0 0 0 0 0 0 0 0 0 0 0 0 0 0 ", "hexadecimal"),
        (b"PCIDEV 0008 1b360010 a 0x0 0 0 0 0 0 0 0 0 0 0 0 0 0 ", "hexadecimal"),
        (b"PCIDEV 0008 1b360010 a fffffffffffff000 0 0 0 0 0 0 2000 0 0 0 0 0 0 ", "beyond the 64-bit"),
        (b"VERSION", "20070824"),
        (b"rw what?", "no record begins with 'rw'"),
        (b"map what?", "no record begins with 'map'"),
        (b"r 4 2.000000 1 0xfebe001c 0x1 0x0 0", "no record begins with 'r'"),
        (b"X" * 300, "no record begins with 'XXXXXXXXXXXXXXXXXXXX'"),
        (bytes(64), "NUL"),
        (bytes(9) + ACCESS.strip(), "NUL"),
        (b"\xff\xfe\x80", "bytes that no record has"),
        (b"\xef\xbb\xbf" + ACCESS.strip(), "bytes that no record has"),
        (b"MARK 1.000000 " + b"x" * MAX_LINE, "65,550 bytes long"),
        (b"R" * 3_000_000, "3,000,000 bytes long"),
    ],
)
def test_a_malformed_line_is_told_with_its_reason_and_costs_no_other(line: bytes, reason: str) -> None:
    told = reason_of(line)
    assert reason in told


def test_a_bad_line_keeps_its_text_and_says_when_it_is_only_the_beginning() -> None:
    bad = parsed(ACCESS + b"R 4 \xff\0 x\r\n" + b"Q" * 5_000 + b"\n").bad_lines
    assert bad[0].text == "R 4 \\xff\0 x"
    assert (bad[1].number, bad[1].text) == (3, "Q" * 1_000)
    assert "first 1,000 bytes" in bad[1].reason


def test_empty_lines_count_but_are_no_fault() -> None:
    trace = parsed(b"\n\r\n \t\n" + ACCESS + b"\nbad\n")
    assert (len(trace), [bad.number for bad in trace.bad_lines]) == (1, [6])


# Truncation


def test_a_log_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    whole = rows(parsed(SMALL))
    path = tmp_path / "cut"
    events = [b"R", b"W", b"M", b"U"]
    for length in range(1, len(SMALL)):
        text = SMALL[:length]
        path.write_bytes(text)
        trace = read_mmiotrace(path)
        lines = text.split(b"\n")
        least = sum(line[:1] in events and not line.startswith((b"MAP", b"UNMAP")) for line in lines[:-1])
        assert len(trace) in (least, least + (SMALL[length : length + 1] == b"\n"))
        assert [row[2:] for row in rows(trace)] == [row[2:] for row in whole[: len(trace)]]
        assert trace.columns()["t_ns"].tolist() == [row[0] for row in whole[: len(trace)]]
        for bad in trace.bad_lines:
            assert (bad.number, bad.text) == (len(lines), lines[-1].decode().rstrip("\r\n"))
            assert "ends in the middle of the line" in bad.reason
        if lines[-1] and SMALL[length : length + 1] != b"\n":
            assert len(trace.bad_lines) == 1


def test_an_access_that_only_lacks_its_newline_is_whole() -> None:
    assert rows(parsed(SMALL.rstrip(b"\n"))) == rows(parsed(SMALL))
    assert parsed(SMALL.rstrip(b"\n")).bad_lines == ()


def test_a_mark_or_device_that_may_go_on_is_a_cut_line() -> None:
    for text in (b"MARK 2.000000 lo", HEAD.split(b"\n")[2]):
        (bad,) = parsed(ACCESS + text).bad_lines
        assert (bad.number, bad.text) == (2, text.decode())


def test_a_gzip_file_cut_at_any_byte_keeps_what_came_before(tmp_path: Path) -> None:
    packed = gzip.compress(SMALL * 40, 1)
    whole = rows(parsed(SMALL * 40))
    path = tmp_path / "cut.gz"
    most = 0
    for length in range(2, len(packed)):
        path.write_bytes(packed[:length])
        if most == 0:  # before the first whole line there is nothing to read
            with contextlib.suppress(TraceFormatError):
                most = len(read_mmiotrace(path))
            continue
        trace = read_mmiotrace(path)
        assert "gzip data ends too early" in trace.bad_lines[-1].reason
        assert [row[6:] for row in rows(trace)] == [row[6:] for row in whole[: len(trace)]]
        assert len(trace) >= most
        most = len(trace)
    assert most == len(whole)


def test_a_gzip_file_with_a_flipped_byte_gives_the_rows_before_it_and_says_so(tmp_path: Path) -> None:
    packed = bytearray(SAMPLE.read_bytes())
    path = tmp_path / "flipped.gz"
    for place in (len(packed) // 2, len(packed) - 6):
        damaged = packed.copy()
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        trace = read_mmiotrace(path)
        assert any("gzip data" in bad.reason for bad in trace.bad_lines)
        assert len(trace) > 4_000


def test_junk_behind_a_gzip_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "junk.gz"
    path.write_bytes(gzip.compress(SMALL) + b"junk")
    trace = read_mmiotrace(path)
    assert rows(trace) == rows(parsed(SMALL))
    assert "followed by something else" in trace.bad_lines[-1].reason


class _Failing(io.RawIOBase):
    """A file on a disk that fails behind its first bytes."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        text, self._text = self._text, b""
        if not text:
            raise OSError(5, "Input/output error")
        return text


def test_a_disk_error_in_the_middle_gives_the_rows_before_it() -> None:
    trace = parse_mmiotrace(TextLines(_Failing(SMALL)))  # type: ignore[arg-type]
    assert rows(trace) == rows(parsed(SMALL))
    assert "Input/output error" in trace.bad_lines[-1].reason


def test_a_huge_line_is_passed_over_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "huge.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(ACCESS)
        for _ in range(64):
            stream.write(b"x" * (1 << 20))
        stream.write(b"\n" + ACCESS)
    tracemalloc.start()
    trace = read_mmiotrace(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(trace) == 2
    assert "67,108,864 bytes" in trace.bad_lines[0].reason
    assert peak < 16 << 20


# Whatever the bytes are


@given(st.one_of(st.binary(max_size=2_000), st.binary(max_size=500).map(lambda end: SMALL + end)), st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_a_trace_or_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, pack: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(gzip.compress(data) if pack else data)
    try:
        trace = read_mmiotrace(path)
    except TraceFormatError:
        return
    assert len(trace.frame()) == len(trace)


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.integers(0, 40), st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_any_damage_of_a_packed_log_is_a_trace_or_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: int, flip: int
) -> None:
    text = bytearray(SMALL)
    text[place] = byte
    packed = bytearray(gzip.compress(bytes(text)))
    packed[(place * 7) % len(packed)] ^= flip
    path = tmp_path_factory.getbasetemp() / "packed"
    path.write_bytes(packed[: len(packed) - cut])
    try:
        trace = read_mmiotrace(path)
    except TraceFormatError:
        return
    assert len(trace.frame()) == len(trace)
