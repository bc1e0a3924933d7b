"""``hdvlab bench``: what things cost on this machine, each beside its target. Benchmarks, never timed tests."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hdvlab.bench import embedded
from hdvlab.bench.figure import Figure
from hdvlab.errors import BackendUnavailableError, HdvError

_PARTS = {
    "local": "what needs no VM, in seconds",
    "vm": "accesses from a real guest, an NVMe drive's reads, and boots; about a minute",
}


def _local(rows: int) -> Iterator[Figure]:
    parts: list[Callable[[], Iterator[Figure]]] = [
        embedded.bench_rows,
        embedded.bench_accesses,
        embedded.bench_compiled,
        lambda: embedded.bench_frame(rows),
        embedded.bench_import,
    ]
    for part in parts:
        yield from part()


def _vm() -> Iterator[Figure | str]:
    from hdvlab.bench import vm  # QEMU's side of hdvlab is wanted only here
    from hdvlab.systems.qemu.setup import find

    if find() is None:
        raise BackendUnavailableError("there is no QEMU that can do this, or no guest kernel; type hdvlab vm setup")
    yield from vm.bench_vm()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table; 1 where a part of it could not be measured."""
    listed = "; ".join(f"{name}: {text}" for name, text in _PARTS.items())
    parser = argparse.ArgumentParser(prog="hdvlab bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{listed} (default: both)")
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="rows of the DataFrame benchmark (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in _PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(_PARTS)}")
    free = Path(tempfile.gettempdir())
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"recording into {free}; a ratio over 1 is slower than the target; load now: {load:.1f} per CPU\n")
    print(f"{'':<58} {'median':>9} {'best':>9} {'':<3} {'target':>8}     ratio")
    missing = 0
    for part in options.parts or _PARTS:
        try:
            for line in _local(options.rows) if part == "local" else _vm():
                print(line, flush=True)
        except HdvError as error:
            if part == "local":
                raise
            missing = 1
            print(f"the rest of {part} could not be measured: {error}", flush=True)
    return missing
