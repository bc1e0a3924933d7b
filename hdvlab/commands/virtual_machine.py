"""A VM with the person's devices: ``boot``, and what is done with it: ``vm``, ``sh``."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hdvlab.commands.current import existing_lab, use_lab, why_gone
from hdvlab.commands.plugging import check_settings, find_device
from hdvlab.commands.progress import late_bar
from hdvlab.commands.text import Text, count
from hdvlab.errors import HResult, StateError, UsageError

#: Seconds between two looks at the console.
_LOOK = 0.2

if TYPE_CHECKING:
    from hdvlab.lab.interface import AnyLab
    from hdvlab.lab.shell import ShellRun
    from hdvlab.systems.qemu.command_line import VmOptions
    from hdvlab.systems.qemu.setup import Progress

#: Bytes of a guest's file that are shown in a notebook.
_MOST_SHOWN = 1 << 20
#: Of a q35 machine without x2APIC.
_MOST_CPUS = 255
#: Linux with hdvlab's initramfs does not come up with less, bytes.
_LEAST_RAM = 64 << 20


def boot(
    lab: AnyLab | None,
    devices: Sequence[Any] = (),
    *,
    ram: int = 256 << 20,
    cpus: int = 1,
    kvm: bool = False,
    kernel: str | None = None,
    initramfs: str | None = None,
    agent: bool = True,
    disk: str | None = None,
    append: str = "",
    modules: Sequence[str] = (),
    tools: Sequence[str] = (),
    posted_writes: bool = True,
    hide_capabilities: bool = False,
    config: Sequence[str] = (),
    name: str | None = None,
    here: bool = False,
    namespace: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Text:
    """Start a Linux VM with devices in it.

    A lab with a VM that is off is booted again, with these devices beside its own; otherwise a new one is made and
    becomes the lab of ``%hdv``: in a process of its own, a device host, that outlives this one.

    Parameters
    ----------
    lab : Lab, optional
        The lab of ``%hdv``, if there is one.
    devices : sequence of str, Device or subclass
        As for ``plug``. Where none is given: what is plugged in now.
    ram, cpus, kvm, kernel, initramfs, agent, disk, append, modules, tools, posted_writes, hide_capabilities
        See :class:`hdvlab.systems.qemu.command_line.VmOptions`.
    config : sequence of str
        ``key=value`` settings for the devices.
    name : str, optional
        What the device host is called, for ``attach``; the first free one of vm1, vm2, ... when not given.
    here : bool
        Let the devices run in this process: no device host. The VM ends with it.
    namespace : mapping, optional
        The person's variables.
    """
    from hdvlab.systems.qemu.command_line import VmOptions
    from hdvlab.systems.qemu.setup import TextBar
    from hdvlab.systems.qemu.vm import installation

    check_settings(config)
    options = VmOptions(
        ram=ram, cpus=cpus, accelerator="kvm" if kvm else "tcg", kernel=_path(kernel), initramfs=_path(initramfs),
        agent=agent,
        disk=_path(disk), append=append, modules=tuple(modules), tools=tuple(tools),
        posted_writes=posted_writes, hide_capabilities=hide_capabilities,
    )  # fmt: skip
    check_options(options)
    installation(progress)  # before anything is made for it
    if lab is not None and why_gone(lab):
        lab = None
    chosen = [find_device(one, namespace or {}) if isinstance(one, str) else one for one in devices]
    if lab is None or not lab.has_vm:
        if not chosen and lab is not None:
            chosen = [type(one.device) for one in lab]  # new ones: those that are there stay where they are
        if not chosen:
            raise UsageError("nothing to boot with; say which device: %hdv boot --device Blink (or edu, nvme)")
        lab = use_lab(_new_lab(name, here))
    elif lab.vm_running:
        raise StateError("the VM is on already; %hdv vm reset starts its guest anew, %hdv vm off ends it")
    for device in chosen:
        lab.plug(device, configuration=config)
    if isinstance(progress, TextBar):
        progress.close()  # what it said stays; the wait for Linux has a line of its own
    with late_bar("Linux boots"):
        vm = lab.boot(options, progress=progress)
    names = ", ".join(f"{one.name} at {one.address}" for one in lab) or "no devices"
    if vm.boot_seconds is None:
        return Text(f"Linux is booting, with {names}: {lab.held() or '%hdv vm console shows how far it is'}")
    host = getattr(lab, "name", "")
    where = f"; its devices run in host {host}" if host else ""
    return Text(f"Linux is up after {vm.boot_seconds or 0:.1f} s, with {names}{where}")


def _new_lab(name: str | None, here: bool) -> AnyLab:
    if here:
        from hdvlab.lab import Lab

        return Lab(machine="vm")
    from hdvlab import host

    if name is not None:
        return host.start(name, machine="vm")
    for number in itertools.count(1):
        try:
            return host.start(f"vm{number}", machine="vm")
        except StateError as error:
            if error.hresult != HResult.ERROR_ALREADY_EXISTS:
                raise
    raise AssertionError("there is no last number")


def check_options(options: VmOptions) -> None:
    """Refuse what cannot be, before anything is started for it.

    Raises
    ------
    UsageError
        A file is not there, or the guest's RAM is more than this computer has, or too little for Linux.
    """
    for what, path in (("kernel", options.kernel), ("initramfs", options.initramfs), ("disk", options.disk)):
        if path is not None and not path.is_file():
            raise UsageError(f"no {what} {path}; give a file's path")
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    least = _LEAST_RAM if options.kernel is None else 1 << 20
    if not least <= options.ram <= here:
        raise UsageError(
            f"--ram: {options.ram / (1 << 20):,.0f} MiB; a guest here takes {least >> 20:,} to {here >> 20:,} MiB, "
            "such as --ram 512M"
        )
    if not 1 <= options.cpus <= _MOST_CPUS:
        raise UsageError(f"--cpus: {options.cpus:,}; a guest takes 1 to {_MOST_CPUS}")
    if options.accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        reason = "you may not use /dev/kvm" if os.path.exists("/dev/kvm") else "this computer has no /dev/kvm"
        raise UsageError(f"--kvm: {reason}; without --kvm the guest's code is emulated, which works everywhere")


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def plain_console(text: str) -> str:
    """A console's text without what only a terminal understands."""
    from hdvlab.systems.qemu.vm import plain

    return plain(text)


