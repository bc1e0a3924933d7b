"""Pictures: ``plot``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.commands.nearest import nearest
from hdvlab.commands.runs import trace_of
from hdvlab.errors import TraceError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdvlab.lab import AnyLab
    from hdvlab.trace.trace import Trace

#: What each picture shows.
PICTURES = {
    "timeline": "every access over time, in a lane for each part of each device",
    "heatmap": "which registers of a BAR are touched, how often, and when",
    "latency": "how long accesses took",
    "waveform": "values of registers over time, as a logic analyser shows them",
}

#: What an option is for.
_TAKERS = {
    "registers": ("waveform",),
    "device": ("timeline", "heatmap"),
    "bar": ("heatmap",),
    "by": ("latency",),
}

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
        Waveform: ``CTRL``, ``CTRL.EN``, ``blink.CTRL``, ``bar0+0x10``; the busiest when not given.
    device : str, optional
        Timeline, heat map: only this device.
    bar : int, optional
        Heat map: this BAR; the busiest when not given.
    by : {"kind", "register"}, optional
        Latency: what a line stands for.
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
    given = {"registers": registers, "device": device, "bar": bar, "by": by}
    for option, value in given.items():
        if value not in (None, (), []) and kind not in _TAKERS[option]:
            word = "registers go" if option == "registers" else f"--{option} goes"
            raise UsageError(f"{word} with {' and '.join(_TAKERS[option])}, not with {kind}")
    if output is not None and Path(output).suffix.lower() not in _ENDINGS:
        raise UsageError(f"-o {output}: a picture is a png, pdf or svg; write {Path(output).with_suffix('.png')}")
    from hdvlab import plots
    from hdvlab.analysis.selection import nanoseconds

    first, end = _moment(start), _moment(stop)
    if first is not None and end is not None and nanoseconds(end) <= nanoseconds(first):
        raise UsageError(f"--stop {stop} is not after --start {start}; nothing lies between them")
    whole = trace_of(source, run, namespace)
    options: dict[str, Any] = {"start": first, "stop": end, "theme": theme}
    if kind == "timeline":
        axes = plots.timeline(whole, devices=None if device is None else [device], **options)
    elif kind == "heatmap":
        axes = plots.heatmap(whole, device=device, bar=bar, **options)
    elif kind == "latency":
        axes = plots.latency(whole, by="register" if by == "register" else "kind", **options)
    else:
        names = [_signal(name, whole) for name in registers]
        axes = plots.waveform(whole, names or None, **options)
    if output is not None:
        _write(axes, output)
    return axes


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
