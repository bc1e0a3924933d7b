"""Arguments of the verbs that draw: plot, theme, panel."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.arguments.rows import file_argument, run_option

_MOMENT = "nanoseconds since the trace began, or a length of time like 1.5ms"


def plot(parser: argparse.ArgumentParser) -> None:
    _kind_of_picture(parser)
    _picture(parser, "two runs")
    add(parser, "-o", dest="output", metavar="FILE", complete="path", help="also write it to a .png, .svg or .pdf file")
    run_option(parser)


def plot_file(parser: argparse.ArgumentParser) -> None:
    _kind_of_picture(parser)
    file_argument(parser)
    _picture(parser, "the other file")
    add(parser, "-o", dest="output", metavar="OUT", required=True, help="a .png, .svg or .pdf file")


def theme(parser: argparse.ArgumentParser) -> None:
    add(parser, "name", metavar="THEME", nargs="?", choices=("light", "dark"),
        help="light or dark; which it is when not given")  # fmt: skip
    parser.description = (
        "The colours of every picture from now on, in later notebooks too: the kernel cannot know the theme of the\n"
        "page. --theme of plot chooses for one picture."
    )


def panel(parser: argparse.ArgumentParser) -> None:
    add(parser, "names", metavar="PANEL", nargs="*",
        choices=("status", "stepper", "registers", "config", "memory", "timeline", "table", "heatmap"),
        help="which: status, stepper, registers, config, memory, timeline, table, heatmap; else all")  # fmt: skip


def _picture(parser: argparse.ArgumentParser, compared: str) -> None:
    add(parser, "registers", metavar="REGISTER", nargs="*", default=[], complete="picture",
        help="waveform, states: CTRL, CTRL.EN, blink.CTRL, bar0+0x10; the busiest when not given; "
        f"interrupts: the register that the guest answers with; compare: {compared}")  # fmt: skip
    add(parser, "--device", metavar="DEVICE", complete="traced",
        help="timeline, heatmap, dma, interrupts: only this device")  # fmt: skip
    add(parser, "--bar", type=int, choices=range(6), metavar="N", help="heatmap: this BAR; the busiest when not given")
    add(parser, "--by", choices=("kind", "register", "device"),
        help="what a line stands for; latency: kind or register, rate: kind or device")  # fmt: skip
    add(parser, "--start", metavar="TIME", help=f"first moment to show: {_MOMENT}")
    add(parser, "--stop", metavar="TIME", help="first moment not to show")
    add(parser, "--theme", choices=("light", "dark"), help="colours; the verb theme sets them for good")


def _kind_of_picture(parser: argparse.ArgumentParser) -> None:
    names = ("timeline", "heatmap", "latency", "waveform", "dma", "interrupts", "states", "rate", "compare")
    add(parser, "kind", metavar="PICTURE", choices=names, help=f"{', '.join(names[:-1])} or {names[-1]}")
