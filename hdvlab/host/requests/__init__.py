"""What clients may ask a host for: one small function for each request, found by its name.

A function takes the :class:`~hdvlab.host.process.Host`, the :class:`~hdvlab.host.call.Call` (who asks, and whether the
answer is still wanted), and what the client gave, by name. What it returns goes back as JSON; what it raises is raised
at the client. It may take as long as it likes: other requests are served meanwhile.

::

    @request
    def mark(host: Host, call: Call, *, text: str) -> int:
        return host.lab.mark(text)
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host

#: Modules of this package that have requests.
MODULES = ["access", "devices", "looking", "machine", "program", "rows", "stepping", "vm"]


class Request:
    """A function with its signature: what does not fit it is refused before it runs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._signature = inspect.signature(function)

    def bind(self, host: Host, call: Call, given: dict[str, Any]) -> None:
        """TypeError where ``given`` is not what the function takes."""
        self._signature.bind(host, call, **given)

    def __call__(self, host: Host, call: Call, given: dict[str, Any]) -> Any:
        return self._function(host, call, **given)


_requests: dict[str, Request] = {}


def request(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: clients may ask for this, by its name."""
    _requests[function.__name__] = Request(function)
    return function


def find_request(name: str) -> Request:
    """The function of a request.

    Raises
    ------
    UsageError
        There is none; a newer client may know more.
    """
    if not _requests:
        for module in MODULES:
            importlib.import_module(f"{__name__}.{module}")
    found = _requests.get(name)
    if found is None:
        raise UsageError(f"this host knows no request {name!r:.40}; it may be of an older hdvlab")
    return found
