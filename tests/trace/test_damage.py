"""Files that were cut or hold flipped bits: what is whole comes back right, and what is not is told exactly.

The cases run in a process of their own: reading a mapping behind the end of its file would be a SIGBUS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RunPython = Callable[..., str]

#: Makes a trace of 230 rows in chunks of 64: accesses, and every tenth row a mark with its text in payload.bin.
#: arguments: directory, "closed" or "killed", a directory for the cases, the files to harm, how many cases each
SETUP = """
import os, random, shutil, signal, sys, time, warnings
from pathlib import Path

import numpy as np

from hdvlab._core import ffi, lib
from hdvlab.errors import TraceError, TraceFormatError
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import COLUMNS, E_PENDING
from hdvlab.trace.tables import DeviceInfo

ROWS, CHUNK = 230, 64
root, ending, files, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(), int(sys.argv[4])
whole = root / "whole"

def make():
    recorder = Recorder.create(whole, chunk_rows=CHUNK, max_rows=1024)
    recorder.add_device(DeviceInfo("edu"))
    for row in range(ROWS):
        if row % 10 == 9:
            recorder.mark(f"mark in row {row}")
        else:
            lib.hdvlab_bench_rows(recorder.handle, 1, True, ffi.new("uint64_t *"))
    return recorder

if ending == "closed":
    make().close()
else:
    child = os.fork()
    if not child:
        recorder = make()
        while recorder.verify()["state"].tolist() != ["whole"] * 3 + ["unsealed"]:
            time.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL

original = open_trace(whole)
truth = {name: column.copy() for name, column in original.columns().items()}
assert len(original) == ROWS and original.losses.empty
SEALED = ROWS if ending == "closed" else 192
harmed = root / "harmed"

def case(name, harm):
    shutil.rmtree(harmed, ignore_errors=True)
    shutil.copytree(whole, harmed)
    data = bytearray((harmed / name).read_bytes())
    (harmed / name).write_bytes(harm(data))

def opened():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return open_trace(harmed), [str(one.message) for one in caught]

def right(trace, but=()):
    # Every row that is shown has the values that were recorded.
    frame = trace.frame()
    rows = frame.index.to_numpy()
    columns = trace.columns()
    for name in COLUMNS:
        if name not in but:
            np.testing.assert_array_equal(columns[name], truth[name][rows], name)
    repr(frame), repr(trace), trace.frame(decode=True), trace.losses, trace.marks(), trace.faults()
    return rows

def told(trace, **counts):
    attrs = trace.frame().attrs
    for name in ("pending", "lost", "holes", "corrupt", "missing", "payload_missing", "clock_backward"):
        assert attrs[name] == counts.get(name, 0), (name, attrs)
    losses = {loss.what: loss.rows for loss in trace.list_losses()}
    assert losses == {name: number for name, number in counts.items() if number}, losses

def texts(trace, rows, damaged=()):
    for row in rows:
        if row % 10 == 9:
            whole_text = f"mark in row {row}"
            assert trace.text(int(row)) == ("mark in …" if row in damaged else whole_text), (row, damaged)
            try:
                assert trace.payload(int(row)).decode() == whole_text and row not in damaged
            except TraceError as error:
                assert row in damaged, (row, error)

