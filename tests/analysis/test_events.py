"""Causes and effects, named moments, lost rows."""

from hdvlab.analysis.events import LINK_COLUMNS, LOST_COLUMNS, MOMENT_COLUMNS, df_links, df_lost, df_moments
from hdvlab.analysis.lanes import df_lanes, lane_numbers
from hdvlab.trace.recorder import Recorder

from ..plots.traces import session


def test_effects_are_linked_to_the_row_that_caused_them_also_in_a_later_part_of_a_trace() -> None:
    trace = session(start=1_000)
    rows = trace.frame()
    links = df_links(rows, lane_numbers(rows, trace.tables, df_lanes(rows, trace.tables)))
    assert list(links.columns) == list(LINK_COLUMNS)
    assert list(links["cause"]) == [1_004] * 3
    assert list(links["effect"]) == [1_005, 1_006, 1_007]
    assert list(links["cause_ns"]) == [4_000] * 3
    assert list(links["effect_kind"]) == ["dma_read", "dma_write", "interrupt"]
    assert list(links["cause_lane"]) == [1] * 3
    assert list(links["effect_lane"]) == [3, 3, 4]


def test_an_effect_whose_cause_is_cut_off_has_no_link() -> None:
    trace = session()
    rows = trace.frame().iloc[5:]
    assert df_links(rows, lane_numbers(rows, trace.tables, df_lanes(rows, trace.tables))).empty


def test_marks_have_their_text_and_steps_their_name() -> None:
    trace = session(start=50)
    rows = trace.frame()
    moments = df_moments(rows, trace, lane_numbers(rows, trace.tables, df_lanes(rows, trace.tables)))
    assert list(moments.columns) == list(MOMENT_COLUMNS)
    assert list(moments["label"]) == ["start", "load driver"]
    assert list(moments["lane"]) == [5, -1]
    assert list(moments.index) == [50, 53]


def test_a_loss_reaches_from_the_row_before_it_to_the_row_that_tells() -> None:
    lost = df_lost(session().frame())
    assert list(lost.columns) == list(LOST_COLUMNS)
    assert lost.iloc[0].to_list() == [11_000, 12_000, 1_204]


def test_marks_of_a_recording_carry_their_texts() -> None:
    with Recorder.create() as recorder:
        recorder.mark("before the reset")
        recorder.mark("go")
        rows = recorder.frame()
        lanes = df_lanes(rows, recorder.tables)
        moments = df_moments(rows, recorder, lane_numbers(rows, recorder.tables, lanes))
    assert moments["label"].tolist() == ["before the reset", "go"]
