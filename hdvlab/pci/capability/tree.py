"""A capability list that shows itself as a tree.

Ref: PCI Local Bus 3.0, section 6.7.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from hdvlab.pci.capability.chain import CapabilityEntry
from hdvlab.pci.capability.listing import capability_lines


class Capabilities:
    """The capabilities of a function, in the order of their list.

    Parameters
    ----------
    name : str
        Whose.
    config : bytes
        Its config space.
    entries : iterable of CapabilityEntry
        What :func:`hdvlab.pci.walk` found in it.
    """

    def __init__(self, name: str, config: bytes, entries: Iterable[CapabilityEntry]) -> None:
        self.name = name
        self.entries = tuple(entries)
        self._config = bytes(config)

    def __iter__(self) -> Iterator[CapabilityEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> CapabilityEntry:
        return self.entries[number]

    def _branches(self) -> Iterator[tuple[str, list[str]]]:
        for entry in self.entries:
            head, *rest = capability_lines(self._config, entry, 2)
            yield head, [line.strip() for line in rest]

    def __repr__(self) -> str:
        lines = [f"capabilities of {self.name}" if self.entries else f"{self.name} has no capabilities"]
        for number, (head, rest) in enumerate(self._branches(), 1):
            is_last = number == len(self.entries)
            lines.append(f"{'└─' if is_last else '├─'} {head}")
            lines += [f"{'  ' if is_last else '│ '}    {line}" for line in rest]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        inner = ""
        for head, rest in self._branches():
            more = f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in rest)}</ul>" if rest else ""
            inner += f"<li>{html.escape(head)}{more}</li>"
        return f"<div>{html.escape(repr(self).splitlines()[0])}<ul>{inner}</ul></div>"