def flipped(data, bit):
    data[bit // 8] ^= 1 << bit % 8
    return data

moment = random.Random(files[0] + ending)
"""

CUT_COLUMNS = """
for name in files:
    width = np.dtype(COLUMNS[name]).itemsize
    size = (whole / f"{name}.col").stat().st_size
    ends = {0, 1, width, size - 1, ROWS * width, ROWS * width - 1, 64 * width, 64 * width - 1, 64 * width + 1}
    ends |= {moment.randrange(size) for _ in range(count)}
    for end in sorted(ends):
        case(f"{name}.col", lambda data: data[:end])
        trace, warned = opened()
        there = min(ROWS, end // width)
        assert right(trace).tolist() == list(range(there)), (name, end)
        told(trace, missing=ROWS - there)
        texts(trace, range(there))
        if there < ROWS:
            text = f"{ROWS - there:,} missing: of {ROWS:,} rows, {name}.col ends at row {there:,}"
            assert any(text in one for one in warned), (name, end, warned)
        else:
            assert not warned, warned
        states = trace.verify()["state"].tolist()
        assert "damaged" not in states and ("cut" in states) == (there < SEALED), (name, end, states)
        right(trace)
        trace.close()
print("ok")
"""

FLIP_COLUMNS = """
for name in files:
    width = np.dtype(COLUMNS[name]).itemsize
    for _ in range(count):
        bit = moment.randrange(ROWS * width * 8)
        row = bit // 8 // width
        case(f"{name}.col", lambda data: flipped(data, bit))
        chunk = range(row // CHUNK * CHUNK, min(row // CHUNK * CHUNK + CHUNK, SEALED))
        trace, warned = opened()
        if ending == "closed":  # a recording that ended well is not verified when it is opened
            assert (trace.frame().index != row).sum() >= ROWS - 1
        elif row in chunk:
            assert any(f"{len(chunk)} corrupt: their chunk's checksum does not fit" in one for one in warned), warned
        states = trace.verify()["state"].tolist()
        if row in chunk:
            assert states[row // CHUNK] == "damaged" and states.count("damaged") == 1, (name, bit, states)
            rows = right(trace)
            assert rows.tolist() == [one for one in range(ROWS) if one not in chunk], (name, bit)
            told(trace, corrupt=len(chunk))
            texts(trace, rows)
        else:  # the rows behind the last seal: nothing vouches for them, and verify says so
            assert "damaged" not in states and states[-1] == "unsealed"
            rows = trace.frame().index
            assert [one for one in rows if one != row] == [one for one in range(ROWS) if one != row]
            changed = trace[:row]
            right(changed)
        trace.close()
print("ok")
"""

HARM_HEADER = """
for number in range(count):
    bit = moment.randrange(512 * 8)
    end = moment.randrange(4097)
    cut = number % 3 == 0
    case("header.bin", lambda data: data[:end] if cut else
         flipped(data, bit))
    if number % 2:
        (harmed / "trace.json").unlink()
    try:
        trace, warned = opened()
    except TraceFormatError as error:
        # Only where nothing is left that says otherwise: the schema's own bits, and no trace.json.
        assert number % 2 and not cut and 64 <= bit < 96, (bit, error)
        assert "schema is version" in str(error)
        continue
    assert right(trace).tolist() == list(range(ROWS)), (number, bit, end)
    attrs = trace.frame().attrs
    if ending == "closed" or cut:
        told(trace)
    assert {name: attrs[name] for name in ("holes", "corrupt", "missing", "payload_missing")} == dict(
        holes=0, corrupt=0, missing=0, payload_missing=0), (bit, attrs)
    texts(trace, range(ROWS))
    states = trace.verify()["state"].tolist()
    assert states == (["whole"] * 4 if ending == "closed" else ["whole"] * 3 + ["unsealed"]), (bit, states)
    trace.close()
print("ok")
"""

HARM_SEALS = """
for number in range(count):
    size = (whole / "seals.bin").stat().st_size
    bit, end = moment.randrange(size * 8), moment.randrange(size)
    cut = number % 3 == 0
    case("seals.bin", lambda data: data[:end] if cut else
         flipped(data, bit))
    trace, warned = opened()
    assert not warned and right(trace).tolist() == list(range(ROWS))
    told(trace)
    states = trace.verify()["state"].tolist()
    sealed = size // 64
    bad = range(end // 64, sealed) if cut else [bit // 8 // 64]
    assert states == ["unsealed" if chunk in bad or chunk >= sealed else "whole" for chunk in range(4)], states
    right(trace)
    trace.close()
print("ok")
"""

HARM_PAYLOAD = """
places = {row: truth["payload"][row] for row in range(ROWS) if row % 10 == 9}
used = max(places.values()) + 20
for number in range(count):
    cut = number % 2 == 0
    end, bit = moment.randrange(used), moment.randrange(used * 8)
    case("payload.bin", lambda data: data[:end] if cut else
         flipped(data, bit))
    size = lambda row: int(truth["size"][row])
    hit = [row for row, place in places.items()
           if (place + size(row) > end if cut else place <= bit // 8 < place + size(row))]
    # A chunk has one checksum for all its payloads: none of them can be vouched for when one is wrong.
    chunks = {row // CHUNK for row in hit if row < SEALED}
    damaged = {row for row in places if (row // CHUNK in chunks and row < SEALED) or (cut and row in hit)}
    trace, warned = opened()
    if ending == "closed" and not cut:
        assert not warned
    states = trace.verify()["state"].tolist()
    assert [chunk for chunk, state in enumerate(states) if state == "payload"] == sorted(chunks), states
    rows = right(trace)
    assert rows.tolist() == list(range(ROWS))
    told(trace, payload_missing=len(damaged))
    if cut:
        assert (f"{len(damaged)} payload missing" in " ".join(warned)) == bool(damaged), warned
    shown = [row for row in rows if not (row in hit and row not in damaged)]  # flipped, and behind the last seal
    texts(trace, [row for row in shown], damaged)
    copy = trace.save(root / f"copy{number}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = open_trace(copy)
    assert again.frame().attrs["payload_missing"] == len(damaged)
    texts(again, [row for row in shown if row not in damaged])
    again.close()
    trace.close()
print("ok")
"""

RANDOM = """
for number in range(count):
    shutil.rmtree(harmed, ignore_errors=True)
    shutil.copytree(whole, harmed)
    for path in moment.sample(sorted(harmed.iterdir()), moment.randrange(1, 5)):
        data = bytearray(path.read_bytes())
        for _ in range(moment.choice([1, 3, 100])):
            if data:
                start = moment.randrange(len(data))
                length = moment.choice([1, 1, 8, 64, 4096])
                data[start : start + length] = moment.randbytes(moment.choice([0, length, length]))
        if moment.random() < 0.3:
            data = data[: moment.randrange(len(data) + 1)]
        path.write_bytes(data)
    try:
        trace, warned = opened()
    except TraceError:
        continue
    frame = trace.frame()
    repr(frame), repr(trace), trace.losses
    trace.frame(decode=True)
    trace.verify()
    frame = trace.frame()
    for row in frame.index:
        try:
            trace.payload(int(row)), trace.text(int(row))
        except TraceError:
            pass
    trace.close()
print("ok")
"""


@pytest.mark.fault(61)
@pytest.mark.parametrize("ending", ["closed", "killed"])
@pytest.mark.parametrize(
    ("script", "files", "count"),
    [
        pytest.param(CUT_COLUMNS, "t_ns dur_ns kind origin device bar size", 5, id="cut-1"),
        pytest.param(CUT_COLUMNS, "address value status cause payload pc", 5, id="cut-2"),
        pytest.param(FLIP_COLUMNS, "t_ns dur_ns kind origin device bar size", 8, id="flip-1"),
        pytest.param(FLIP_COLUMNS, "address value status cause payload pc", 8, id="flip-2"),
        pytest.param(HARM_HEADER, "header", 90, id="header"),
        pytest.param(HARM_SEALS, "seals", 40, id="seals"),
        pytest.param(HARM_PAYLOAD, "payload", 40, id="payload"),
        pytest.param(RANDOM, "random", 60, id="random"),
    ],
)
def test_what_is_whole_comes_back_and_what_is_not_is_told(
    run_python: RunPython, tmp_path: Path, script: str, ending: str, files: str, count: int
) -> None:
    assert run_python(SETUP + script, tmp_path, ending, files, count) == "ok\n"


@pytest.mark.fault(61)
def test_several_cut_files_are_all_named(run_python: RunPython, tmp_path: Path) -> None:
    told = run_python(
        SETUP
        + """
case("pc.col", lambda data: data[: 100 * 8 + 3])
os.truncate(harmed / "kind.col", 70)
os.truncate(harmed / "header.bin", 100)
trace, warned = opened()
assert right(trace).tolist() == list(range(70))
print(trace.frame().attrs["missing"], warned[0])
""",
        tmp_path,
        "closed",
        "x",
        1,
    )
    assert told.startswith("160 ")
    assert "header.bin is damaged or missing" in told
    assert "of 230 rows" in told
    assert "kind.col ends at row 70" in told
    assert "pc.col ends at row 100" in told
