"""How things stand: ``status``, and what ``%hdv`` alone shows."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hdvlab.commands.current import why_gone
from hdvlab.commands.importing import import_whole
from hdvlab.commands.text import count
from hdvlab.errors import HResult

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab, Plugged

_MORE = "%hdv --help says what each does, %hdv VERB --help how; TAB completes verbs, devices, registers and fields."
_NO_LAB = "no lab yet; %hdv plug edu starts one with a first device"


@dataclass(frozen=True)
class DeviceStatus:
    """One plugged-in device."""

    name: str
    address: str
    ids: str
    class_name: str
    bars: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """How a lab stands.

    ``rows``, ``pending`` (accesses being served), ``lost`` and ``faults`` are counts; ``recording`` says whether rows
    are still taken, ``trace`` where they go; ``brokers`` is the sockets where processes with devices come, with those
    that are there; ``host`` is the device host that has it, ``breakpoints`` and ``stops`` a line each, ``next_steps``
    what to type next and why, ``verbs`` each group's name, verbs and purpose (both in the overview); ``runs`` is the
    named runs and loaded traces with their rows.
    """

    exists: bool = False
    machine: str = _NO_LAB
    devices: tuple[DeviceStatus, ...] = ()
    rows: int = 0
    pending: int = 0
    lost: int = 0
    faults: int = 0
    recording: str = ""
    trace: str = ""
    brokers: tuple[str, ...] = ()
    runs: dict[str, int] = field(default_factory=dict)
    verbs: tuple[tuple[str, str, str], ...] = ()
    host: str = ""
    breakpoints: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    next_steps: tuple[tuple[str, str], ...] = ()

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("host", self.host)] if self.host else []
        lines.append(("machine", self.machine))
        for device in self.devices:
            lines.append((device.name, f"{device.address}  {device.ids}  {device.class_name}"))
            lines += [("", bar) for bar in device.bars]
        lines += [("broker" if not number else "", text) for number, text in enumerate(self.brokers)]
        if self.exists:
            lines.append(("trace", f"{self._counts()}; {self.recording}"))
            lines.append(("", self.trace))
        lines += [("breaks" if not number else "", text) for number, text in enumerate(self.breakpoints)]
        lines += [("stopped" if not number else "", text) for number, text in enumerate(self.stops)]
        if self.runs:
            lines.append(("runs", ", ".join(f"{name} ({count(rows, 'row')})" for name, rows in self.runs.items())))
        lines += [("next" if not n else "", line) for n, line in enumerate(_aligned(self.next_steps))]
        return lines

    def _counts(self) -> str:
        told = [count(self.rows, "row")]
        told += [f"{number:,} {what}" for number, what in ((self.pending, "pending"), (self.lost, "lost")) if number]
        if self.faults:
            told.append(f"{count(self.faults, 'fault')} (%hdv faults)")
        return ", ".join(told)

    def __repr__(self) -> str:
        text = _aligned(self._lines())
        if self.verbs:
            text += ["", *_aligned([(group, words) for group, words, _ in self.verbs]), "", _MORE]
        return "\n".join(text)

    def _repr_html_(self) -> str:
        def table(lines: Iterable[tuple[str, str, str]]) -> str:
            cells = "".join(
                f'<tr title="{html.escape(purpose)}" style="vertical-align:top">'
                f'<th scope="row" style="text-align:left;white-space:nowrap">{html.escape(name)}</th>'
                f'<td style="text-align:left;white-space:pre-wrap">{html.escape(value)}</td></tr>'
                for name, value, purpose in lines
            )
            return f"<table>{cells}</table>"

        text = table((*line, "") for line in self._lines())
        return f"{text}{table(self.verbs)}<p>{html.escape(_MORE)}</p>" if self.verbs else text


def _aligned(lines: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in lines), default=0)
    return [f"{name:<{width}}  {value}" for name, value in lines]


def status(lab: AnyLab | None) -> Status:
    """How the lab stands: machine, devices with their BARs, trace, runs. Looking changes nothing."""
    if lab is None:
        return Status()
    if gone := why_gone(lab):
        trace = str(lab.trace.path)
        recording = "the recording has ended"
        return Status(exists=True, machine=gone, rows=len(lab.trace), recording=recording, trace=trace)
    import_whole("pandas")
    state = lab.trace.state
    if state.stopped:
        recording = f"recording has stopped ({HResult.symbol_of(state.stopped)})"
    else:
        recording = f"recording, clock {lab.trace.tables.facts.get('clock', 'unknown')}"
    attributes = lab.trace.frame().attrs
    return Status(
        exists=True,
        machine="; ".join(word for word in (_machine(lab), lab.held()) if word),
        devices=tuple(_device(one) for one in sorted(lab, key=lambda one: one.slot)),
        rows=len(lab.trace),
        pending=int(attributes.get("pending", 0)),
        lost=int(attributes.get("lost", 0)),
        faults=len(lab.faults),
        recording=recording,
        trace=str(lab.trace.path),
        brokers=tuple(repr(broker)[1:-1].removeprefix("broker ") for broker in lab.brokers),
        runs={name: len(run) for name, run in lab.runs.items()},
        host=_host(lab),
        breakpoints=tuple(repr(one) for one in getattr(lab, "breakpoints", ())),
        stops=tuple(repr(one).partition("\n")[0] for one in getattr(lab, "stops", ())),
    )


def _host(lab: AnyLab) -> str:
    from hdvlab.host import RemoteLab

    if not isinstance(lab, RemoteLab):
        return ""
    return f"{lab.name}, process {lab.host.pid}; it goes on without this notebook: %hdv attach {lab.name}"


def _machine(lab: AnyLab) -> str:
    if lab.has_vm:
        return repr(lab.vm)[1:-1] if lab.vm_booted else "VM, not booted: %hdv boot"
    ram = f", {lab.machine.ram_size >> 20} MiB RAM" if lab.running else ""
    return f"{'on' if lab.running else 'off'}, embedded{ram}"


def _device(one: Plugged) -> DeviceStatus:
    from hdvlab.device import RemoteDevice

    bars = []
    for index, bar in one.bars.items():
        placed = one.place(index)
        where = f"at {placed:#x}" if placed is not None else "not placed"
        bars.append(f"bar{index} {where}, {_size(bar.bar_size)}, {count(len(bar.map), 'register')}")
    device = one.device
    what = device.type_name
    if isinstance(device, RemoteDevice):
        what += ", in another process" if device.plugged_in else ", its process has taken it away"
    return DeviceStatus(one.name, one.address, f"{device.vendor_id:04x}:{device.device_id:04x}", what, tuple(bars))


def _size(size: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def overview(lab: AnyLab | None) -> Status:
    """The status, what to type next, and the verbs by what they are for."""
    from dataclasses import replace

    from hdvlab.commands.groups import GROUPS
    from hdvlab.commands.parser import BY_NAME, verbs

    known = set(verbs())
    told = tuple(
        (group.name, words, group.purpose)
        for group in GROUPS
        if (words := group.line(lambda name: f"%%hdv {name}" if BY_NAME[name].cell else name, known))
    )
    now = status(lab)
    return replace(now, verbs=told, next_steps=_next_steps(lab, now))


def _next_steps(lab: AnyLab | None, now: Status) -> tuple[tuple[str, str], ...]:
    """What to type as things stand, a few lines."""
    if lab is None:
        from hdvlab.host.record import of_this_place

        hosts = [(f"%hdv attach {one.name}", "go on with the lab that was started here") for one in of_this_place()]
        return (*hosts, ("%hdv plug edu", "a first device"), ("%hdv boot --device edu", "the same in a real Linux"))
    if why_gone(lab):
        return (("%hdv close", "leave it; the next command begins a new lab"), ("%hdv hosts", "which there are"))
    steps = []
    if now.stops:
        steps.append(("%hdv continue", "let the guest go on; or step, override, skip, retry"))
    if now.faults:
        steps.append(("%hdv faults", "what failed, with its traceback"))
    if not now.devices:
        steps.append(("%hdv plug edu", "a first device, or a class of yours"))
    elif lab.has_vm and not lab.vm_running:
        steps.append(("%hdv boot", "start the VM with these devices"))
    elif not lab.running:
        steps.append(("%hdv start", "power on"))
    else:
        name = next((register.name for one in lab for bar in one.maps.values() for register in bar), "")
        steps.append(("%hdv regs", "registers and their values"))
        if name:
            steps.append((f"%hdv whatif read {name}", "what a read would do, without doing it"))
        steps.append(("%hdv trace --last 20", "the last rows; %hdv plot timeline draws them"))
    return tuple(steps)
