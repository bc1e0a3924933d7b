from __future__ import annotations

import inspect
import shlex
import subprocess
import sys

import pytest

from hdvlab import Lab, commands
from hdvlab.commands.completion import complete
from hdvlab.commands.groups import GROUPS
from hdvlab.commands.parser import BY_NAME, Door, HelpWanted, help_text, verb_parser, verbs
from hdvlab.commands.picture import PICTURES
from hdvlab.errors import UsageError
from hdvlab.stepping.place import KIND_WORDS
from hdvlab.widgets.dashboard import TITLES

#: Verbs whose door does more than call the function of that name.
DOORS_OWN = {"close", "host", "attach", "lab", "start", "mark", "record", "guest", "c", "check", "theme"}
#: Parameters that nobody types: the person's variables, where progress and output are shown.
GIVEN_BY_THE_DOOR = {"namespace", "progress", "on_output"}


@pytest.mark.parametrize("name", [name for name in verbs() if name not in DOORS_OWN])
def test_the_arguments_of_a_verb_are_the_parameters_of_its_command(name: str) -> None:
    parser = verb_parser(name)
    mine = {action.dest for action in parser._actions} - {"help"}
    parameters = set(list(inspect.signature(getattr(commands, name)).parameters)[1:])
    assert mine - {"out", "or_skip"} == parameters - GIVEN_BY_THE_DOOR


@pytest.mark.parametrize(("door", "name"), [(door, name) for door in ("magic", "shell") for name in verbs(door)])  # type: ignore[arg-type]
def test_every_verb_has_help_that_fits_a_line_for_each_argument(door: str, name: str) -> None:
    parser = verb_parser(name, door)  # type: ignore[arg-type]
    with pytest.raises(HelpWanted) as wanted:
        parser.parse_words(["--help"])
    assert f"hdv{'lab' if door == 'shell' else ''} {name}" in wanted.value.text
    for action in parser._actions:
        assert action.help or action.dest == "words" or action.option_strings


@pytest.mark.parametrize("door", ["magic", "shell"])
def test_every_verb_has_an_example_that_parses(door: Door) -> None:
    for name in verbs(door):
        parser, verb = verb_parser(name, door), BY_NAME[name]
        first, *words = shlex.split(verb.shell_example if door == "shell" else verb.example)
        assert first == name
        if name not in ("tour", "bench"):  # programs of their own
            parser.parse_words(words)
        program = "hdvlab" if door == "shell" else "%%hdv" if verb.cell else "%hdv"
        assert f"example: {program} {name}" in parser.format_help()


@pytest.mark.parametrize("door", ["magic", "cell", "shell"])
def test_help_names_every_verb_once_under_what_it_is_for(door: Door) -> None:
    lines = help_text(door).splitlines()
    told = [line.split()[1] for line in lines if line.startswith("  ")]
    assert sorted(told) == sorted(verbs(door))
    assert sorted(name for group in GROUPS for name in group.verbs) == sorted(BY_NAME)


#: What only the person knows: new names, numbers, times, texts.
FREE = {"name", "append", "modules", "out", "timeout", "command", "lease", "flags", "arguments", "text", "last",
        "start", "stop", "ignore", "count", "message", "keep"}  # fmt: skip


def test_every_value_that_can_be_known_is_completed() -> None:
    for verb in verbs():
        for action in verb_parser(verb)._actions:
            known = action.nargs == 0 or action.choices is not None or getattr(action, "complete", "")
            assert known or action.dest in FREE, f"{verb} {action.dest}"


def test_no_panel_named_means_all_of_them() -> None:
    assert verb_parser("panel").parse_words([]).names == []
    assert verb_parser("panel").parse_words(["table", "status"]).names == ["table", "status"]


