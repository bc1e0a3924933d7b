from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab import Lab, commands
from hdvlab.commands.picture import PICTURES
from hdvlab.errors import TraceError, UsageError


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_shows_itself_in_a_notebook(lab: Lab, kind: str) -> None:
    commands.poke(lab, "CTRL.EN=1")
    axes = commands.plot(lab, kind, theme="dark")
    picture, _ = axes._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("register", ["CTRL", "CTRL.EN", "blink.CTRL", "blink.CTRL.EN", "bar0+0x0", "blink.bar0+0x0"])
def test_a_waveform_takes_registers_as_other_commands_do(lab: Lab, register: str) -> None:
    commands.poke(lab, "CTRL.EN=1")
    assert commands.plot(lab, "waveform", [register]).has_data()


def test_a_picture_is_written_where_one_says(lab: Lab, tmp_path: Path) -> None:
    commands.plot(lab, "timeline", device="blink", output=str(tmp_path / "x.png"))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"a picture is a png, pdf or svg; write .*x\.png$"):
        commands.plot(lab, "timeline", output=str(tmp_path / "x.foo"))
    with pytest.raises(TraceError, match="No such file or directory"):
        commands.plot(lab, "timeline", output=str(tmp_path / "not" / "x.png"))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("timelin", {}, "no picture timelin; did you mean timeline?"),
        ("timeline", {"registers": ["CTRL"]}, "registers go with waveform, not with timeline"),
        ("latency", {"device": "blink"}, "--device goes with timeline and heatmap, not with latency"),
        ("waveform", {"bar": 0}, "--bar goes with heatmap, not with waveform"),
        ("timeline", {"by": "kind"}, "--by goes with latency, not with timeline"),
    ],
)
def test_an_option_of_another_picture_is_refused(lab: Lab, kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        commands.plot(lab, kind, **options)  # type: ignore[arg-type]
    assert str(error.value) == said


def test_a_stretch_is_given_in_words_or_nanoseconds(lab: Lab) -> None:
    commands.poke(lab, "CTRL.EN=1")
    assert commands.plot(lab, "timeline", start="0", stop="10s").has_data()


def test_a_stretch_that_ends_before_it_begins_is_refused(lab: Lab) -> None:
    for start, stop in (("20s", "10s"), ("5", "5"), ("1s", "3")):
        with pytest.raises(UsageError, match=f"^--stop {stop} is not after --start {start}"):
            commands.plot(lab, "timeline", start=start, stop=stop)
