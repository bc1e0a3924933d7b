from __future__ import annotations

import io

from hdvlab.systems.qemu.setup import TextBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_a_step_is_one_line_drawn_over_itself() -> None:
    stream = Terminal()
    bar = TextBar(stream)
    bar("fetching", 0, 10_000_000)
    bar("fetching", 10_000_000, 10_000_000)
    bar("unpacking", 0, 0)
    bar.close()
    lines = stream.getvalue().split("\n")
    assert [line.count("\r") for line in lines] == [2, 1, 0]
    assert lines[0].endswith("[########################] 10 of 10 MB")
    assert lines[1] == "\runpacking"


def test_in_a_file_a_step_is_a_line() -> None:
    stream = io.StringIO()
    bar = TextBar(stream)
    for done in range(5):
        bar("fetching", done, 5)
    bar.close()
    assert stream.getvalue() == "hdvlab: fetching\n"
