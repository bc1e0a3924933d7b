"""The code of a device or a guest program, on its way to a host.

What is in a module goes by its name. What was defined in a notebook's cells goes as source, with what it uses: imports,
plain constants, and functions and classes of the notebook, each in turn.
"""

from __future__ import annotations

import builtins
import enum
import math
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from hdvlab.device import CompiledDevice, Device
from hdvlab.errors import UsageError
from hdvlab.host.cells import Definition, find_definition
from hdvlab.host.pieces import Piece, Program

#: Bytes of source that a constant may have.
_LONGEST = 1 << 20


def describe_code(what: Any) -> dict[str, Any]:
    """A device class, a guest program or a compiled device, in JSON.

    Raises
    ------
    UsageError
        It cannot go to a host; the message names what stands in the way and says what to do.
    """
    if isinstance(what, CompiledDevice):
        return {"kind": "compiled", "path": str(what.path.resolve())}
    if isinstance(what, Device):
        name = type(what).__name__
        raise UsageError(f"a device host makes its devices itself; plug the class: {name}, not {name}()")
    if not isinstance(what, type | FunctionType):
        raise UsageError(f"{what!r:.60} cannot go to a device host; give a class or a function")
    if (module := _home(what)) is not None:
        return {"kind": "module", "name": f"{what.__module__}:{what.__qualname__}", "path": _root(module)}
    collector = _Collector(what.__name__)
    collector.add_definition(what.__name__, what)
    return {"kind": "source", "name": what.__name__, "program": collector.program.to_dict()}


def _home(what: Any) -> ModuleType | None:
    """The importable module that a class or function is found in by its name."""
    name, qualname = getattr(what, "__module__", None), getattr(what, "__qualname__", "")
    module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return module if module is not None and found is what else None


