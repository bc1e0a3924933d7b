"""Classes of devices and BARs as the last line of a cell: what they describe, in place of the class's name alone."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def show_class(kind: type) -> str | None:
    """The description of a class as HTML; None for one that describes nothing, which is shown as ever."""
    from hdvlab.device import Device
    from hdvlab.registers import Bar
    from hdvlab.registers.diagram import html_map

    if issubclass(kind, Bar) and kind is not Bar:
        return (
            f"<div>{html.escape(kind.__name__)}, {kind.bar_size:#x} bytes, {kind.bits} bits{html_map(kind.map)}</div>"
        )
    if not issubclass(kind, Device) or kind is Device:
        return None
    ids = f"{kind.vendor_id:04x}:{kind.device_id:04x}"
    numbers = f"class {kind.base_class:02x}{kind.sub_class:02x}{kind.prog_if:02x}, revision {kind.revision_id:#x}"
    parts = [html.escape(f"{kind.__name__} {ids}, {numbers}")]
    doc = (vars(kind).get("__doc__") or "").strip().partition("\n")[0]
    parts += [html.escape(doc)] if doc else []
    parts += [html.escape(repr(one)) for one in kind.capabilities]
    for index, bar in kind.description.bars.items():
        parts.append(f"bar{index}, {bar.bar_size:#x} bytes, {bar.bits} bits{html_map(bar.map)}")
    return f"<div>{'<br>'.join(parts)}</div>"


def _formatter(shell: InteractiveShell) -> Any:
    return shell.display_formatter.formatters["text/html"] if shell.display_formatter is not None else None


def show_classes(shell: InteractiveShell) -> None:
    """Let the notebook show them so, if nobody else shows classes."""
    formatter = _formatter(shell)
    if formatter is not None and type not in formatter.type_printers:
        formatter.for_type(type, show_class)


def hide_classes(shell: InteractiveShell) -> None:
    """Take it back."""
    formatter = _formatter(shell)
    if formatter is not None and formatter.type_printers.get(type) is show_class:
        formatter.pop(type)
