"""The sheets that come with hdvlab: their solutions have all points, and what is wrong is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hdvlab import Bar, Device, Register
from hdvlab.checks import DeviceClass, Sheet, find_sheet, grade, never, sheet_names
from hdvlab.checks.report import Report
from hdvlab.errors import UsageError
from hdvlab.trace.progress import listening

SOLUTIONS = Path(__file__).parent / "solutions"


def solution(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"solution_{name}", SOLUTIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(report: Report) -> list[str]:
    return [f"{one.check}: {one.text}" for one in report.verdicts if not one.is_kept]


@pytest.mark.parametrize("name", sheet_names())
def test_a_sheets_solution_has_all_points_and_says_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    sheet = find_sheet(name)
    told: list[tuple[str, int, int]] = []
    with listening(lambda *what: told.append(what)):
        report = grade(sheet, getattr(solution(name), sheet.submit.name))
    assert [(done, total) for _, done, total in told] == [(n, len(sheet.checks)) for n in range(len(sheet.checks))]
    assert broken(report) == []
    assert float(report) == sheet.points == report.worth
    report.require()
    assert capfd.readouterr() == ("", "")


class Careless(Device):
    vendor_id, device_id = 0x1234, 0x0B01

    class bar0(Bar, size=4096):
        CONTROL = Register(0x00)  # its own names do not matter
        SWITCHED_ON = Register(0x04)

    @bar0.CONTROL.on_write
    def control_written(self, value: int) -> None:
        self.bar0.SWITCHED_ON += value & 1
        if value > 0x1F:
            raise ValueError("what is that?")


def test_what_is_wrong_is_named_by_the_sheets_registers_and_faults_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    report = grade(find_sheet("blink"), Careless)
    assert "values after power-on: LIMIT reads 0xff" in broken(report)
    assert "COUNT cannot be written: COUNT reads 0x0" in broken(report)
    assert "COUNT counts writes with EN set: COUNT reads 0x1, then 0x1, then 0x2, then 0x3" not in broken(report)
    storm = [one for one in report.verdicts if one.text == "no error in the device's code"]
    assert [line for line in storm[0].breaches[0].excerpt() if "▸" in line and "ValueError: what is that?" in line]
    assert any("ValueError: what is that?" in fault for fault in report.faults)
    assert 0 < float(report) < report.worth
    assert capfd.readouterr().err == ""


class Endless(Device):
    vendor_id, device_id = 0x1234, 0x0B01

    class bar0(Bar, size=4096):
        CTRL = Register(0x00)

    @bar0.CTRL.on_read
    def read(self) -> int:
        while True:
            pass


class Refused(Device):
    vendor_id, device_id = 0x1234, 0x0B01

    def start(self) -> None:
        raise ValueError("no")


class Small(Device):
    vendor_id, device_id = 0x1234, 0x0B01

    class bar0(Bar, size=256):
        CTRL = Register(0x00)


def one_check() -> Sheet:
    sheet = Sheet("one", "One check", find_sheet("blink").submit)

    @sheet.check("reads CTRL", never("failed"), seconds=0.5)
    def read(guest: Any, blink: Any) -> int:
        value: int = blink.bar0.CTRL.read()
        return value

    return sheet


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (Endless, "it was not done after 0.5 s"),
        (Refused, "it cannot be plugged in: blink is not plugged in, because its Start failed: no"),
        (Small, "bar0 has 0x100 bytes; the sheet asks for bar0 of 0x1000 bytes"),
    ],
)
def test_a_device_that_hangs_or_does_not_fit_is_told_so(
    device: type[Device], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    report = grade(one_check(), device)
    assert float(report) == 0
    assert why in repr(report)
    assert capfd.readouterr().err == ""


def test_each_check_has_a_fresh_device() -> None:
    sheet = Sheet("two", "Two checks", find_sheet("blink").submit)
    seen = []
    for name in ("one", "two"):

        @sheet.check(name, never("failed"))
        def counts(guest: Any, blink: Any) -> None:
            seen.append(blink.bar0.COUNT.read())
            blink.bar0.CTRL.write(1)

    grade(sheet, solution("blink").Blink)
    assert seen == [0, 0]


def test_random_accesses_are_the_same_for_the_same_seed() -> None:
    from hdvlab.checks.exercise import perform

    def storm(seed: int) -> list[tuple[Any, ...]]:
        sheet = Sheet("storm", "A storm", find_sheet("blink").submit)
        sheet.survives(seed, accesses=40)
        frame = perform(sheet, sheet.checks[0], solution("blink").Blink).frame()
        return list(frame[["kind", "address", "size", "value"]].itertuples(index=False, name=None))

    assert storm(3) == storm(3)
    assert storm(3) != storm(4)


def cheating(guest: Any, blocks: list[bytes]) -> list[bytes]:
    return blocks


def test_a_driver_that_returns_the_answer_without_the_device_has_shown_nothing() -> None:
    assert float(grade(find_sheet("copy"), cheating)) == 0


def test_what_does_not_fit_the_sheet_is_refused() -> None:
    with pytest.raises(UsageError, match=r"asks for a device class Blink \(1234:0b01\)"):
        grade(find_sheet("blink"), cheating)
    with pytest.raises(UsageError, match=r"asks for a function copy_all"):
        grade(find_sheet("copy"), Careless)


def test_a_sheet_is_found_by_name_by_variable_and_in_a_file(tmp_path: Path) -> None:
    assert find_sheet("blink").name == "blink"
    mine = Sheet("mine", "Mine", DeviceClass("Blink", Careless))
    assert find_sheet("mine", {"mine": mine}) is mine
    file = tmp_path / "mysheet.py"
    file.write_text("from hdvlab.checks.sheets.blink import sheet\n")
    assert find_sheet(str(file)).name == "blink"
    file.write_text("sheet = 1\n")
    with pytest.raises(UsageError, match="has no variable sheet"):
        find_sheet(str(file))
    file.write_text("1 / 0\n")
    with pytest.raises(UsageError, match="is no lab sheet: ZeroDivisionError"):
        find_sheet(str(file))
    with pytest.raises(UsageError, match=r"no lab sheet blnk; did you mean blink\?"):
        find_sheet("blnk")
