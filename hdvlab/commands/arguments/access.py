"""Arguments of the verbs that look at registers and move them: lspci, regs, peek, poke, read, write, whatif."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add


def lspci(parser: argparse.ArgumentParser) -> None:
    _device(parser)
    add(parser, "-v", action="count", default=0, dest="verbose", help="flags, regions, capabilities; -vv every bit")
    add(parser, "-x", action="count", default=0, dest="hex_level", help="64 bytes of config space; -xxx 256, -xxxx all")


def regs(parser: argparse.ArgumentParser) -> None:
    _device(parser)


def peek(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", complete="location", help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10")
    _size(parser)


def poke(parser: argparse.ArgumentParser) -> None:
    add(parser, "settings", metavar="LOCATION=VALUE", nargs="+", complete="setting",
        help="CTRL.EN=1, several are fine; or CTRL.EN 1")  # fmt: skip
    _size(parser)


def read(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", complete="location",
        help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10, config+0x4")  # fmt: skip
    _size(parser)


def write(parser: argparse.ArgumentParser) -> None:
    read(parser)
    add(parser, "value", metavar="VALUE", nargs="?", complete="value",
        help="31, 0x1f, 0b1_1111, or what the field calls it; LOCATION=VALUE is fine too")  # fmt: skip


def whatif(parser: argparse.ArgumentParser) -> None:
    add(parser, "access", metavar="ACCESS", choices=("read", "write"), help="read or write, over the bus as a driver's")
    add(parser, "location", metavar="LOCATION", complete="location",
        help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10; of a write CTRL=1 or CTRL.EN=1")  # fmt: skip
    add(parser, "value", metavar="VALUE", nargs="?", complete="value", help="of a write, where LOCATION has none")
    _size(parser)
    parser.description = (
        "Say what a read or a write would do: the answer, registers before and after, DMA, interrupts, timers, and\n"
        "what else the device keeps. Its handlers run on a copy of it; device, guest memory and trace stay as they are."
    )


def _device(parser: argparse.ArgumentParser) -> None:
    add(parser, "device", metavar="DEVICE", nargs="?", complete="device", help="only this device")


def _size(parser: argparse.ArgumentParser) -> None:
    add(parser, "--size", type=int, choices=(1, 2, 4, 8), help="bytes of the access; the register's own by default")
