"""Registers as datasheets draw them: fields from the highest bit down, as text and as HTML without a script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hdvlab.registers.map import RegisterMap
    from hdvlab.registers.register import Register

#: Colours of JupyterLab's and VS Code's themes, else the system's.
_TEXT = "var(--jp-ui-font-color1, var(--vscode-editor-foreground, CanvasText))"
_FAINT = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, GrayText))"
_LINE = "var(--jp-border-color1, var(--vscode-panel-border, GrayText))"
_GAP = "var(--jp-layout-color2, var(--vscode-editorWidget-background, Canvas))"
_FONT = "var(--jp-code-font-family, var(--vscode-editor-font-family, monospace))"


@dataclass(frozen=True)
class Cell:
    """A run of bits: a field, or what lies between two (``name`` is "")."""

    msb: int
    lsb: int
    name: str = ""
    access: str = ""
    value: str = ""
    doc: str = ""

    @property
    def bits(self) -> str:
        """``31..9`` or ``8``."""
        return str(self.msb) if self.msb == self.lsb else f"{self.msb}..{self.lsb}"


def cells(register: Register, value: int | None = None) -> Iterator[Cell]:
    """The runs of bits of a register, from the highest down; with their values where ``value`` is given."""
    above = register.width
    for field in sorted(register.fields.values(), key=lambda one: -one.lsb):
        if field.msb + 1 < above:
            yield Cell(above - 1, field.msb + 1)
        text = "" if value is None else field.describe(field.extract(value)).partition("=")[2]
        access = str(getattr(field.access or register.access, "value", field.access or register.access))
        yield Cell(field.msb, field.lsb, field.name, access, text, field.doc)
        above = field.lsb
    if not register.fields:
        yield Cell(above - 1, 0, register.name, register.access.value, "" if value is None else hex(value), "")
    elif above:
        yield Cell(above - 1, 0)


def text_diagram(register: Register, value: int | None = None) -> str:
    """The register in ASCII: bits, fields, access, and values where ``value`` is given."""
    found = list(cells(register, value))
    rows = [[one.bits for one in found], [one.name or "-" for one in found], [one.access for one in found]]
    if value is not None:
        rows.append([one.value for one in found])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "+".join("-" * (width + 2) for width in widths)
    lines = ["|".join(f" {cell:^{width}} " for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([_heading(register, value), f"+{rule}+", *(f"|{line}|" for line in lines), f"+{rule}+"])


def _heading(register: Register, value: int | None) -> str:
    held = "" if value is None else f" = {value:#x}"
    doc = f": {register.doc}" if register.doc else ""
    reset = f", reset {register.reset:#x}" if register.reset else ""
    return f"{register.name}{held} at {register.offset:#x}, {register.width} bits, {register.access.value}{reset}{doc}"


def html_diagram(register: Register, value: int | None = None) -> str:
    """The same as a table; reserved bits are shaded."""
    found = list(cells(register, value))
    edge = f"border:1px solid {_LINE};padding:2px 8px;text-align:center"

    def row(name: str, texts: Iterable[str], colour: str = _TEXT) -> str:
        inner = ""
        for one, text in zip(found, texts, strict=True):
            shade = "" if one.name else f";background:{_GAP}"
            title = f' title="{html.escape(one.doc)}"' if one.doc else ""
            inner += f'<td style="{edge};color:{colour}{shade}"{title}>{html.escape(text)}</td>'
        return f'<tr><th scope="row" style="text-align:left;color:{_FAINT};font-weight:normal">{name}</th>{inner}</tr>'

    lines = [row("bits", (one.bits for one in found), _FAINT), row("field", (one.name or "–" for one in found))]
    lines.append(row("access", (one.access for one in found), _FAINT))
    if value is not None:
        lines.append(row("value", (one.value for one in found)))
    heading = f'<div style="color:{_TEXT}">{html.escape(_heading(register, value))}</div>'
    table = f'<table style="border-collapse:collapse;font-family:{_FONT};margin:4px 0">{"".join(lines)}</table>'
    return f"<div>{heading}{table}</div>"


def html_map(registers: RegisterMap, values: dict[str, int | None] | None = None) -> str:
    """The registers of a BAR as a table; with stored values by name where they are given."""
    head = ["offset", "register", "bits", "access", "reset", *(["value"] if values is not None else []), "fields", ""]
    rows = []
    for one in registers:
        fields = ", ".join(f"{cell.name}[{cell.bits}]" for cell in cells(one) if one.fields and cell.name)
        row = [hex(one.offset), one.name, str(one.width), one.access.value, hex(one.reset)]
        if values is not None:
            value = values.get(one.name)
            row.append("?" if value is None else hex(value))
            fields = one.describe(value) if value is not None and one.fields else fields
        rows.append([*row, fields, one.doc])
    return table(head, rows)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A plain table in the theme's colours."""

    def line(tag: str, cells: Iterable[str]) -> str:
        return (
            "<tr>" + "".join(f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells) + "</tr>"
        )

    return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"
