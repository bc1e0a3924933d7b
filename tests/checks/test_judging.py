"""Points: whole, shared, in part, and none for who has shown nothing; and the rows that a report shows."""

from __future__ import annotations

import json

import pytest

from hdvlab.checks import (
    DeviceClass,
    Property,
    Report,
    Sheet,
    after,
    always,
    before,
    count,
    never,
    order,
    raises,
    reads_as,
    until,
    within,
)
from hdvlab.checks.evidence import Evidence
from hdvlab.checks.judging import SHOWN, judge, report_of
from hdvlab.checks.sheets.blink import BlinkRegisters
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind

from .evidence import evidence

READ = {"kind": Kind.mmio_read, "address": 4}
WRITE = {"kind": Kind.mmio_write, "value": 1}
INTERRUPT = {"kind": Kind.interrupt, "bar": -1}


def report(found: Evidence | None, *properties: Property, missing: str = "", **settings: object) -> Report:
    sheet = Sheet("sheet", "A sheet", DeviceClass("Blink", BlinkRegisters))
    sheet.check("a check", *properties, **settings)(lambda guest, blink: None)  # type: ignore[arg-type]
    return report_of(sheet, judge(sheet, sheet.checks[0], found, missing), [], "it")


def test_points_are_shared_by_the_properties_that_say_nothing_else() -> None:
    made = report(evidence(WRITE), count("write CTRL", 1, points=3), never("failed"), never("interrupt"), points=4)
    assert [one.worth for one in made.verdicts] == [3, 0.5, 0.5]
    assert float(made) == made.worth == 4


def test_a_part_of_a_property_is_a_part_of_its_points_if_it_says_so() -> None:
    rows = [{**READ, "value": value} for value in (0, 1, 7, 3)]
    assert float(report(evidence(*rows), reads_as("COUNT", 0, 1, 2, 3, partial=True), points=2)) == 1.5
    assert float(report(evidence(*rows), reads_as("COUNT", 0, 1, 2, 3), points=2)) == 0
    assert float(report(evidence(), reads_as("COUNT", 0, 1, partial=True))) == 0
    paired = [WRITE, INTERRUPT, WRITE, READ, INTERRUPT, WRITE, WRITE, INTERRUPT]
    assert float(report(evidence(*paired), within("write", "interrupt", 1, partial=True), points=4)) == 2


@pytest.mark.parametrize(
    "law",
    [
        always("size == 4", where="interrupt"),
        within("interrupt", "read", 3),
        after("interrupt", "read"),
        before("interrupt", "doorbell"),
        until("not read", "interrupt", since="doorbell"),
        order("interrupt", "read"),
        count("interrupt", 1),
    ],
    ids=lambda law: law.text,
)
def test_who_does_nothing_gets_nothing(law: Property) -> None:
    assert float(report(evidence(WRITE), law)) == 0


def test_nothing_bad_is_worth_nothing_where_the_exercise_broke_off() -> None:
    law = never("failed")
    assert float(report(evidence(WRITE), law)) == 1
    made = report(evidence(WRITE, error="GuestTimeoutError: no interrupt"), law)
    assert float(made) == 0
    assert "kept as far as the exercise came" in made.verdicts[0].note
    assert "the exercise broke off: GuestTimeoutError: no interrupt" in repr(made)


def test_nor_does_an_end_that_was_asked_for_cost_anything() -> None:
    ended = evidence(WRITE, error="ValueError: as told", kinds=("ValueError", "Exception"))
    assert float(report(ended, raises(ValueError), never("failed"), points=2)) == 2


def test_nothing_counts_where_what_is_needed_never_happened() -> None:
    made = report(evidence(WRITE), never("failed"), needs="interrupt")
    assert float(made) == 0
    assert made.verdicts[0].note == "there is no interrupt, without which the exercise shows nothing"
    assert float(report(evidence(INTERRUPT), never("failed"), needs="interrupt")) == 1


def test_a_breach_names_its_row_and_shows_its_neighbours() -> None:
    made = report(evidence(WRITE, READ, {**WRITE, "value": 6}, READ, READ, READ), never("write CTRL.MODE==halt"))
    assert float(made) == 1  # MODE is 3 there
    made = report(evidence(WRITE, READ, {**WRITE, "value": 2}, READ, READ, READ), never("write CTRL.MODE==run"))
    [breach] = made.verdicts[0].breaches
    assert breach.row == 32
    assert [line[0] for line in breach.around] == ["30", "31", "32", "33", "34"]
    lines = repr(made).splitlines()
    assert "      row 32: expected no write CTRL.MODE==run; got this row" in lines
    [marked] = [line for line in lines if "▸" in line]
    assert marked.split()[:4] == ["▸", "32", "mmio_write", "CTRL"]
    assert "MODE=run" in marked
    assert made.frame()["row"].tolist() == [32]


def test_many_breaches_are_counted_and_few_are_shown() -> None:
    [verdict] = report(evidence(*[WRITE] * 10), never("write")).verdicts
    assert (len(verdict.breaches), verdict.more) == (SHOWN, 10 - SHOWN)


def test_a_property_that_cannot_be_judged_hides_no_other() -> None:
    def fails(found: Evidence) -> None:
        raise ZeroDivisionError("the sheet's own mistake")

    made = report(evidence(WRITE), Property("broken", fails), never("failed"), points=2)  # type: ignore[arg-type]
    assert float(made) == 1
    assert made.verdicts[0].note == "cannot be judged: the sheet's own mistake"


def test_a_report_is_a_number_and_requires_its_points() -> None:
    good = report(evidence(WRITE), never("failed"))
    assert good.require() is good
    bad = report(evidence(WRITE), never("write"), points=2)
    assert bad.require(0) is bad
    with pytest.raises(AssertionError) as error:
        bad.require()
    assert str(error.value) == "sheet: 0 of 2 points\na check: never write: row 30: expected no write; got this row"


def test_a_report_survives_json_and_its_html_runs_no_script() -> None:
    found = evidence({**WRITE, "value": 2}, READ, value="<script>alert(1)</script>")
    made = report(found, never("write", text="<script>"), never("read"), points=2)
    again = Report.from_dict(json.loads(json.dumps(made.to_dict())))
    assert repr(again) == repr(made)
    assert again._repr_html_() == made._repr_html_()
    assert "<script" not in made._repr_html_()
    assert made._repr_html_().count("<table>") == 1


def test_html_escapes_what_a_student_wrote() -> None:
    made = report(evidence(WRITE, error="ValueError: <script>"), never("failed"))
    assert "<script" not in made._repr_html_()
    assert "&lt;script&gt;" in made._repr_html_()


def test_what_never_ran_says_why() -> None:
    made = report(None, never("failed"), missing="not reached: its time of 5 s was over")
    assert float(made) == 0
    assert "its time of 5 s was over" in repr(made)


@pytest.mark.parametrize(
    ("properties", "settings", "said"),
    [
        ((), {}, "has no property"),
        ((never("failed", points=2),), {"points": 1}, "is worth 1 points, but its properties 2"),
        ((never("failed", points=1),), {"points": 2}, "is worth 2 points, but its properties 1"),
        ((never("failed"),), {"needs": "write CTRL ="}, "is no word of a condition"),
        ((never("failed"),), {"device": BlinkRegisters}, "for sheets where a driver is handed in"),
    ],
)
def test_a_mistake_in_a_sheet_is_told_when_it_is_read(
    properties: tuple[Property, ...], settings: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        report(evidence(WRITE), *properties, **settings)
