"""What happens while something runs: ``record``, ``guest``, ``run``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.commands.nearest import nearest
from hdvlab.commands.plugging import is_device, library_module, look_up
from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.guest import Guest
    from hdvlab.lab import AnyLab, Run


def record(lab: AnyLab, body: Callable[[], Any], *, name: str = "") -> Run:
    """Call ``body()``; the run is what happened meanwhile, kept under ``name`` if one is given."""
    with lab.record(name) as run:
        body()
    return run


def guest(lab: AnyLab, body: Callable[[Guest], Any], *, name: str = "") -> Run:
    """Run ``body(guest)`` as the guest and wait for its end; Ctrl-C stops it."""
    return lab.run_cell(body, name=name)


def run(
    lab: AnyLab,
    driver: str | Callable[..., Any],
    arguments: Sequence[str] = (),
    *,
    name: str = "",
    namespace: Mapping[str, Any] | None = None,
) -> Run:
    """Run a function as the guest: ``driver(guest, *arguments)``.

    Parameters
    ----------
    lab : Lab
        Where.
    driver : str or callable
        A name means a function in ``namespace``, else the driver of a device that comes with hdvlab (``edu``).
    arguments : sequence of str
        Literals, or names of variables.
    name : str
        Keep the run under this name.
    namespace : mapping, optional
        The person's variables.
    """
    variables = namespace or {}
    function = find_driver(driver, variables) if isinstance(driver, str) else driver
    return lab.run(function, *(_argument(text, variables) for text in arguments), name=name)


def find_driver(name: str, namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """The function that a name means.

    Raises
    ------
    UsageError
        There is none; the message says what to write.
    """
    found = look_up(name, namespace)
    if callable(found) and not is_device(found):
        return found  # type: ignore[no-any-return]
    driver = getattr(library_module(name.lower()), "driver", None)
    if callable(driver):
        return driver  # type: ignore[no-any-return]
    hint = nearest(name, drivers(namespace)) if drivers(namespace) else f"def {name}(guest): ... makes one"
    raise UsageError(f"no guest program {name}; {hint}")


def drivers(namespace: Mapping[str, Any]) -> list[str]:
    """The functions of a namespace whose first parameter is called ``guest``."""
    found = []
    for name, value in namespace.items():
        code = getattr(value, "__code__", None)
        if not name.startswith("_") and code is not None and code.co_argcount and code.co_varnames[0] == "guest":
            found.append(name)
    return found


def _argument(text: str, namespace: Mapping[str, Any]) -> Any:
    if text in namespace:
        return namespace[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
