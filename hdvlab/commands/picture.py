"""Pictures: ``plot``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.commands.files import open_file
from hdvlab.commands.importing import import_whole
from hdvlab.commands.nearest import nearest
from hdvlab.commands.progress import late_bar
from hdvlab.commands.runs import trace_of
from hdvlab.commands.text import Text
from hdvlab.errors import TraceError, UsageError
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdvlab.lab import AnyLab

#: What each picture shows.
PICTURES = {
    "timeline": "every access over time, in a lane for each part of each device",
    "heatmap": "which registers of a BAR are touched, how often, and when",
    "latency": "how long accesses took",
    "waveform": "values of registers over time, as a logic analyser shows them",
    "dma": "guest memory that DMA touched, over time",
    "interrupts": "how long from the guest's write to the MSI, and from there to its answer",
    "states": "which values of a register followed which, and who changed them, as a graph",
    "rate": "accesses per second, and the share of time in devices' callbacks",
    "compare": "two runs side by side, and the registers whose counts differ",
}

#: What an option is for.
_TAKERS = {
    "registers": ("waveform", "states", "interrupts", "compare"),
    "device": ("timeline", "heatmap", "dma", "interrupts"),
    "bar": ("heatmap",),
    "by": ("latency", "rate"),
    "start": tuple(kind for kind in PICTURES if kind != "compare"),
    "stop": tuple(kind for kind in PICTURES if kind != "compare"),
}

#: What ``--by`` may say.
_GROUPS = {"latency": ("kind", "register"), "rate": ("kind", "device")}

_ENDINGS = (".png", ".pdf", ".svg")
_PLACE = re.compile(r"(?:(\w+)\.)?bar(\d)\+(\w+)", re.IGNORECASE)


def plot(
    source: AnyLab | Trace,
    kind: str,
    registers: Sequence[str] = (),
    *,
    device: str | None = None,
    bar: int | None = None,
    by: str | None = None,
    start: str | None = None,
    stop: str | None = None,
    theme: str | None = None,
    output: str | None = None,
    run: str | None = None,
    namespace: Mapping[str, Any] | None = None,
) -> Axes:
    """Draw a trace.

    Parameters
    ----------
    source : Lab or Trace
        What.
    kind : str
        A name of :data:`PICTURES`.
    registers : sequence of str
        Waveform, and one of them for states: ``CTRL``, ``CTRL.EN``, ``blink.CTRL``, ``bar0+0x10``; the busiest when
        not given. Interrupts: the register that the guest answers with; any when not given. Compare: two runs, by
        name, loaded traces or variables; of a single one, the right run is ``source``'s own.
    device : str, optional
        Timeline, heat map, DMA, interrupts: only this device.
    bar : int, optional
        Heat map: this BAR; the busiest when not given.
    by : {"kind", "register", "device"}, optional
        Latency, rate: what a line stands for.
    start, stop : str, optional
        Moments: nanoseconds, or a length of time such as ``1.5ms``.
    theme : {"light", "dark"}, optional
        Colours.
    output : str, optional
        Also write the picture to this file; its ending says how (``.png``, ``.svg``, ``.pdf``).
    run : str, optional
        A named run, a loaded trace, or a variable that holds one.
    namespace : mapping, optional
        The person's variables.

    Returns
    -------
    Axes
        A notebook shows them as the figure they stand in, ``.figure``.
    """
    if kind not in PICTURES:
        raise UsageError(f"no picture {kind}; {nearest(kind, PICTURES)}")
    given = {"registers": registers, "device": device, "bar": bar, "by": by, "start": start, "stop": stop}
    for option, value in given.items():
        if value not in (None, (), []) and kind not in _TAKERS[option]:
            word = "registers go" if option == "registers" else f"--{option} goes"
            takers = _TAKERS[option]
            listed = f"{', '.join(takers[:-1])} and {takers[-1]}" if len(takers) > 1 else takers[0]
            raise UsageError(f"{word} with {listed}, not with {kind}")
    if by is not None and by not in _GROUPS[kind]:
        raise UsageError(f"{kind} is drawn --by {' or '.join(_GROUPS[kind])}, not by {by}")
    if kind in ("states", "interrupts") and len(registers) > 1:
        raise UsageError(f"{kind} takes one register; draw {' and '.join(registers)} one after the other")
    if output is not None and Path(output).suffix.lower() not in _ENDINGS:
        raise UsageError(f"-o {output}: a picture is a png, pdf or svg; write {Path(output).with_suffix('.png')}")
    import_whole("pandas", "matplotlib.pyplot", "hdvlab.plots")
    from hdvlab.analysis.selection import nanoseconds

    first, end = _moment(start), _moment(stop)
    if first is not None and end is not None and nanoseconds(end) <= nanoseconds(first):
        raise UsageError(f"--stop {stop} is not after --start {start}; nothing lies between them")
    with late_bar(f"drawing {kind}"):
        if kind == "compare":
            axes = _compare(source, registers, run, theme, namespace)
        else:
            options = {"start": first, "stop": end, "theme": theme}
            whole = trace_of(source, run, namespace)
            if run is None and len(whole) == 0 and not isinstance(source, Trace) and source.runs:
                raise UsageError(f"the lab has no rows; a run's are drawn with --run: {', '.join(source.runs)}")
            axes = _drawn(kind, whole, registers, device, bar, by, options)
        if output is not None:
            _write(axes, output)
    return axes


def _drawn(
    kind: str,
    whole: Trace,
    registers: Sequence[str],
    device: str | None,
    bar: int | None,
    by: str | None,
    options: Mapping[str, Any],
) -> Axes:
    from hdvlab import plots

    names = [_signal(name, whole) for name in registers]
    if kind == "timeline":
        return plots.timeline(whole, devices=None if device is None else [device], **options)
    if kind == "heatmap":
        return plots.heatmap(whole, device=device, bar=bar, **options)
    if kind == "latency":
        return plots.latency(whole, by="register" if by == "register" else "kind", **options)
    if kind == "waveform":
        return plots.waveform(whole, names or None, **options)
    if kind == "dma":
        return plots.dma(whole, device=device, **options)
    if kind == "interrupts":
        return plots.interrupts(whole, names[0] if names else None, device=device, **options)
    if kind == "states":
        return plots.states(whole, names[0] if names else None, **options)
    return plots.rate(whole, by="device" if by == "device" else "kind", **options)


def _compare(
    source: AnyLab | Trace, runs: Sequence[str], run: str | None, theme: str | None, namespace: Mapping[str, Any] | None
) -> Axes:
    """Two runs by name, or, of a trace by itself, the trace and a file."""
    from hdvlab import plots

    is_file = isinstance(source, Trace)
    if run is not None:
        raise UsageError(f"compare takes its runs as words: compare {' '.join(runs) or 'run1'} {run}, without --run")
    if is_file and len(runs) == 1:
        return plots.compare(source, open_file(runs[0]), names=("left", Path(runs[0]).name), theme=theme)
    if is_file or len(runs) != 2:
        what = "two files: hdvlab plot compare FILE OTHER" if is_file else "two runs: %hdv plot compare run1 run2"
        raise UsageError(f"compare takes {what}; {len(runs) + is_file} given")
    left, right = (trace_of(source, name, namespace) for name in runs)
    return plots.compare(left, right, names=(runs[0], runs[1]), theme=theme)


def theme(name: str | None = None) -> Text:
    """Make a theme that of every picture from now on, in later notebooks too; or say which it is.

    Parameters
    ----------
    name : {"light", "dark"}, optional
        Which. A kernel cannot know the theme of the page that shows its pictures, so a person says it once.
    """
    from hdvlab import plots
    from hdvlab.plots.remembered import remember, settings_folder

    if name is None:
        return Text(f"pictures are {plots.get_theme().name}; theme dark or theme light changes it")
    plots.set_theme(name)
    try:
        file = remember(plots.get_theme().name)
    except OSError as error:
        where = settings_folder()
        return Text(f"pictures are {name} in this session; not remembered, {error.strerror}: {where}")
    return Text(f"pictures are {name} from now on; remembered in {file}")


def _moment(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def _signal(name: str, whole: Trace) -> str:
    """A register as plots spell it: ``blink:CTRL``, ``BAR2+0x10``."""
    if match := _PLACE.fullmatch(name):
        device, bar, offset = match.groups()
        return f"{f'{device}:' if device else ''}BAR{bar}+{int(offset, 0):#x}"
    device, _, rest = name.partition(".")
    return f"{device}:{rest}" if rest and any(info.name == device for info in whole.devices) else name


def _write(axes: Axes, output: str) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    path = Path(output).expanduser()
    try:
        figure.savefig(path, dpi=200, facecolor=figure.get_facecolor())
    except OSError as error:
        raise TraceError(f"{error.strerror}: {path}") from error
    except ValueError as error:
        raise UsageError(f"-o {output}: {str(error).splitlines()[0]}") from None
