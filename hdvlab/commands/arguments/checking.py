"""Arguments of check: of one submission, and of those of a class."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.number import parse_count, parse_size

_SHEETS = "a lab sheet: blink, timer or copy, or a Python file with one (mysheet.py)"


def check(parser: argparse.ArgumentParser) -> None:
    add(parser, "sheet", metavar="LAB", complete="sheet", help=_SHEETS)
    add(parser, "name", metavar="NAME", nargs="?", complete="submission",
        help="your class or function; what the sheet asks for when not given")  # fmt: skip
    parser.description = (
        "Run a device or a driver against a lab sheet: its exercises on fresh labs, its properties on the rows. The\n"
        "report names the rows that broke one; float(report) is the points."
    )


def check_folder(parser: argparse.ArgumentParser) -> None:
    add(parser, "sheet", metavar="LAB", help=_SHEETS)
    add(
        parser,
        "folder",
        metavar="FOLDER",
        help="the submissions: .py and .ipynb files, there and in its folders; or one of them",
    )
    add(parser, "--jobs", type=parse_count, default=1, metavar="N", help="how many run at a time; 1 when not given")
    add(parser, "--seconds", type=float, default=60.0, metavar="S", help="time of one submission; 60 when not given")
    add(parser, "--memory", type=parse_size, default=1 << 30, metavar="SIZE", help="of one process; 1G when not given")
    add(parser, "--details", action="store_true", help="each submission's whole report")
    add(parser, "--csv", action="store_true", help="the table as comma-separated values")
    add(parser, "--json", action="store_true", help="everything, reports with their rows too, as JSON")
    parser.description = (
        "Judge a class: each submission runs in a process of its own, without network, with limits on time and\n"
        "memory, and can write nothing but its own files. Where the kernel does not allow that, a line says so."
    )
