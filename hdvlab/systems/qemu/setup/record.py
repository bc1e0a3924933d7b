"""What was set up in a cache: ``installation.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hdvlab.systems.qemu.setup.cache import damage, write_atomically

_SCHEMA = 1
_NAME = "installation.json"


@dataclass(frozen=True)
class PartRecord:
    """One part as it was set up.

    Attributes
    ----------
    tree : str
        Its folder's name under ``trees``.
    version : str
        As Debian writes it.
    suite : str
        The suite it came from.
    packages : dict of str to str
        Every package in it, with its version.
    """

    tree: str
    version: str
    suite: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Record:
    """What is in a cache; ``mirror`` is where it came from, ``made`` when (UTC, ISO 8601)."""

    parts: dict[str, PartRecord] = field(default_factory=dict)
    mirror: str = ""
    made: str = ""

    def write(self, cache: Path) -> None:
        """Keep it in ``cache``."""
        text = json.dumps({"schema": _SCHEMA, **asdict(self)}, indent=1, sort_keys=True)
        write_atomically(cache / _NAME, text.encode() + b"\n")


def read_record(cache: Path) -> Record:
    """What was set up in ``cache``; an unreadable or older record counts as none, and set-up makes it anew."""
    try:
        document = json.loads((cache / _NAME).read_text(encoding="utf-8"))
        if document.pop("schema") != _SCHEMA:
            return Record()
        parts = {name: PartRecord(**one) for name, one in document.pop("parts").items()}
        return Record(parts, **document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Record()


def trees(cache: Path) -> Path:
    """The folder of the parts' trees."""
    return cache / "trees"


def sound_tree(cache: Path, record: Record, name: str, *, thorough: bool = False) -> Path | None:
    """The tree of a part if it is there and undamaged."""
    part = record.parts.get(name)
    if part is None or damage(trees(cache) / part.tree, thorough=thorough):
        return None
    return trees(cache) / part.tree
