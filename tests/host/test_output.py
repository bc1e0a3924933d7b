"""What devices print, on its way to the log and to whoever is attached."""

from __future__ import annotations

import io
from typing import Any, cast

from hdvlab.host.output import Output


class Told:
    """The host, as far as its output knows it."""

    def __init__(self) -> None:
        self.text = ""

    def tell(self, event: dict[str, Any]) -> None:
        self.text += event["text"]


def test_a_line_that_never_ends_is_passed_on_in_pieces_and_whole() -> None:
    host, log = Told(), io.StringIO()
    output = Output(cast(Any, host), "stdout", log)
    for _ in range(5000):
        output.write(".")
    assert 4096 < len(host.text) <= 5000
    output.write("\n")
    assert host.text == log.getvalue() == "." * 5000 + "\n"
