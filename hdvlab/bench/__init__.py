"""``hdvlab bench``: what things cost on this machine, each beside its target. Benchmarks, never timed tests."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hdvlab.bench import embedded
from hdvlab.bench.figure import Figure
from hdvlab.errors import BackendError, BackendUnavailableError, HdvError

_PARTS = {
    "local": "what needs no VM, in seconds",
    "vm": "accesses from a real guest, an NVMe drive's reads, and boots; about a minute",
    "panels": "panels in JupyterLab in Chromium, and what they cost a guest; about six minutes",
}
_DEFAULT = ("local", "vm")


def _local(rows: int) -> Iterator[Figure | str]:
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


def _panels(rows: int, seconds: float) -> Iterator[str]:
    from hdvlab.bench.browser.chromium import check_browser

    check_browser()
    from playwright.sync_api import Error  # hdvlab itself does not need it

    from hdvlab.bench.panels import bench_panels

    try:
        yield from bench_panels(rows, seconds)
    except Error as error:
        raise BackendError(f"the browser says: {error.message.splitlines()[0]}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table; 1 where a part of it could not be measured."""
    listed = "; ".join(f"{name}: {text}" for name, text in _PARTS.items())
    parser = argparse.ArgumentParser(prog="hdvlab bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{listed} (default: local and vm)")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of a long trace (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=30, help="how long a guest runs while panels look (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in _PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(_PARTS)}")
    free = Path(tempfile.gettempdir())
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"recording into {free}; a ratio over 1 is slower than the target; load now: {load:.1f} per CPU\n")
    missing = 0
    parts: dict[str, Callable[[], Iterator[Figure | str]]] = {
        "local": lambda: _local(options.rows),
        "vm": _vm,
        "panels": lambda: _panels(options.rows, options.seconds),
    }
    for part in options.parts or _DEFAULT:
        if part != "panels":
            print(f"{'':<58} {'median':>9} {'best':>9} {'':<3} {'target':>8}     ratio")
        try:
            for line in parts[part]():
                print(line, flush=True)
        except HdvError as error:
            if part == "local":
                raise
            missing = 1
            print(f"the rest of {part} could not be measured: {error}", flush=True)
    return missing
