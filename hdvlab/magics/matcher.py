"""TAB behind ``%hdv``: a matcher for IPython's completer, which kernels and terminals share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from hdvlab.commands import existing_lab
from hdvlab.commands.completion import complete
from hdvlab.commands.parser import Door

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

IDENTIFIER = "hdvlab"

_LINE = re.compile(r"(?:^|[=\s])(%%?)hdv[ \t]+(.*)$")


def matcher(shell: InteractiveShell) -> Callable[[Any], dict[str, Any]]:
    """What the completer calls with the text up to the cursor. It keeps other matchers out where it answers."""

    @context_matcher(identifier=IDENTIFIER, priority=100)  # type: ignore[untyped-decorator]
    def match_hdv(context: Any) -> dict[str, Any]:
        match = _LINE.search(context.text_until_cursor)
        if match is None:
            return {"completions": [], "matched_fragment": "", "suppress": False}
        *before, typed = re.split(r"\s+", match[2])
        door: Door = "cell" if match[1] == "%%" else "magic"
        words = complete([*before, typed], existing_lab(), shell.user_ns, door)
        return {
            "completions": [SimpleCompletion(text=word, type="magic") for word in words],
            "matched_fragment": typed,
            "suppress": True,
        }

    return match_hdv  # type: ignore[no-any-return]


def is_ours(one: object) -> bool:
    """Whether a matcher is one of :func:`matcher`."""
    return getattr(one, "matcher_identifier", "") == IDENTIFIER
