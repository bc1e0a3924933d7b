"""Arguments of the verbs that make rows: run, guest, record, mark."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add


def run(parser: argparse.ArgumentParser) -> None:
    add(parser, "driver", metavar="FUNCTION", complete="driver",
        help="def driver(guest): ..., or the driver that comes with a device: edu")  # fmt: skip
    add(
        parser,
        "arguments",
        metavar="ARGUMENT",
        nargs="*",
        default=[],
        complete="variable",
        help="more arguments for it: literals or variables",
    )
    run_name(parser)


def guest(parser: argparse.ArgumentParser) -> None:
    run_name(parser)
    add(parser, "--out", metavar="VARIABLE", help="assign the Run to this variable")
    add(
        parser,
        "--cc",
        metavar="CC",
        complete="compiler",
        help="in a VM: the compiler; $CC, cc, gcc or clang when not given",
    )
    add(parser, "--flag", action="append", default=[], dest="flags", metavar="FLAG", help="in a VM: for the compiler")
    add(parser, "--timeout", type=float, metavar="SECONDS", help="in a VM: kill it after this long")
    add(parser, "arguments", nargs="*", default=[], metavar="ARGUMENT", help="in a VM: the program's arguments")
    parser.description = (
        "Run the cell as the guest. With the embedded machine it is Python: guest is the machine from inside, and\n"
        "each device has its name: edu.bar0.STATUS.read(), guest.dma_alloc(4096), guest.wait_interrupt(edu). Your\n"
        "variables are there, and what you assign stays. Rows know the line that made them (column source).\n"
        "With a VM it is a program in C with a main, which is compiled here and runs there; hdvlab_guest.h says what\n"
        "it can do. The stop button stops the guest's program."
    )


def record(parser: argparse.ArgumentParser) -> None:
    run_name(parser)
    add(parser, "--out", metavar="VARIABLE", help="assign the Run to this variable; .frame() is its rows")


def mark(parser: argparse.ArgumentParser) -> None:
    add(parser, "text", metavar="TEXT", nargs="*", default=[], help="the rest of the line")


def run_name(parser: argparse.ArgumentParser) -> None:
    """``-o``: how the rows are called."""
    add(
        parser,
        "-o",
        dest="name",
        default="",
        metavar="NAME",
        complete="named",
        help="keep the rows under this name, for --run NAME",
    )
