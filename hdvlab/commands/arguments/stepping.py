"""Arguments of the verbs that stop accesses: break, unbreak, step, next, override, log, trigger."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.number import parse_count, parse_number

_PLACES = "CTRL, blink.CTRL.EN, CTRL==1, bar0+0x10..0x1f, config+0x4, dma 0x1000..0x1fff, interrupt, reset"


def break_(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", nargs="*", default=[], complete="stopping", help=_PLACES)
    _stopping(parser, fully=True)
    _changed(parser)
    parser.description = (
        "Stop the guest, or a device, at an access. While it is held, cells run: look with peek and regs, then\n"
        "continue, step, next, override, skip, or edit the device's cell and retry."
    )


def unbreak(parser: argparse.ArgumentParser) -> None:
    add(parser, "numbers", metavar="N", nargs="*", default=[], complete="breakpoint", help="numbers, or all")
    add(parser, "--off", action="store_true", help="keep them, but have them match nothing")
    add(parser, "--on", action="store_true", help="have them match again")


def step(parser: argparse.ArgumentParser) -> None:
    add(parser, "count", metavar="N", nargs="?", type=parse_count, default=1, help="how many accesses; 1")


def next_(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", nargs="+", complete="stopping", help=_PLACES)
    add(parser, "--read", action="store_true", help="only reads")
    add(parser, "--write", action="store_true", help="only writes")


def override(parser: argparse.ArgumentParser) -> None:
    add(parser, "value", metavar="VALUE", complete="override", help="31, 0x1f, or FIELD=1: the other bits stay")


def log(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", complete="stopping", help=_PLACES)
    add(parser, "message", metavar="MESSAGE", nargs="*", default=[],
        help='"CTRL={value:#x}"; what happens, when not given')  # fmt: skip
    _stopping(parser)
    _changed(parser)


def trigger(parser: argparse.ArgumentParser) -> None:
    add(parser, "location", metavar="LOCATION", nargs="+", complete="stopping", help=_PLACES)
    add(parser, "--record", choices=("start", "stop"), help="recording goes on from there (pauses now), or pauses")
    add(parser, "--keep", nargs=2, type=parse_number, metavar=("BEFORE", "AFTER"),
        help="keep so many rows around it as a run; 100 100 where nothing else is said")  # fmt: skip
    _stopping(parser)


def _stopping(parser: argparse.ArgumentParser, *, fully: bool = False) -> None:
    add(parser, "--read", action="store_true", help="only reads; of DMA: what a device reads from guest memory")
    add(parser, "--write", action="store_true", help="only writes")
    add(parser, "--when", metavar="EXPRESSION", complete="condition",
        help='Python on value, old, offset, size, read, write, fields, registers by name: "value & 1"')  # fmt: skip
    if fully:
        add(parser, "--device", metavar="DEVICE", complete="device", help="only this device")
        add(parser, "--kind", metavar="KIND", complete="stopkind", help="only rows of this kind, such as dma")
        add(parser, "--ignore", type=parse_number, default=0, metavar="N", help="let the first N pass")
    add(parser, "--once", action="store_true", help="gone after the first")
    add(parser, "--after", action="store_true", help="when the device has answered; else before it is asked")


def _changed(parser: argparse.ArgumentParser) -> None:
    add(parser, "--changed", action="store_true", help="only where the value differs from the last one there")
