"""Arguments of the verbs for machines: start, boot, vm, sh, and for device hosts: host, attach; and of lab."""

from __future__ import annotations

import argparse

from hdvlab.commands.arguments.argument import add
from hdvlab.commands.arguments.recording import run_name
from hdvlab.commands.number import parse_count, parse_size


def start(parser: argparse.ArgumentParser) -> None:
    add(parser, "--ram", type=parse_size, metavar="SIZE", complete="size", help="guest RAM of a new lab: 64M")
    add(parser, "--trace", metavar="DIRECTORY", complete="path", help="where a new lab records, and it stays there")
    add(parser, "--clock", choices=("auto", "tsc", "monotonic", "manual"), default=None, help="clock of a new lab")


def boot(parser: argparse.ArgumentParser) -> None:
    add(parser, "--device", action="append", default=[], dest="devices", metavar="NAME", complete="pluggable",
        help="a device for the VM, as for plug; several are fine; what is plugged in when none is given")  # fmt: skip
    add(
        parser,
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        complete="config",
        help="a setting for the devices",
    )
    add(
        parser,
        "--ram",
        type=parse_size,
        default=256 << 20,
        metavar="SIZE",
        complete="size",
        help="guest RAM; 256M when not given",
    )
    add(parser, "--cpus", type=parse_count, default=1, metavar="N", complete="cpus",
         help="virtual CPUs; 1 when not given")  # fmt: skip
    add(parser, "--kvm", action="store_true", help="run the guest's code on this computer's CPU, not emulated (TCG)")
    add(parser, "--kernel", metavar="FILE", complete="path", help="a Linux kernel of yours")
    add(parser, "--initramfs", metavar="FILE", complete="path", help="an initramfs of yours")
    add(parser, "--no-agent", action="store_false", dest="agent", help="your initramfs has no agent: the console only")
    add(parser, "--disk", metavar="FILE", complete="path", help="a disk image, which the guest may write")
    add(parser, "--append", default="", metavar="WORDS", help="more words for the kernel's command line")
    add(parser, "--module", action="append", default=[], dest="modules", metavar="NAME", help="a module to load")
    add(parser, "--tool", action="append", default=[], dest="tools", metavar="NAME", complete="tool",
        help="programs for the guest: pciutils (lspci, setpci), e2fsprogs (mkfs.ext4, fsck.ext4)")  # fmt: skip
    add(parser, "--no-posted-writes", action="store_false", dest="posted_writes",
        help="the guest waits for each write to a memory BAR, which then takes ten times as long; "
        "a breakpoint stops it there")  # fmt: skip
    add(parser, "--hide-capabilities", action="store_true",
        help="QEMU manages no capability: MSI-X tables are the device's own, as under Hyper-V")  # fmt: skip
    add(parser, "--name", help="what its device host is called, for attach; vm1, vm2, ... when not given")
    add(parser, "--or-skip", action="store_true",
        help="where no VM can run: say so, and let the cells that follow be skipped instead of failing")  # fmt: skip
    add(parser, "--here", action="store_true", help="devices run in this kernel: no device host")


def vm(parser: argparse.ArgumentParser) -> None:
    add(parser, "action", nargs="?", default="status", metavar="ACTION", complete="vm",
        help="status, pause, resume, reset, off, kill, console [LINES | follow], put FILE PATH, "
        "get PATH [FILE]")  # fmt: skip
    add(parser, "words", nargs="*", default=[], metavar="...", complete="path", help="what the action takes")


def vm_shell(parser: argparse.ArgumentParser) -> None:
    add(parser, "action", nargs="?", default="status", choices=("status", "setup"), metavar="ACTION",
        help="status: what is here of QEMU, kernel and busybox; setup: bring what is missing")  # fmt: skip
    add(parser, "--mirror", metavar="URL", help="setup: a Debian mirror; that of this system's apt when not given")
    add(parser, "--cache", metavar="DIR", complete="path",
        help="where they are kept; $HDVLAB_CACHE or ~/.cache/hdvlab when not given")  # fmt: skip
    parser.description = "What a virtual machine is made of: QEMU, a Linux kernel, busybox and tools for the guest."


def sh(parser: argparse.ArgumentParser) -> None:
    run_name(parser)
    add(parser, "--out", metavar="VARIABLE", help="assign the run to this variable: its output, status and rows")
    add(parser, "--timeout", type=float, metavar="SECONDS", help="kill it after this long")
    add(parser, "command", nargs=argparse.REMAINDER, default=[], metavar="COMMAND",
        help="%%hdv sh uname -a; or the cell below %%%%hdv sh")  # fmt: skip
    parser.description = (
        "Run a shell command, or the cell as a script, in the VM's guest. Its output appears as it comes; what is\n"
        "returned has the output, the exit status and the rows of that time. The stop button ends it in the guest."
    )


def host(parser: argparse.ArgumentParser) -> None:
    add(parser, "name", metavar="NAME", complete="host", help="how it is called")
    add(parser, "--stop", action="store_true", help="end it: power off, end the recording; its trace stays")
    add(parser, "--machine", choices=("embedded", "vm"), default="embedded", help="embedded, or vm for a Linux VM")
    add(parser, "--ram", type=parse_size, metavar="SIZE", complete="size", help="guest RAM of an embedded machine: 64M")
    add(parser, "--trace", metavar="DIRECTORY", complete="path", help="where it records")
    add(parser, "--lease", type=float, default=600.0, metavar="SECONDS",
        help="how long it goes on while nobody is attached; 600, 0 = for ever")  # fmt: skip


def attach(parser: argparse.ArgumentParser) -> None:
    add(parser, "name", metavar="NAME", complete="host", help="a host; of a dead one you get the trace")


def lab(parser: argparse.ArgumentParser) -> None:
    add(parser, "lab", metavar="NAME", nargs="?", complete="lab", help="a variable that holds a Lab")
