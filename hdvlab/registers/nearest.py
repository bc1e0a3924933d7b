"""The nearest right word, for messages about wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 12


def nearest(word: str, known: Iterable[str], shown: Iterable[str] | None = None) -> str:
    """``did you mean peek?``, or what there is, when nothing is near: ``shown``, or all that is known."""
    words = list(dict.fromkeys(known))
    folded = {one.casefold(): one for one in reversed(words)}
    near = difflib.get_close_matches(word.casefold(), list(folded), 1, 0.6)
    if near:
        return f"did you mean {folded[near[0]]}?"
    longer = [one for one in words if one.casefold().startswith(word.casefold())] if word else []
    if len(longer) == 1:
        return f"did you mean {longer[0]}?"
    words = words if shown is None else list(dict.fromkeys(shown))
    if not words:
        return "there is none"
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return f"there is {', '.join(words[:_MOST])}{more}"