def test_panels_are_completed_without_importing_widgets() -> None:
    code = (
        "import sys; from hdvlab.commands.completion import complete; print(*complete(['panel', ''], None, {}));"
        "assert not {'ipywidgets', 'anywidget', 'matplotlib'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(told.split()) == set(TITLES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tarce"], "no verb tarce; did you mean trace?"),
        (["doctor"], "no verb doctor; there is plug,"),
        (["trace", "--kidn", "mmio"], "%hdv trace has no option --kidn; did you mean --kind?"),
        (["trace", "--last", "x"], "--last: 'x' is no number; write 31, 0x1f or 0b1_1111"),
        (["trace", "--last", "-3"], "--last: -3 is too few; write a whole number from 1 on, such as 20"),
        (["trace", "--last", "0"], "--last: 0 is too few; write a whole number from 1 on, such as 20"),
        (["trace", "--last", "2.5"], "--last: 2.5 is no whole number; write one from 1 on, such as 20"),
        (["plug", "Blink", "--slot", "-1"], "--slot: slot -1: slots are 0 to 31"),
        (["trace", "--last"], "--last: expected one argument; %hdv trace --help says what it takes"),
        (["trace", "more"], "'more' is one word too many; %hdv trace --help says what it takes"),
        (["peek"], "%hdv peek needs LOCATION: CTRL, CTRL.EN, blink.CTRL, bar0+0x10"),
        (
            ["plot"],
            "%hdv plot needs PICTURE: timeline, heatmap, latency, waveform, dma, interrupts, states, rate or compare",
        ),
        (["plot", "timelime"], "no picture timelime; did you mean timeline?"),
        (["peek", "CTRL", "--size", "3"], "no --size 3; there is 1, 2, 4, 8"),
        (["start", "--ram", "64Q"], "--ram: '64q' is no number; write 31, 0x1f or 0b1_1111"),
    ],
)
def test_a_mistake_is_answered_in_one_line(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        verb_parser(words[0]).parse_words(words[1:])
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tr", {"trace", "trigger"}),
        ("trace --ki", {"--kind"}),
        ("trace --kind mmio_", {"mmio_read", "mmio_write"}),
        ("trace --origin ", {"guest", "user", "device", "replay", "injected", "machine"}),
        ("trace --device ", {"blink"}),
        ("trace --register CTRL.", {"CTRL.EN", "CTRL.RATE", "CTRL.MODE"}),
        ("trace --since ", {'"half way"'}),
        ("trace --run ", {"one"}),
        ("peek CT", {"CTRL", "CTRL.EN", "CTRL.RATE", "CTRL.MODE"}),
        ("peek ctrl.e", {"CTRL.EN"}),
        (
            "peek blink.C",
            {"blink.CTRL", "blink.CTRL.EN", "blink.CTRL.RATE", "blink.CTRL.MODE", "blink.COUNT"},
        ),
        ("peek CTRL --size ", {"1", "2", "4", "8"}),
        ("poke CTRL.E", {"CTRL.EN="}),
        ("poke CTRL.EN=1 CO", {"COUNT="}),
        ("plot ", set(PICTURES)),
        ("plot states CO", {"COUNT"}),
        ("plot compare ", {"one"}),
        ("theme ", {"light", "dark"}),
        ("plot waveform CO", {"COUNT"}),
        ("plot --theme ", {"light", "dark"}),
        ("plug B", {"Blink"}),
        ("plug e", {"edu", "edu.c"}),
        ("unplug ", {"blink"}),
        ("vm p", {"pause", "put"}),
        ("boot --device nv", {"nvme"}),
        ("sh --", {"--help", "--out", "--timeout"}),
        ("run ", {"driver", "edu", "nvme", "ring", "virtio"}),
        ("check b", {"blink"}),
        ("check blink dr", {"driver"}),
        ("check blink ", {"Blink", "driver"}),
        ("panel reg", {"registers"}),
        ("break int", {"interrupt"}),
        ("break --kind ", set(KIND_WORDS)),
        ("break --device ", {"blink"}),
        ('break CTRL --when "val', {'"value'}),
        ("break CTRL --when sto", {"stored"}),
        ("trigger CTRL --record ", {"start", "stop"}),
        ("run driver ", {"Blink", "driver", "x"}),
        ("override ", set()),
        ("nothing ", set()),
    ],
)
def test_completions_come_from_the_tree_and_from_the_lab(lab: Lab, line: str, offered: set[str]) -> None:
    def driver(guest: object) -> None: ...

    commands.mark(lab, "half way")
    commands.record(lab, lambda: None, name="one")
    names = {"Blink": type(lab["blink"].device), "driver": driver, "x": 1}
    assert set(complete(line.split(" "), lab, names)) == offered


def test_paths_are_completed(tmp_path: object) -> None:
    from pathlib import Path

    place = Path(str(tmp_path))
    (place / "runs").mkdir()
    (place / "run1.parquet").touch()
    assert complete(["load", f"{place}/ru"], None, {}) == [f"{place}/run1.parquet", f"{place}/runs/"]


def test_completing_makes_no_lab() -> None:
    assert complete(["peek", ""], None, {}) == []
    assert complete(["pe"], None, {}, "cell") == []
    assert complete(["re"], None, {}, "cell") == ["record"]
    assert commands.existing_lab() is None
