"""Arguments of the verbs that bring devices: plug, unplug, c, load; and of config, which says how to compile them."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.number import parse_slot


def plug(parser: argparse.ArgumentParser) -> None:
    add(parser, "device", metavar="NAME", complete="pluggable",
        help="a class derived from Device, a device you made, or one of hdvlab's: edu, edu.c, ring")  # fmt: skip
    add(parser, "--name", help="how the lab calls it; the class's name in lower case when not given")
    _slot_and_config(parser)


def unplug(parser: argparse.ArgumentParser) -> None:
    add(parser, "device", metavar="DEVICE", complete="device", help="name of a plugged-in device")


def c(parser: argparse.ArgumentParser) -> None:
    add(parser, "--name", help="how the lab calls it; the name that it gives itself when not given")
    _slot_and_config(parser)
    add(parser, "--cc", metavar="CC", complete="compiler", help="the compiler; $CC, cc, gcc or clang when not given")
    parser.usage = f"{parser.prog} [--name NAME] [--slot N] [--config KEY=VALUE] [--cc CC] [compiler flags]"
    parser.set_defaults(flags=[])
    parser.description = (
        "Compile the cell as C and plug the device in; running it again swaps the device. The cell includes\n"
        "hdvlab_device.h, which says what it defines. Other options, such as -O3 or -lm, go to the compiler."
    )


def load(parser: argparse.ArgumentParser) -> None:
    add(parser, "path", metavar="PATH", complete="path",
        help="a compiled device (.so) or a source of one (.c); or a recording's directory, a .parquet file, "
        "an mmiotrace log (.gz too)")  # fmt: skip
    add(parser, "--name", "--as", dest="name", metavar="NAME",
        help="how the lab calls the device, or the trace in --run; its own name when not given")  # fmt: skip
    _slot_and_config(parser)


def config(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("--cflags", "for the compiler: where the headers are"),
        ("--libs", "for the linker: where the library is, also when the program runs"),
        ("--includedir", "the folder of the headers"),
        ("--libdir", "the folder of the library"),
        ("--version", "the version"),
    ):
        add(parser, name, action="store_true", help=what)


def _slot_and_config(parser: argparse.ArgumentParser) -> None:
    add(
        parser,
        "--slot",
        type=parse_slot,
        metavar="N",
        complete="slot",
        help="0 to 31; the first free one from 1 when not given",
    )
    add(
        parser,
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        complete="config",
        help="a setting for the device",
    )
