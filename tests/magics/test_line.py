from __future__ import annotations

import pytest

from hdvlab.errors import UsageError
from hdvlab.magics.line import is_silenced, split, without_comment


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("poke CTRL.EN=1", ["poke", "CTRL.EN=1"]),
        ("poke CTRL={number}", ["poke", "CTRL=31"]),
        ("poke CTRL={number:#x} {{x}}", ["poke", "CTRL=0x1f", "{x}"]),
        ("save {path}", ["save", "a dir/it's"]),
        ("save '{path}.parquet'", ["save", "a dir/it's.parquet"]),
        ("peek {names['first']}", ["peek", "CTRL"]),
        ("peek $HOME", ["peek", "$HOME"]),
        ("trace --since 'half way'", ["trace", "--since", "half way"]),
        ("mark it's here", ["mark", "it's here"]),
        ('mark "in quotes"', ["mark", "in quotes"]),
        ("mark step {number}", ["mark", "step 31"]),
        ("mark --help", ["mark", "--help"]),
        ("sh printf 'no newline'; ls", ["sh", "printf 'no newline'; ls"]),
        ("sh it's the guest's", ["sh", "it's the guest's"]),
        (
            "sh --out r --timeout 5 echo ${HOME} {number} $((1+1))",
            ["sh", "--out", "r", "--timeout", "5", "echo ${HOME} 31 $((1+1))"],
        ),
        ("sh awk '{{print $1}}' x", ["sh", "awk '{print $1}' x"]),
        ("sh find / -exec ls {} \\;", ["sh", "find / -exec ls {} \\;"]),
        ("sh -o one -- ls -la", ["sh", "-o", "one", "ls -la"]),
        ("sh --help", ["sh", "--help"]),
        ("sh -o one", ["sh", "-o", "one"]),
    ],
)
def test_a_line_is_split_into_words_with_its_expressions_replaced(line: str, words: list[str]) -> None:
    assert split(line, {"number": 31, "path": "a dir/it's", "names": {"first": "CTRL"}}) == words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("peek {nothing}", "{nothing}: NameError: name 'nothing' is not defined"),
        ("peek {1/0}", "{1/0}: ZeroDivisionError: division by zero"),
        ("peek {x", "braces: expected '}' before end of string; write {{ for a brace itself"),
        ("peek 'x", "a quote is not closed"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        split(line, {})
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("plug Blink   # into the machine, it's on", "plug Blink   "),
        ("# nothing else", ""),
        ("poke CTRL=1 #{x", "poke CTRL=1 "),
        ("trace ; # quietly", "trace ; "),
        ("load a#1.so", "load a#1.so"),
        ("trace --since '# 3'", "trace --since '# 3'"),
        ("poke CTRL={number: #x}", "poke CTRL={number: #x}"),
        ("mark reset # 3", "mark reset # 3"),
        ("sh echo # 3", "sh echo # 3"),
    ],
)
def test_a_comment_is_left_out(line: str, left: str) -> None:
    assert without_comment(line) == left


def test_a_semicolon_at_the_end_silences() -> None:
    assert is_silenced("trace ; ") == ("trace ", True)
    assert is_silenced("trace") == ("trace", False)


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("trace;", True),
        ("trace", False),
        ("sh ls;", True),
        ("sh find / -exec ls {} \\;", False),
        ("sh case a in a) ;;", False),
    ],
)
def test_a_semicolon_at_the_end_silences_unless_it_is_the_shells(line: str, silent: bool) -> None:
    assert is_silenced(line)[1] == silent