def existing_vm_lab() -> AnyLab:
    """The lab of ``%hdv``, which must have a VM."""
    lab = existing_lab()
    if lab is None or not lab.has_vm:
        raise StateError("there is no VM; boot one: %hdv boot --device edu")
    if gone := why_gone(lab):
        raise StateError(f"{gone}. %hdv boot --device NAME starts anew")
    return lab


def sh(
    lab: AnyLab,
    command: str,
    *,
    name: str = "",
    timeout: float | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> ShellRun:
    """Run a shell command, or a script of several lines, in the VM's guest.

    Its output appears as it comes (``on_output``; printed when not given); the run has it too, with the exit status
    and the rows of that time.
    """
    if not command.strip():
        raise UsageError("sh: there is no command; %%hdv sh takes the cell as a script")
    return lab.sh(command, name=name, timeout=timeout, on_output=on_output or print_output)


def guest_program(
    lab: AnyLab,
    source: str,
    arguments: Sequence[str] = (),
    *,
    name: str = "",
    cc: str | None = None,
    flags: Sequence[str] = (),
    timeout: float | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> ShellRun:
    """Compile a C source with a ``main`` and run it in the VM's guest, against the devices.

    Parameters
    ----------
    lab : Lab
        Whose VM.
    source : str
        It includes ``hdvlab_guest.h``, which says what there is: BARs, config space, DMA memory, interrupts.
    arguments : sequence of str
        Of its command line.
    name : str
        Keep the run under this name.
    cc, flags
        Compiler, and more for it.
    timeout : float, optional
        Seconds; then it is killed.
    on_output : callable, optional
        Takes the output as it comes; printed when not given.
    """
    from hdvlab.systems.qemu.guest_c import compile_guest_program, guest_command

    program = compile_guest_program(source, cc=cc, flags=flags)
    if program.warnings:
        print(program.warnings, file=sys.stderr)
    devices = {one.name: f"0000:{one.address}" for one in lab}
    command = guest_command(lab.vm, program, arguments, devices=devices, timeout=timeout)
    run = lab.sh(command, name=name, timeout=timeout, on_output=on_output or print_output)
    run.name, run.command = name or "guest", program.path.name
    return run


def print_output(data: bytes) -> None:
    """Show output of the guest as it comes."""
    sys.stdout.write(data.decode(errors="backslashreplace"))
    sys.stdout.flush()


def vm(lab: AnyLab, action: str = "status", words: Sequence[str] = ()) -> Text:
    """Look at the VM, or move it.

    Parameters
    ----------
    lab : Lab
        Whose VM.
    action : str
        ``status``; ``pause``, ``resume``, ``reset``, ``off`` (in good order), ``kill`` (the plug); ``console [LINES]``,
        ``console follow`` (as it comes, until Ctrl-C);
        ``put FILE PATH``, ``get PATH [FILE]``.
    words : sequence of str
        What the action takes.
    """
    if action not in _ACTIONS:
        from hdvlab.commands.nearest import nearest

        raise UsageError(f"vm {action}; {nearest(action, _ACTIONS)}")
    least, most, take = _ACTIONS[action]
    if not least <= len(words) <= most:
        raise UsageError(f"vm {action} takes {_USE[action] or 'nothing more'}")
    return take(lab, *words)


def _status(lab: AnyLab) -> Text:
    lines = [repr(lab.vm)[1:-1]]
    lines += [f"{one.name:<10} {one.address}  {lab.served(one)}" for one in lab]
    if held := lab.held():
        lines.append(held)
    if lab.vm.running and (last := lab.vm.console_tail(1)):
        lines.append(f"console    {last}")
    return Text("\n".join(lines))


def _pause(lab: AnyLab) -> Text:
    lab.vm.pause()
    return Text("the VM is paused; %hdv vm resume lets it go on")


def _resume(lab: AnyLab) -> Text:
    lab.vm.resume()
    return Text("the VM goes on")


def _reset(lab: AnyLab) -> Text:
    lab.vm.reset()
    with late_bar("Linux boots"):
        seconds = lab.vm.wait_booted()
    return Text(f"Linux is up again after {seconds:.1f} s")


def _off(lab: AnyLab) -> Text:
    with late_bar("the guest powers off"):
        lab.vm.power_off()
    return Text("the VM is off; its devices are on, %hdv boot starts it again")


def _kill(lab: AnyLab) -> Text:
    lab.vm.kill()
    return Text("the VM is gone; its devices are on, %hdv boot starts another")


def _console(lab: AnyLab, lines: str = "40") -> Text:
    if lines == "follow":
        return _followed(lab)
    if not lines.isdigit():
        raise UsageError(f"vm console {lines}: say how many lines, such as 100, or follow")
    return Text(lab.vm.console_tail(int(lines)) or "the console has said nothing yet")


def _after(text: str, shown: str) -> str:
    """What of a console's text is new. All, where it was begun anew; of one too long to be kept, the beginning goes."""
    if text.startswith(shown):
        return text[len(shown) :]
    last = shown[-4096:]
    at = text.rfind(last)
    return text[at + len(last) :] if at >= 0 else text


def _followed(lab: AnyLab) -> Text:
    """Print the console as it comes until Ctrl-C, or until the VM is off."""
    vm, shown = lab.vm, ""
    try:
        while True:
            runs = vm.running
            text = vm.console()
            new = _after(text, shown)
            print_output(plain_console(new).encode())
            shown = text
            if not runs:
                return Text("the VM is off")
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        return Text("the VM goes on")


def _put(lab: AnyLab, file: str, path: str) -> Text:
    with late_bar(f"putting {Path(file).name} into the guest"):
        size = lab.vm.put(file, path)
    return Text(f"{count(size, 'byte')} are in the guest's {path}")


def _get(lab: AnyLab, path: str, file: str = "") -> Text:
    target = Path(file).expanduser() if file else None
    if target is not None and target.is_dir():
        target /= PurePosixPath(path).name
    if target is not None and not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}; make it first")
    with late_bar(f"getting {path} from the guest"):
        data = lab.vm.get(path)
    if target is None:
        if b"\0" in data or len(data) > _MOST_SHOWN:
            size = count(len(data), "byte")
            raise UsageError(f"{path}: {size}, too much or no text to show; %hdv vm get {path} FILE keeps them")
        return Text(data.decode(errors="backslashreplace"))
    try:
        target.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{error.strerror}: {target}") from None
    return Text(f"{count(len(data), 'byte')} are in {target}")


_ACTIONS: dict[str, tuple[int, int, Callable[..., Text]]] = {
    "status": (0, 0, _status),
    "pause": (0, 0, _pause),
    "resume": (0, 0, _resume),
    "reset": (0, 0, _reset),
    "off": (0, 0, _off),
    "kill": (0, 0, _kill),
    "console": (0, 1, _console),
    "put": (2, 2, _put),
    "get": (1, 2, _get),
}
_USE = dict.fromkeys(_ACTIONS, "") | {"console": "[LINES | follow]", "put": "FILE PATH", "get": "PATH [FILE]"}
ACTIONS = tuple(_ACTIONS)
"""What ``vm`` takes."""
