"""Arguments of the verbs that read and write rows: trace, save, convert."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.number import parse_count

_KINDS = "mmio, config, dma, interrupt, doorbell, memory, lifecycle, mark, fault, lost, or a single one like mmio_read"


def trace(parser: argparse.ArgumentParser) -> None:
    _rows(parser)
    run_option(parser)


def trace_file(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    _rows(parser)
    add(parser, "--csv", action="store_true", help="every row, as comma-separated values")


def save(parser: argparse.ArgumentParser) -> None:
    add(parser, "path", metavar="PATH", complete="path", help="a new directory, or a file that ends in .parquet")
    run_option(parser)


def convert(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    add(parser, "path", metavar="OUT", help="a new directory, or a file that ends in .parquet")


def _rows(parser: argparse.ArgumentParser) -> None:
    add(parser, "--last", type=parse_count, metavar="N", help="only the last N of the rows chosen")
    add(parser, "--kind", action="append", default=[], metavar="KIND", complete="kind", help=_KINDS)
    add(parser, "--device", metavar="DEVICE", complete="traced", help="only this device")
    add(parser, "--register", metavar="REGISTER", complete="register", help="accesses to CTRL, blink.CTRL or bar0+0x10")
    add(parser, "--origin", metavar="ORIGIN", complete="origin",
        help="guest, user, device, replay, injected or machine")  # fmt: skip
    add(parser, "--since", metavar="MARK", complete="mark", help="from the last mark with this text on, or from a row")
    add(parser, "--failed", action="store_true", help="only faults and failed accesses")
    add(parser, "--raw", action="store_true", help="the columns as recorded, without names")


def run_option(parser: argparse.ArgumentParser) -> None:
    """``--run``: whose rows."""
    add(
        parser,
        "--run",
        metavar="NAME",
        complete="run",
        help="rows of a named run, a loaded trace, or a variable that holds one",
    )


def file_argument(parser: argparse.ArgumentParser) -> None:
    """The file of rows to read."""
    add(parser, "file", metavar="FILE", help="a recording's directory, a .parquet file, or an mmiotrace log (.gz too)")
