"""The arguments of each verb. ``complete`` on an action says what TAB offers for it; see ``completion``."""

from __future__ import annotations

import argparse
from typing import Any

from hdvlab.commands.number import parse_count, parse_number, parse_size, parse_slot

_KINDS = "mmio, config, dma, interrupt, doorbell, memory, lifecycle, mark, fault, lost, or a single one like mmio_read"
_SHEETS = "a lab sheet: blink, timer or copy, or a Python file with one (mysheet.py)"
_MOMENT = "nanoseconds since the trace began, or a length of time like 1.5ms"


def _add(parser: argparse.ArgumentParser, *names: str, complete: str = "", **settings: Any) -> None:
    action = parser.add_argument(*names, **settings)
    action.complete = complete  # type: ignore[attr-defined]


def nothing(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def rest(parser: argparse.ArgumentParser) -> None:
    """Whatever comes; somebody else reads it."""
    _add(parser, "words", nargs=argparse.REMAINDER, metavar="...")


def plug(parser: argparse.ArgumentParser) -> None:
    _add(parser, "device", metavar="NAME", complete="pluggable",
         help="a class derived from Device, a device you made, or one of hdvlab's: edu, edu.c, ring")  # fmt: skip
    _add(parser, "--name", help="how the lab calls it; the class's name in lower case when not given")
    _slot_and_config(parser)


def _slot_and_config(parser: argparse.ArgumentParser) -> None:
    _add(
        parser,
        "--slot",
        type=parse_slot,
        metavar="N",
        complete="slot",
        help="0 to 31; the first free one from 1 when not given",
    )
    _add(
        parser,
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        complete="config",
        help="a setting for the device",
    )


def c(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--name", help="how the lab calls it; the name that it gives itself when not given")
    _slot_and_config(parser)
    _add(parser, "--cc", metavar="CC", complete="compiler", help="the compiler; $CC, cc, gcc or clang when not given")
    parser.usage = f"{parser.prog} [--name NAME] [--slot N] [--config KEY=VALUE] [--cc CC] [compiler flags]"
    parser.set_defaults(flags=[])
    parser.description = (
        "Compile the cell as C and plug the device in; running it again swaps the device. The cell includes\n"
        "hdvlab_device.h, which says what it defines. Other options, such as -O3 or -lm, go to the compiler."
    )


def config(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("--cflags", "for the compiler: where the headers are"),
        ("--libs", "for the linker: where the library is, also when the program runs"),
        ("--includedir", "the folder of the headers"),
        ("--libdir", "the folder of the library"),
        ("--version", "the version"),
    ):
        _add(parser, name, action="store_true", help=what)


def boot(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--device", action="append", default=[], dest="devices", metavar="NAME", complete="pluggable",
         help="a device for the VM, as for plug; several are fine; what is plugged in when none is given")  # fmt: skip
    _add(
        parser,
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        complete="config",
        help="a setting for the devices",
    )
    _add(
        parser,
        "--ram",
        type=parse_size,
        default=256 << 20,
        metavar="SIZE",
        complete="size",
        help="guest RAM; 256M when not given",
    )
    _add(parser, "--cpus", type=parse_count, default=1, metavar="N", complete="cpus",
         help="virtual CPUs; 1 when not given")  # fmt: skip
    _add(parser, "--kvm", action="store_true", help="run the guest's code on this computer's CPU, not emulated (TCG)")
    _add(parser, "--kernel", metavar="FILE", complete="path", help="a Linux kernel of yours")
    _add(parser, "--initramfs", metavar="FILE", complete="path", help="an initramfs of yours")
    _add(parser, "--no-agent", action="store_false", dest="agent", help="your initramfs has no agent: the console only")
    _add(parser, "--disk", metavar="FILE", complete="path", help="a disk image, which the guest may write")
    _add(parser, "--append", default="", metavar="WORDS", help="more words for the kernel's command line")
    _add(parser, "--module", action="append", default=[], dest="modules", metavar="NAME", help="a module to load")
    _add(parser, "--tool", action="append", default=[], dest="tools", metavar="NAME", complete="tool",
         help="programs for the guest: pciutils (lspci, setpci), e2fsprogs (mkfs.ext4, fsck.ext4)")  # fmt: skip
    _add(parser, "--no-posted-writes", action="store_false", dest="posted_writes",
         help="the guest waits for each write to a memory BAR, which then takes ten times as long; "
         "a breakpoint stops it there")  # fmt: skip
    _add(parser, "--hide-capabilities", action="store_true",
         help="QEMU manages no capability: MSI-X tables are the device's own, as under Hyper-V")  # fmt: skip
    _add(parser, "--name", help="what its device host is called, for attach; vm1, vm2, ... when not given")
    _add(parser, "--or-skip", action="store_true",
         help="where no VM can run: say so, and let the cells that follow be skipped instead of failing")  # fmt: skip
    _add(parser, "--here", action="store_true", help="devices run in this kernel: no device host")


def vm(parser: argparse.ArgumentParser) -> None:
    _add(parser, "action", nargs="?", default="status", metavar="ACTION", complete="vm",
         help="status, pause, resume, reset, off, kill, console [LINES | follow], put FILE PATH, "
         "get PATH [FILE]")  # fmt: skip
    _add(parser, "words", nargs="*", default=[], metavar="...", complete="path", help="what the action takes")


def vm_shell(parser: argparse.ArgumentParser) -> None:
    _add(parser, "action", nargs="?", default="status", choices=("status", "setup"), metavar="ACTION",
         help="status: what is here of QEMU, kernel and busybox; setup: bring what is missing")  # fmt: skip
    _add(parser, "--mirror", metavar="URL", help="setup: a Debian mirror; that of this system's apt when not given")
    _add(parser, "--cache", metavar="DIR", complete="path",
         help="where they are kept; $HDVLAB_CACHE or ~/.cache/hdvlab when not given")  # fmt: skip
    parser.description = "What a virtual machine is made of: QEMU, a Linux kernel, busybox and tools for the guest."


def sh(parser: argparse.ArgumentParser) -> None:
    _run_name(parser)
    _add(parser, "--out", metavar="VARIABLE", help="assign the run to this variable: its output, status and rows")
    _add(parser, "--timeout", type=float, metavar="SECONDS", help="kill it after this long")
    _add(parser, "command", nargs=argparse.REMAINDER, default=[], metavar="COMMAND",
         help="%%hdv sh uname -a; or the cell below %%%%hdv sh")  # fmt: skip
    parser.description = (
        "Run a shell command, or the cell as a script, in the VM's guest. Its output appears as it comes; what is\n"
        "returned has the output, the exit status and the rows of that time. The stop button ends it in the guest."
    )


def unplug(parser: argparse.ArgumentParser) -> None:
    _add(parser, "device", metavar="DEVICE", complete="device", help="name of a plugged-in device")


def start(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--ram", type=parse_size, metavar="SIZE", complete="size", help="guest RAM of a new lab: 64M")
    _add(parser, "--trace", metavar="DIRECTORY", complete="path", help="where a new lab records, and it stays there")
    _add(parser, "--clock", choices=("auto", "tsc", "monotonic", "manual"), default=None, help="clock of a new lab")


def host(parser: argparse.ArgumentParser) -> None:
    _add(parser, "name", metavar="NAME", complete="host", help="how it is called")
    _add(parser, "--stop", action="store_true", help="end it: power off, end the recording; its trace stays")
    _add(parser, "--machine", choices=("embedded", "vm"), default="embedded", help="embedded, or vm for a Linux VM")
    _add(
        parser, "--ram", type=parse_size, metavar="SIZE", complete="size", help="guest RAM of an embedded machine: 64M"
    )
    _add(parser, "--trace", metavar="DIRECTORY", complete="path", help="where it records")
    _add(parser, "--lease", type=float, default=600.0, metavar="SECONDS",
         help="how long it goes on while nobody is attached; 600, 0 = for ever")  # fmt: skip


def attach(parser: argparse.ArgumentParser) -> None:
    _add(parser, "name", metavar="NAME", complete="host", help="a host; of a dead one you get the trace")


def lab(parser: argparse.ArgumentParser) -> None:
    _add(parser, "lab", metavar="NAME", nargs="?", complete="lab", help="a variable that holds a Lab")


def _device(parser: argparse.ArgumentParser) -> None:
    _add(parser, "device", metavar="DEVICE", nargs="?", complete="device", help="only this device")


def lspci(parser: argparse.ArgumentParser) -> None:
    _device(parser)
    _add(parser, "-v", action="count", default=0, dest="verbose", help="flags, regions, capabilities; -vv every bit")
    _add(
        parser, "-x", action="count", default=0, dest="hex_level", help="64 bytes of config space; -xxx 256, -xxxx all"
    )


def regs(parser: argparse.ArgumentParser) -> None:
    _device(parser)


def _size(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--size", type=int, choices=(1, 2, 4, 8), help="bytes of the access; the register's own by default")


def peek(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", complete="location", help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10")
    _size(parser)


def poke(parser: argparse.ArgumentParser) -> None:
    _add(parser, "settings", metavar="LOCATION=VALUE", nargs="+", complete="setting",
         help="CTRL.EN=1, several are fine; or CTRL.EN 1")  # fmt: skip
    _size(parser)


def read(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", complete="location",
         help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10, config+0x4")  # fmt: skip
    _size(parser)


def write(parser: argparse.ArgumentParser) -> None:
    read(parser)
    _add(parser, "value", metavar="VALUE", nargs="?", complete="value",
         help="31, 0x1f, 0b1_1111, or what the field calls it; LOCATION=VALUE is fine too")  # fmt: skip


def whatif(parser: argparse.ArgumentParser) -> None:
    _add(
        parser, "access", metavar="ACCESS", choices=("read", "write"), help="read or write, over the bus as a driver's"
    )
    _add(parser, "location", metavar="LOCATION", complete="location",
         help="CTRL, CTRL.EN, blink.CTRL, bar0+0x10; of a write CTRL=1 or CTRL.EN=1")  # fmt: skip
    _add(parser, "value", metavar="VALUE", nargs="?", complete="value", help="of a write, where LOCATION has none")
    _size(parser)
    parser.description = (
        "Say what a read or a write would do: the answer, registers before and after, DMA, interrupts, timers, and\n"
        "what else the device keeps. Its handlers run on a copy of it; device, guest memory and trace stay as they are."
    )


def run(parser: argparse.ArgumentParser) -> None:
    _add(parser, "driver", metavar="FUNCTION", complete="driver",
         help="def driver(guest): ..., or the driver that comes with a device: edu")  # fmt: skip
    _add(
        parser,
        "arguments",
        metavar="ARGUMENT",
        nargs="*",
        default=[],
        complete="variable",
        help="more arguments for it: literals or variables",
    )
    _run_name(parser)


def _run_name(parser: argparse.ArgumentParser) -> None:
    _add(
        parser,
        "-o",
        dest="name",
        default="",
        metavar="NAME",
        complete="named",
        help="keep the rows under this name, for --run NAME",
    )


def guest(parser: argparse.ArgumentParser) -> None:
    _run_name(parser)
    _add(parser, "--out", metavar="VARIABLE", help="assign the Run to this variable")
    _add(
        parser,
        "--cc",
        metavar="CC",
        complete="compiler",
        help="in a VM: the compiler; $CC, cc, gcc or clang when not given",
    )
    _add(parser, "--flag", action="append", default=[], dest="flags", metavar="FLAG", help="in a VM: for the compiler")
    _add(parser, "--timeout", type=float, metavar="SECONDS", help="in a VM: kill it after this long")
    _add(parser, "arguments", nargs="*", default=[], metavar="ARGUMENT", help="in a VM: the program's arguments")
    parser.description = (
        "Run the cell as the guest. With the embedded machine it is Python: guest is the machine from inside, and\n"
        "each device has its name: edu.bar0.STATUS.read(), guest.dma_alloc(4096), guest.wait_interrupt(edu). Your\n"
        "variables are there, and what you assign stays. Rows know the line that made them (column source).\n"
        "With a VM it is a program in C with a main, which is compiled here and runs there; hdvlab_guest.h says what\n"
        "it can do. The stop button stops the guest's program."
    )


def record(parser: argparse.ArgumentParser) -> None:
    _run_name(parser)
    _add(parser, "--out", metavar="VARIABLE", help="assign the Run to this variable; .frame() is its rows")


def _stopping(parser: argparse.ArgumentParser, *, fully: bool = False) -> None:
    _add(parser, "--read", action="store_true", help="only reads; of DMA: what a device reads from guest memory")
    _add(parser, "--write", action="store_true", help="only writes")
    _add(parser, "--when", metavar="EXPRESSION", complete="condition",
         help='Python on value, old, offset, size, read, write, fields, registers by name: "value & 1"')  # fmt: skip
    if fully:
        _add(parser, "--device", metavar="DEVICE", complete="device", help="only this device")
        _add(parser, "--kind", metavar="KIND", complete="stopkind", help="only rows of this kind, such as dma")
        _add(parser, "--ignore", type=parse_number, default=0, metavar="N", help="let the first N pass")
    _add(parser, "--once", action="store_true", help="gone after the first")
    _add(parser, "--after", action="store_true", help="when the device has answered; else before it is asked")


def _changed(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--changed", action="store_true", help="only where the value differs from the last one there")


_PLACES = "CTRL, blink.CTRL.EN, CTRL==1, bar0+0x10..0x1f, config+0x4, dma 0x1000..0x1fff, interrupt, reset"


def break_(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", nargs="*", default=[], complete="stopping", help=_PLACES)
    _stopping(parser, fully=True)
    _changed(parser)
    parser.description = (
        "Stop the guest, or a device, at an access. While it is held, cells run: look with peek and regs, then\n"
        "continue, step, next, override, skip, or edit the device's cell and retry."
    )


def unbreak(parser: argparse.ArgumentParser) -> None:
    _add(parser, "numbers", metavar="N", nargs="*", default=[], complete="breakpoint", help="numbers, or all")
    _add(parser, "--off", action="store_true", help="keep them, but have them match nothing")
    _add(parser, "--on", action="store_true", help="have them match again")


def step(parser: argparse.ArgumentParser) -> None:
    _add(parser, "count", metavar="N", nargs="?", type=parse_count, default=1, help="how many accesses; 1")


def next_(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", nargs="+", complete="stopping", help=_PLACES)
    _add(parser, "--read", action="store_true", help="only reads")
    _add(parser, "--write", action="store_true", help="only writes")


def override(parser: argparse.ArgumentParser) -> None:
    _add(parser, "value", metavar="VALUE", complete="override", help="31, 0x1f, or FIELD=1: the other bits stay")


def log(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", complete="stopping", help=_PLACES)
    _add(parser, "message", metavar="MESSAGE", nargs="*", default=[],
         help='"CTRL={value:#x}"; what happens, when not given')  # fmt: skip
    _stopping(parser)
    _changed(parser)


def trigger(parser: argparse.ArgumentParser) -> None:
    _add(parser, "location", metavar="LOCATION", nargs="+", complete="stopping", help=_PLACES)
    _add(parser, "--record", choices=("start", "stop"), help="recording goes on from there (pauses now), or pauses")
    _add(parser, "--keep", nargs=2, type=parse_number, metavar=("BEFORE", "AFTER"),
         help="keep so many rows around it as a run; 100 100 where nothing else is said")  # fmt: skip
    _stopping(parser)


def mark(parser: argparse.ArgumentParser) -> None:
    _add(parser, "text", metavar="TEXT", nargs="*", default=[], help="the rest of the line")


def _rows(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--last", type=parse_count, metavar="N", help="only the last N of the rows chosen")
    _add(parser, "--kind", action="append", default=[], metavar="KIND", complete="kind", help=_KINDS)
    _add(parser, "--device", metavar="DEVICE", complete="traced", help="only this device")
    _add(
        parser, "--register", metavar="REGISTER", complete="register", help="accesses to CTRL, blink.CTRL or bar0+0x10"
    )
    _add(parser, "--origin", metavar="ORIGIN", complete="origin",
         help="guest, user, device, replay, injected or machine")  # fmt: skip
    _add(parser, "--since", metavar="MARK", complete="mark", help="from the last mark with this text on, or from a row")
    _add(parser, "--failed", action="store_true", help="only faults and failed accesses")
    _add(parser, "--raw", action="store_true", help="the columns as recorded, without names")


def _run(parser: argparse.ArgumentParser) -> None:
    _add(
        parser,
        "--run",
        metavar="NAME",
        complete="run",
        help="rows of a named run, a loaded trace, or a variable that holds one",
    )


def trace(parser: argparse.ArgumentParser) -> None:
    _rows(parser)
    _run(parser)


def _file(parser: argparse.ArgumentParser) -> None:
    _add(parser, "file", metavar="FILE", help="a recording's directory, a .parquet file, or an mmiotrace log (.gz too)")


def trace_file(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    _rows(parser)
    _add(parser, "--csv", action="store_true", help="every row, as comma-separated values")


def _picture(parser: argparse.ArgumentParser, compared: str) -> None:
    _add(parser, "registers", metavar="REGISTER", nargs="*", default=[], complete="picture",
         help="waveform, states: CTRL, CTRL.EN, blink.CTRL, bar0+0x10; the busiest when not given; "
         f"interrupts: the register that the guest answers with; compare: {compared}")  # fmt: skip
    _add(parser, "--device", metavar="DEVICE", complete="traced",
         help="timeline, heatmap, dma, interrupts: only this device")  # fmt: skip
    _add(parser, "--bar", type=int, choices=range(6), metavar="N", help="heatmap: this BAR; the busiest when not given")
    _add(parser, "--by", choices=("kind", "register", "device"),
         help="what a line stands for; latency: kind or register, rate: kind or device")  # fmt: skip
    _add(parser, "--start", metavar="TIME", help=f"first moment to show: {_MOMENT}")
    _add(parser, "--stop", metavar="TIME", help="first moment not to show")
    _add(parser, "--theme", choices=("light", "dark"), help="colours; the verb theme sets them for good")


def _kind_of_picture(parser: argparse.ArgumentParser) -> None:
    names = ("timeline", "heatmap", "latency", "waveform", "dma", "interrupts", "states", "rate", "compare")
    _add(parser, "kind", metavar="PICTURE", choices=names, help=f"{', '.join(names[:-1])} or {names[-1]}")


def plot(parser: argparse.ArgumentParser) -> None:
    _kind_of_picture(parser)
    _picture(parser, "two runs")
    _add(
        parser, "-o", dest="output", metavar="FILE", complete="path", help="also write it to a .png, .svg or .pdf file"
    )
    _run(parser)


def plot_file(parser: argparse.ArgumentParser) -> None:
    _kind_of_picture(parser)
    _file(parser)
    _picture(parser, "the other file")
    _add(parser, "-o", dest="output", metavar="OUT", required=True, help="a .png, .svg or .pdf file")


def theme(parser: argparse.ArgumentParser) -> None:
    _add(parser, "name", metavar="THEME", nargs="?", choices=("light", "dark"),
         help="light or dark; which it is when not given")  # fmt: skip
    parser.description = (
        "The colours of every picture from now on, in later notebooks too: the kernel cannot know the theme of the\n"
        "page. --theme of plot chooses for one picture."
    )


def panel(parser: argparse.ArgumentParser) -> None:
    _add(parser, "names", metavar="PANEL", nargs="*",
         choices=("status", "stepper", "registers", "config", "memory", "timeline", "table", "heatmap"),
         help="which: status, stepper, registers, config, memory, timeline, table, heatmap; else all")  # fmt: skip


def save(parser: argparse.ArgumentParser) -> None:
    _add(parser, "path", metavar="PATH", complete="path", help="a new directory, or a file that ends in .parquet")
    _run(parser)


def load(parser: argparse.ArgumentParser) -> None:
    _add(parser, "path", metavar="PATH", complete="path",
         help="a compiled device (.so) or a source of one (.c); or a recording's directory, a .parquet file, "
         "an mmiotrace log (.gz too)")  # fmt: skip
    _add(parser, "--name", "--as", dest="name", metavar="NAME",
         help="how the lab calls the device, or the trace in --run; its own name when not given")  # fmt: skip
    _slot_and_config(parser)


def convert(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    _add(parser, "path", metavar="OUT", help="a new directory, or a file that ends in .parquet")


def check(parser: argparse.ArgumentParser) -> None:
    _add(parser, "sheet", metavar="LAB", complete="sheet", help=_SHEETS)
    _add(parser, "name", metavar="NAME", nargs="?", complete="submission",
         help="your class or function; what the sheet asks for when not given")  # fmt: skip
    parser.description = (
        "Run a device or a driver against a lab sheet: its exercises on fresh labs, its properties on the rows. The\n"
        "report names the rows that broke one; float(report) is the points."
    )


def check_folder(parser: argparse.ArgumentParser) -> None:
    _add(parser, "sheet", metavar="LAB", help=_SHEETS)
    _add(parser, "folder", metavar="FOLDER", help="the submissions: .py and .ipynb files, there and in its folders")
    _add(parser, "--jobs", type=parse_count, default=1, metavar="N", help="how many run at a time; 1 when not given")
    _add(parser, "--seconds", type=float, default=60.0, metavar="S", help="time of one submission; 60 when not given")
    _add(parser, "--memory", type=parse_size, default=1 << 30, metavar="SIZE", help="of one process; 1G when not given")
    _add(parser, "--details", action="store_true", help="each submission's whole report")
    _add(parser, "--csv", action="store_true", help="the table as comma-separated values")
    _add(parser, "--json", action="store_true", help="everything, reports with their rows too, as JSON")
    parser.description = (
        "Judge a class: each submission runs in a process of its own, without network, with limits on time and\n"
        "memory, and can write nothing but its own files. Where the kernel does not allow that, a line says so."
    )