def _root(module: ModuleType) -> str | None:
    """The directory that an import finds a module in; None for what every Python has."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.partition(".")[0] in sys.stdlib_module_names:
        return None
    depth = module.__name__.count(".") + (1 if Path(file).name == "__init__.py" else 0)
    return str(Path(file).resolve().parents[depth])


class _Collector:
    """Gathers the pieces of one program, what is used before what uses it."""

    def __init__(self, wanted: str) -> None:
        self.program = Program()
        self._wanted = wanted
        self._names: dict[str, object] = {}
        """What a name stands for in the program; two cells may have used it for different things."""
        self._paths: set[str] = set()

    def add_definition(self, name: str, what: Any) -> None:
        """A class or function of the notebook, and what it uses."""
        if self._is_known(name, what):
            return
        definition = find_definition(what)
        for used in _global_names(definition):
            self._add(used, definition)
        source, line = definition.source, definition.line
        self.program.pieces.append(Piece(source, definition.file, line, definition.flags))
        self.program.files[definition.file] = definition.text
        if definition.name != name:
            self.program.pieces.append(Piece(f"{name} = {definition.name}"))

    def _is_known(self, name: str, value: object) -> bool:
        """Note what a name stands for; whether that was known."""
        if name not in self._names:
            self._names[name] = value
            return False
        known = self._names[name]
        if known is not value and known != value:
            raise UsageError(
                f"{self._wanted} uses two different things called {name}: the one of its cell was defined anew since. "
                f"Run the cell of {self._wanted} again"
            )
        return True

    def _add(self, name: str, user: Definition) -> None:
        """What a definition means by a global name."""
        if name not in user.names:
            return  # a built-in; or nothing, and then it fails there as it fails here
        value = user.names[name]
        if value is getattr(builtins, name, user):
            return
        if isinstance(value, ModuleType):
            self._import(name, value, user)
        elif _home(value) is not None or _special_form(value):
            self._import_from(name, value)
        elif isinstance(value, type | FunctionType):
            self.add_definition(name, value)
        elif not self._is_known(name, value):
            text = self._expression(value, lambda: self._refused(name, value, user))
            if len(text) > _LONGEST:
                raise UsageError(
                    f"{self._wanted} uses {name}, a constant of {len(text):,} bytes; put it into a file or a module"
                )
            self.program.pieces.append(Piece(f"{name} = {text}"))

    def _refused(self, name: str, value: object, user: Definition) -> UsageError:
        kind = type(value).__name__
        where = "" if user.name == self._wanted else f", in {user.name}"
        return UsageError(
            f"{self._wanted} uses {name}{where}, {_article(kind)} of this notebook, which cannot go to a device host; "
            f"make it inside the class, or put it into a module that both can import"
        )

    def _import(self, name: str, module: ModuleType, user: Definition) -> None:
        if self._is_known(name, module):
            return
        if module.__name__ == "__main__" or sys.modules.get(module.__name__) is not module:
            raise self._refused(name, module, user)
        self._add_path(module)
        self.program.pieces.append(Piece(f"import importlib\n{name} = importlib.import_module({module.__name__!r})"))

    def _import_from(self, name: str, value: Any) -> None:
        if self._is_known(name, value):
            return
        module = _home(value)
        qualname = value.__qualname__ if module is not None else _special_form(value)
        module = module or sys.modules[value.__module__]
        self._add_path(module)
        self.program.pieces.append(
            Piece(f"import importlib\n{name} = importlib.import_module({module.__name__!r}).{qualname}")
        )

    def _add_path(self, module: ModuleType) -> None:
        """The host's interpreter may have started elsewhere: let it find the module where it is found here."""
        path = _root(module)
        if path is not None and path not in self._paths and not module.__name__.startswith("hdvlab"):
            self._paths.add(path)
            self.program.pieces.insert(
                0, Piece(f"import sys\nif {path!r} not in sys.path:\n    sys.path.append({path!r})")
            )

    def _expression(self, value: Any, refused: Callable[[], UsageError]) -> str:
        """A constant as an expression that makes it anew."""
        kind = type(value)
        if isinstance(value, enum.Enum):
            return (
                f"{self._class_name(kind)}[{value.name!r}]"
                if value.name
                else f"{self._class_name(kind)}({value.value!r})"
            )
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes, bytearray, range, complex):
            return repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind in (tuple, list, set, frozenset):
            inside = ", ".join(self._expression(one, refused) for one in value)
            brackets: dict[type, str] = {tuple: f"({inside}{',' if len(value) == 1 else ''})", list: f"[{inside}]"}
            return brackets.get(kind) or f"{kind.__name__}([{inside}])"
        if kind is dict:
            pairs = (f"{self._expression(k, refused)}: {self._expression(v, refused)}" for k, v in value.items())
            return f"{{{', '.join(pairs)}}}"
        if is_dataclass(value) and kind.__dataclass_params__.frozen:
            given = [(one.name, getattr(value, one.name)) for one in fields(value) if one.init]
            return f"{self._class_name(kind)}({', '.join(f'{n}={self._expression(v, refused)}' for n, v in given)})"
        raise refused()

    def _class_name(self, kind: type) -> str:
        """A name that the program has for a class."""
        known = next((name for name, value in self._names.items() if value is kind), None)
        if known is not None:
            return known
        if _home(kind) is not None:
            name = f"_{kind.__qualname__.replace('.', '_')}"
            self._import_from(name, kind)
            return name
        self.add_definition(kind.__name__, kind)
        return kind.__name__


def _special_form(value: Any) -> str:
    """The name of what has none of its own in its module's classes, such as ``typing.Any``; else empty."""
    module = sys.modules.get(str(getattr(value, "__module__", "")))
    name = str(getattr(value, "_name", "") or getattr(value, "__name__", ""))
    if module is None or module.__name__ == "__main__" or not name.isidentifier():
        return ""
    return name if getattr(module, name, None) is value else ""


def _article(kind: str) -> str:
    return f"an object of type {kind}"


def _global_names(definition: Definition) -> list[str]:
    """The global names that a definition uses, where it is made and where it runs, in the order of the alphabet."""
    table = symtable.symtable(definition.source, definition.file, "exec")
    found: set[str] = set()
    for one in _tables(table):
        for symbol in one.get_symbols():
            outside = one.get_type() == "module" and symbol.is_referenced() and not symbol.is_assigned()
            if outside or (one.get_type() != "module" and symbol.is_global()):
                found.add(symbol.get_name())
    found.discard(definition.name)
    return sorted(found)


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)
