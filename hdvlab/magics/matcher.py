"""TAB behind ``%hdv``: a matcher for IPython's completer, which kernels and terminals share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hdvlab.commands import existing_lab
from hdvlab.commands.completion import complete
from hdvlab.commands.parser import Door

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_LINE = re.compile(r"(?:^|[=\s])(%%?)hdv[ \t]+(.*)$")


class HdvMatcher:
    """IPython calls it with the text up to the cursor. It keeps other matchers out where it answers."""

    matcher_identifier = "hdvlab"
    matcher_api_version = 2
    matcher_priority = 100

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def __call__(self, context: Any) -> dict[str, Any]:
        from IPython.core.completer import SimpleCompletion

        match = _LINE.search(context.text_until_cursor)
        if match is None:
            return {"completions": [], "matched_fragment": "", "suppress": False}
        *before, typed = re.split(r"\s+", match[2])
        door: Door = "cell" if match[1] == "%%" else "magic"
        words = complete([*before, typed], existing_lab(), self._shell.user_ns, door)
        return {
            "completions": [SimpleCompletion(text=word, type="magic") for word in words],
            "matched_fragment": typed,
            "suppress": True,
            "do_not_suppress": set(),
        }
