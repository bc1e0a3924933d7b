"""Source on its way to a host: pieces of cells with their places, and what they use, in the order they are run."""

from __future__ import annotations

import ast
import linecache
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A definition, an import or a constant.

    ``file`` and ``line`` are where it stands; an empty file is a line that nobody has written. ``flags`` are the
    compiler's, for ``from __future__`` lines in other cells.
    """

    source: str
    file: str = ""
    line: int = 1
    flags: int = 0


@dataclass
class Program:
    """Pieces, and the texts of the files they stand in, for tracebacks."""

    pieces: list[Piece] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {"pieces": [asdict(piece) for piece in self.pieces], "files": self.files}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Program:
        """The program that :meth:`to_dict` wrote."""
        return cls([Piece(**piece) for piece in data["pieces"]], dict(data["files"]))


def execute(program: Program) -> dict[str, Any]:
    """Run the pieces one after the other; the names they made. Raises what they raise."""
    for file, text in program.files.items():
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}  # as in the notebook: a device's class id depends on it
    for piece in program.pieces:
        tree = ast.parse(piece.source, piece.file or "<hdvlab>")
        ast.increment_lineno(tree, piece.line - 1)
        exec(compile(tree, piece.file or "<hdvlab>", "exec", flags=piece.flags, dont_inherit=True), names)
    return names
