from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab import Lab, commands
from hdvlab.commands.picture import PICTURES
from hdvlab.errors import TraceError, UsageError


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_shows_itself_in_a_notebook(lab: Lab, kind: str) -> None:
    commands.poke(lab, "CTRL.EN=1")
    runs = ["here", "here"] if kind == "compare" else []
    axes = commands.plot(lab, kind, runs, theme="dark", namespace={"here": lab.trace})
    picture, _ = axes._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("register", ["CTRL", "CTRL.EN", "blink.CTRL", "blink.CTRL.EN", "bar0+0x0", "blink.bar0+0x0"])
def test_a_waveform_takes_registers_as_other_commands_do(lab: Lab, register: str) -> None:
    commands.poke(lab, "CTRL.EN=1")
    assert commands.plot(lab, "waveform", [register]).has_data()


def test_without_rows_the_loaded_trace_is_named(tmp_path: Path) -> None:
    with Lab() as empty:
        empty.runs["nvme"] = empty.trace
        with pytest.raises(UsageError, match="the lab has no rows; a run's are drawn with --run: nvme"):
            commands.plot(empty, "latency")


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
        (
            "timeline",
            {"registers": ["CTRL"]},
            "registers go with waveform, states, interrupts and compare, not with timeline",
        ),
        ("latency", {"device": "blink"}, "--device goes with timeline, heatmap, dma and interrupts, not with latency"),
        ("waveform", {"bar": 0}, "--bar goes with heatmap, not with waveform"),
        ("timeline", {"by": "kind"}, "--by goes with latency and rate, not with timeline"),
        ("rate", {"by": "register"}, "rate is drawn --by kind or device, not by register"),
        (
            "states",
            {"registers": ["CTRL", "COUNT"]},
            "states takes one register; draw CTRL and COUNT one after the other",
        ),
        ("states", {"registers": ["CTLR"]}, "this trace has no register CTLR; did you mean CTRL?"),
        ("compare", {"registers": ["one"]}, "compare takes two runs: %hdv plot compare run1 run2; 1 given"),
        (
            "compare",
            {"registers": ["one", "two"]},
            "no run one; %%hdv record -o NAME makes one, %hdv load reads one",
        ),
    ],
)
def test_an_option_of_another_picture_is_refused(lab: Lab, kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        commands.plot(lab, kind, **options)  # type: ignore[arg-type]
    assert str(error.value) == said


def test_a_picture_of_nothing_says_what_to_do(lab: Lab) -> None:
    """No DMA, no interrupt: the picture says so in one line."""
    for kind, said in (("dma", "No DMA in this trace"), ("interrupts", "No interrupt in this trace")):
        (text,) = [text.get_text() for text in commands.plot(lab, kind).texts]
        assert text == f"{said}; %hdv plot timeline shows what there is."


def test_two_runs_are_compared_by_name_and_two_files_by_path(lab: Lab, tmp_path: Path) -> None:
    for name, times in (("one", 2), ("two", 3)):
        with lab.record(name):
            for _ in range(times):
                commands.read(lab, "COUNT")
    axes = commands.plot(lab, "compare", ["one", "two"])
    assert axes.get_title(loc="left") == "one and two · 1 of 1 rows differ in count"
    paths = [str(lab.runs[name].trace.save(tmp_path / name)) for name in ("one", "two")]
    axes = commands.plot(commands.open_file(paths[0]), "compare", paths[1:])
    assert [text.get_text() for text in axes.child_axes[2].texts] == ["2 → 3"]


def test_a_theme_is_remembered_by_the_next_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HDVLAB_CONFIG", str(tmp_path / "new"))
    monkeypatch.setattr("hdvlab.plots.theme._default", None)
    assert "pictures are light;" in commands.theme()
    assert commands.theme("dark").startswith("pictures are dark from now on; remembered in ")
    monkeypatch.setattr("hdvlab.plots.theme._default", None)  # as in a process that has drawn nothing yet
    assert commands.theme().startswith("pictures are dark;")


def test_a_theme_that_cannot_be_remembered_still_counts_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HDVLAB_CONFIG", str(tmp_path / "file"))
    monkeypatch.setattr("hdvlab.plots.theme._default", None)
    assert "dark in this session; not remembered" in commands.theme("dark")
    assert commands.theme().startswith("pictures are dark;")


def test_a_remembered_word_that_is_no_theme_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "theme").write_text("sepia")
    monkeypatch.setenv("HDVLAB_CONFIG", str(tmp_path))
    monkeypatch.setattr("hdvlab.plots.theme._default", None)
    with pytest.warns(UserWarning, match="says 'sepia', which is no theme; there are light, dark"):
        assert commands.theme().startswith("pictures are light;")


def test_a_stretch_is_given_in_words_or_nanoseconds(lab: Lab) -> None:
    commands.poke(lab, "CTRL.EN=1")
    assert commands.plot(lab, "timeline", start="0", stop="10s").has_data()


def test_a_stretch_that_ends_before_it_begins_is_refused(lab: Lab) -> None:
    for start, stop in (("20s", "10s"), ("5", "5"), ("1s", "3")):
        with pytest.raises(UsageError, match=f"^--stop {stop} is not after --start {start}"):
            commands.plot(lab, "timeline", start=start, stop=stop)
