from __future__ import annotations

import re
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import hdvlab
from hdvlab import commands
from hdvlab.errors import HdvError, UsageError
from hdvlab.magics.matcher import is_ours


def value_of(shell: InteractiveShell, cell: str) -> Any:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def error_of(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a failing cell shows."""
    capsys.readouterr()
    result = shell.run_cell(cell)
    assert result.error_in_exec is not None, "the cell did not fail"
    return capsys.readouterr().out.strip()


def test_the_first_commands_of_a_newcomer_work(blinking: InteractiveShell) -> None:
    assert repr(value_of(blinking, "%hdv poke CTRL.EN=1")) == "CTRL.EN: 0x0 → 0x1"
    assert value_of(blinking, "%hdv peek COUNT") == 1
    assert "1234:0001" in value_of(blinking, "%hdv lspci -v")
    frame = value_of(blinking, "df = %hdv trace --kind mmio\ndf")
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["register"]) == ["CTRL"]


def test_alone_it_tells_how_things_stand_and_what_can_be_done(blinking: InteractiveShell) -> None:
    text = repr(value_of(blinking, "%hdv"))
    assert "blink    00:01.0" in text
    assert "%hdv plot" in text


def test_looking_makes_no_lab(shell: InteractiveShell) -> None:
    value_of(shell, "%hdv")
    value_of(shell, "%hdv status")
    assert commands.existing_lab() is None


@pytest.mark.parametrize(
    "line", ["%hdv --help", "%hdv help", "%hdv trace --help", "%hdv help trace", "%%hdv record --help\n1"]
)
def test_help_is_printed(shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert value_of(shell, line) is None
    assert capsys.readouterr().out.startswith("usage: ")


def test_the_docstring_lists_the_verbs(shell: InteractiveShell) -> None:
    assert "plot" in (shell.find_line_magic("hdv").__doc__ or "")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("%hdv tarce", "UsageError: no verb tarce; did you mean trace?"),
        ("%hdv peek CTLR", "UsageError: no register CTLR; did you mean CTRL?"),
        ("%hdv record", "UsageError: record is about a cell: write %%hdv record in its first line"),
        ("%%hdv trace\n1", "UsageError: trace takes no cell; write %hdv trace, with one %"),
        ("%%hdv recrod\n1", "UsageError: no verb recrod for a cell; did you mean record?"),
        ("%%hdv\n1", "UsageError: %%hdv needs a verb: sh or guest or c or record"),
        ("%%hdv guest --out 1x\n1", "UsageError: --out 1x: a variable's name is needed"),
        ("%hdv start --ram 8M", "StateError: there is a lab already; %hdv close ends it, then --ram, --trace and "
         "--clock count"),
        ("%hdv lab Blink", "UsageError: Blink is no Lab; lab = hdvlab.Lab() makes one"),
        ("%hdv load /nowhere", "TraceError: read /nowhere: there is no such file; check the path"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_still_an_error(
    blinking: InteractiveShell, cell: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(blinking, cell, capsys) == shown


def test_a_mistake_can_be_caught_as_what_it_is(blinking: InteractiveShell) -> None:
    value_of(blinking, "try:\n    %hdv peek CTLR\nexcept Exception as caught:\n    error = caught")
    assert isinstance(blinking.user_ns["error"], UsageError)
    assert isinstance(blinking.user_ns["error"], HdvError)


def test_expressions_are_replaced_also_in_functions(blinking: InteractiveShell) -> None:
    cell = "def rate(n):\n    place = 'CTRL.RATE'\n    %hdv poke {place}={n * 2}\nrate(3)\n%hdv peek CTRL.RATE"
    assert value_of(blinking, cell) == 6


def test_a_semicolon_shows_nothing(blinking: InteractiveShell) -> None:
    assert value_of(blinking, "%hdv poke CTRL=1;") is None
    assert value_of(blinking, "%hdv peek COUNT") == 1


def test_an_unserved_access_is_one_line_of_warning_each_time(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    value_of(blinking, "%hdv write config+0x4 0 --size 2")
    for _ in range(2):
        assert value_of(blinking, "%hdv read CTRL") == 0xFFFFFFFF
        err = capsys.readouterr().err
        assert err.startswith("warning: read of blink CTRL answered all ones: ")
        assert err.count("\n") == 1


def test_a_warning_that_was_made_an_error_is_one(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", hdvlab.errors.AccessWarning)
        assert "AccessWarning: poke of blink COUNT had no effect" in error_of(blinking, "%hdv poke COUNT=1", capsys)


def test_running_the_device_cell_again_swaps_the_device(blinking: InteractiveShell) -> None:
    value_of(blinking, "%hdv poke CTRL=1")
    value_of(blinking, "%hdv plug Blink")
    assert value_of(blinking, "%hdv peek COUNT") == 0
    assert [one.name for one in commands.current_lab()] == ["blink"]


def test_a_lab_of_ones_own_can_be_the_lab_of_the_magics(blinking: InteractiveShell) -> None:
    before = commands.current_lab()
    mine = value_of(blinking, "import hdvlab\nmine = hdvlab.Lab()\n%hdv lab mine")
    try:
        assert commands.current_lab() is mine
        assert value_of(blinking, "%hdv lab") is mine
    finally:
        before.close()


def test_close_ends_the_recording_and_the_next_command_begins_anew(blinking: InteractiveShell, tmp_path: Path) -> None:
    assert "are gone" in value_of(blinking, "%hdv close")
    assert value_of(blinking, "%hdv close") == "there is no lab"
    value_of(blinking, f"%hdv start --ram 8M --trace {tmp_path}/t --clock monotonic")
    assert commands.current_lab().machine.ram_size == 8 << 20
    assert f"are in {tmp_path}/t" in value_of(blinking, "%hdv close")


# ---- cells ---------------------------------------------------------------------------------------------------------


def test_a_recorded_cell_shows_its_output_and_gives_the_run(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run = value_of(blinking, "%%hdv record -o one --out kept\nprint('hello')\n%hdv poke CTRL=3\nx = 5\n'last'")
    assert capsys.readouterr().out.startswith("hello\n'last'\n")
    assert repr(run) == "<one: 1 row (1 mmio_write)>"
    assert blinking.user_ns["kept"] is run
    assert blinking.user_ns["x"] == 5
    assert list(value_of(blinking, "%hdv trace --run one")["value"]) == [3]
    assert list(value_of(blinking, "%hdv trace --run kept")["value"]) == [3]


def test_a_failing_recorded_cell_shows_its_own_lines_only(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    text = error_of(blinking, "%%hdv record\n\nfoo()", capsys)
    assert "line 3\n" in text
    assert "----> 3 foo()" in text
    assert "NameError: name 'foo' is not defined" in text
    assert "hdvlab/" not in text


def test_a_mistake_in_a_recorded_cell_stays_one_line(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(blinking, "%%hdv record\n%hdv peek CTLR", capsys).startswith("UsageError: no register CTLR")


def test_a_misspelt_cell_is_shown_as_any_other(blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    text = error_of(blinking, "%%hdv guest\nx = (", capsys)
    assert "line 2" in text
    assert "SyntaxError: '(' was never closed" in text
    assert "hdvlab/" not in text


def test_a_guest_cell_runs_as_the_guest_and_rows_know_its_lines(blinking: InteractiveShell) -> None:
    cell = (
        "%%hdv guest --out run\nstart = 2\ndef go(n):\n    blink.bar0.CTRL.write(n)\ngo(start)\nblink.bar0.CTRL.read()"
    )
    run = value_of(blinking, cell)
    frame = run.frame(decode=True)
    assert list(frame["origin"]) == ["guest", "guest"]
    assert list(frame["source"]) == ["go:4 blink.bar0.CTRL.write(n)", "guest:6 blink.bar0.CTRL.read()"]
    assert run.value == 2
    assert blinking.user_ns["run"] is run
    assert blinking.user_ns["start"] == 2
    assert callable(blinking.user_ns["go"])


def test_names_of_devices_are_there_in_the_guest_cell_only(blinking: InteractiveShell) -> None:
    blinking.user_ns["blink"] = "mine"
    value_of(blinking, "%%hdv guest\nseen = blink.bar0.CTRL.read()\ninside = guest")
    assert blinking.user_ns["blink"] == "mine"
    assert "guest" not in blinking.user_ns
    assert blinking.user_ns["seen"] == 0
    value_of(blinking, "%%hdv guest\nblink = 7")
    assert blinking.user_ns["blink"] == 7


def test_a_failing_guest_cell_shows_its_own_lines_only(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    text = error_of(blinking, "%%hdv guest\nblink.bar0.CTRL.write(1)\n1 / 0", capsys)
    assert "line 3\n" in text
    assert "----> 3 1 / 0" in text
    assert "ZeroDivisionError" in text
    assert "hdvlab/" not in text
    assert value_of(blinking, "%hdv peek COUNT") == 1


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("import hdvlab\nhdvlab.read_trace('nope')", "----> 2 hdvlab.read_trace('nope')"),
        (
            "from hdvlab import Bar, Device, Register\nclass A(Device):\n    class bar0(Bar, size=16):\n"
            "        X = Register(0, fields={'F': (0, 40)})",
            "----> 3     class bar0(Bar, size=16):",
        ),
    ],
)
def test_an_error_of_ours_in_any_cell_shows_the_persons_lines_only(
    shell: InteractiveShell, cell: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = error_of(shell, cell, capsys)
    assert shown in text
    assert not re.search(r"hdvlab/|contextlib|FileNotFoundError|direct cause", text)
    shell.run_cell("%tb")
    assert "hdvlab/" in capsys.readouterr().out
    assert isinstance(sys.last_value, HdvError)
    shell.run_cell("%unload_ext hdvlab")
    assert "hdvlab/" in error_of(shell, cell, capsys)


def test_what_a_persons_own_code_caused_stays_in_view(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = "from hdvlab.errors import DeviceError\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
    text = error_of(shell, f"{cell}    raise DeviceError('broken') from error", capsys)
    assert "----> 3     1 / 0" in text
    assert "DeviceError: broken" in text


def test_a_handler_of_errors_that_the_person_has_stays(shell: InteractiveShell) -> None:
    value_of(shell, "%unload_ext hdvlab")
    shell.set_custom_exc((KeyError,), lambda *_, **__: ["mine"])
    try:
        value_of(shell, "%load_ext hdvlab\n%unload_ext hdvlab")
        assert shell.custom_exceptions == (KeyError,)
    finally:
        shell.set_custom_exc((), None)


def test_a_driver_that_fails_shows_its_own_lines_only(
    blinking: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    value_of(blinking, "def driver(guest, value):\n    guest['blink'].bar0.CTRL.write(value)\n    guest['link']")
    text = error_of(blinking, "%hdv run driver 1", capsys)
    assert "in driver(guest, value)\n" in text
    assert "UsageError: no device 'link' is plugged in; there is blink" in text
    assert "hdvlab/" not in text
    assert value_of(blinking, "%hdv peek COUNT") == 1


def test_rows_of_read_and_write_name_the_persons_line(blinking: InteractiveShell) -> None:
    value_of(blinking, "def look():\n    %hdv read CTRL\nlook()\n%hdv write CTRL 1")
    sources = list(value_of(blinking, "%hdv trace --kind mmio")["source"])
    assert sources == ["look:2 %hdv read CTRL", "<module>:4 %hdv write CTRL 1"]


def test_a_driver_is_run_by_name(blinking: InteractiveShell) -> None:
    value_of(blinking, "def driver(guest, value):\n    return value")
    run = value_of(blinking, "value = 7\n%hdv run driver value -o seven")
    assert run.value == 7
    assert repr(run).startswith("<seven: 0 rows; returned 7 after ")


# ---- completion ----------------------------------------------------------------------------------------------------


def completions(shell: InteractiveShell, text: str) -> set[str]:
    assert shell.Completer is not None
    shell.Completer.use_jedi = False
    with provisionalcompleter():
        return {one.text for one in shell.Completer.completions(text, len(text))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%hdv tra", {"trace"}),
        ("df = %hdv trace --ki", {"--kind"}),
        ("x = 1\n%hdv peek CO", {"COUNT"}),
        ("%hdv poke CTRL.R", {"CTRL.RATE="}),
        ("%%hdv rec", {"record"}),
        ("%hdv plug Bl", {"Blink"}),
    ],
)
def test_tab_completes_verbs_options_and_live_names(blinking: InteractiveShell, text: str, expected: set[str]) -> None:
    assert completions(blinking, text) == expected


def test_tab_elsewhere_is_as_ever(blinking: InteractiveShell) -> None:
    assert "Blink" in completions(blinking, "Bli")


# ---- loading -------------------------------------------------------------------------------------------------------


def test_the_theme_of_pictures_is_said_without_a_lab(shell: InteractiveShell) -> None:
    assert shell.run_line_magic("hdv", "theme").startswith("pictures are light;")
    assert commands.existing_lab() is None


def test_loading_twice_is_loading_once(shell: InteractiveShell) -> None:
    value_of(shell, "%reload_ext hdvlab")
    hdvlab.load_ipython_extension(shell)
    hdvlab.load_ipython_extension(shell)
    assert shell.Completer is not None
    assert [is_ours(one) for one in shell.Completer.custom_matchers].count(True) == 1


def test_unloading_leaves_nothing_behind(blinking: InteractiveShell) -> None:
    value_of(blinking, "%hdv plug edu")
    path = commands.current_lab().trace.path
    assert path.exists()
    value_of(blinking, "%unload_ext hdvlab")
    assert not path.exists()
    assert commands.existing_lab() is None
    assert blinking.find_line_magic("hdv") is None
    assert blinking.find_cell_magic("hdv") is None
    assert blinking.Completer is not None
    assert not any(is_ours(one) for one in blinking.Completer.custom_matchers)
    assert [one.name for one in threading.enumerate() if one.name.startswith("hdvlab")] == []


def test_unloading_takes_every_hook_away(shell: InteractiveShell) -> None:

    from hdvlab.commands import current

    shell.run_cell("%unload_ext hdvlab").raise_error()
    html = shell.display_formatter.formatters["text/html"]

    def state() -> list[Any]:
        hooks = (shell.input_transformers_cleanup, shell.input_transformers_post, shell.custom_exceptions)
        magics = {kind: sorted(names) for kind, names in shell.magics_manager.magics.items()}
        printers = {kind.__name__: printer for kind, printer in html.type_printers.items()}
        threads = {one.name for one in threading.enumerate()}
        events = {name: list(found) for name, found in shell.events.callbacks.items()}
        matchers = list(shell.Completer.custom_matchers)
        return [*map(repr, hooks), magics, printers, threads, events, matchers]

    before = state()
    shell.run_cell("%load_ext hdvlab\n%hdv plug edu\n%hdv run edu").raise_error()
    assert state() != before
    shell.run_cell("%unload_ext hdvlab").raise_error()
    assert commands.existing_lab() is None
    assert not current._closes_at_exit
    assert state() == before
    shell.run_cell("%load_ext hdvlab").raise_error()


def test_a_class_is_shown_with_what_it_describes_and_others_as_ever(blinking: InteractiveShell) -> None:
    formatter = blinking.display_formatter
    blink = blinking.user_ns["Blink"]
    data, _ = formatter.format(blink)
    assert "1234:0001" in data["text/html"]
    assert "RATE[4..1], EN[0]" in data["text/html"]
    assert "COUNT" in formatter.format(blink.bar0)[0]["text/html"]
    assert "text/html" not in formatter.format(int)[0]
    assert "text/html" not in formatter.format(hdvlab.Device)[0]


def test_what_would_happen_is_shown_and_has_not(blinking: InteractiveShell) -> None:
    rows = len(commands.current_lab().trace)
    told = value_of(blinking, "%hdv whatif write CTRL.EN=1")
    assert [change.name for change in told.registers] == ["CTRL", "COUNT"]
    assert "nothing has changed" in told._repr_html_()
    assert len(commands.current_lab().trace) == rows


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("whatif ", "write"),
        ("whatif read C", "CTRL"),
        ("plug edu --slot ", "2"),
        ("start --ram ", "128M"),
        ("boot --tool ", "pciutils"),
        ("abo", "about"),
    ],
)
def test_values_of_options_are_completed_too(blinking: InteractiveShell, typed: str, offered: str) -> None:
    with provisionalcompleter():
        words = [one.text for one in blinking.Completer.completions(f"%hdv {typed}", len(f"%hdv {typed}"))]
    assert offered in words


def test_a_restarted_kernel_is_told_of_the_host_of_its_notebook(
    shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hdvlab.host import start

    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        (tmp_path / variable).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("JPY_SESSION_NAME", "/here/page.ipynb")
    with start("mine", lease=60) as lab:
        try:
            capsys.readouterr()
            shell.run_cell("%reload_ext hdvlab").raise_error()
            assert capsys.readouterr().out == "host mine runs: %hdv attach mine\n"
            assert "%hdv attach mine" in repr(commands.overview(None))
            monkeypatch.setenv("JPY_SESSION_NAME", "/here/other.ipynb")
            shell.run_cell("%reload_ext hdvlab").raise_error()
            assert "attach" not in capsys.readouterr().out
        finally:
            lab.shut_down()
