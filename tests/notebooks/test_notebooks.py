"""Every notebook runs from top to bottom, in a kernel process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def _run(path: Path, folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    shutil.copytree(NOTEBOOKS / "traces", folder / "traces")
    # "python3" is the kernel of the interpreter that runs the tests.
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    return _run(NOTEBOOKS / "00-tour.ipynb", tmp_path_factory.mktemp("tour"))


def test_the_tour_shows_all_four_kinds_of_pictures(tour: nbformat.NotebookNode) -> None:
    pictures = [output for output in _outputs(tour) if "image/png" in output.get("data", {})]
    assert len(pictures) == 5
    assert all(len(picture.data["image/png"]) > 10_000 for picture in pictures)


def test_the_only_errors_the_tour_shows_are_those_it_speaks_of(tour: nbformat.NotebookNode) -> None:
    told = [output.text for output in _outputs(tour) if output.output_type == "stream" and output.name == "stderr"]
    assert len(told) >= 1
    assert "ZeroDivisionError" in "".join(told)
    for text in told:
        assert "ZeroDivisionError" in text or "its handler failed" in text


def test_the_tour_counts_the_real_drivers_accesses(tour: nbformat.NotebookNode) -> None:
    texts = "".join(output.get("data", {}).get("text/plain", "") for output in _outputs(tour))
    for count in ("7579", "6185", "720"):  # e1000 reads and writes, nvme writes
        assert count in texts


@pytest.fixture(scope="module")
def c_device(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    return _run(NOTEBOOKS / "01-c-device.ipynb", tmp_path_factory.mktemp("c"))


def test_the_page_on_c_devices_shows_equal_traces_and_its_pictures(c_device: nbformat.NotebookNode) -> None:
    printed = "".join(output.text for output in _outputs(c_device) if output.output_type == "stream")
    assert "rows each; equal: True" in printed
    pictures = [output for output in _outputs(c_device) if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    texts = [output.get("data", {}).get("text/plain", "") for output in _outputs(c_device)]
    assert any("returned [532, 32640, 432]" in text for text in texts)


def test_the_only_error_on_the_page_on_c_devices_is_the_compilers(c_device: nbformat.NotebookNode) -> None:
    [error] = [output for output in _outputs(c_device) if output.output_type == "error"]
    assert error.ename == "CompileError"
    assert "blink.c:5:12: error: " in error.evalue
    assert len(error.traceback) == 1
    assert not [one for one in _outputs(c_device) if one.output_type == "stream" and one.name == "stderr"]


#: Pages of the course: what they show on the way, and what stderr says where a page speaks of a mistake.
COURSE = {
    "05-config-space": (["slot 1: 1234:0005", "bar0: 0x1000  bar2: 0x100000", "capability 0x5 at 0x40"], ""),
    "06-registers": (["0x31 (EN=1 SPEED=3 BUSY=0)", "left: 0x2, which is TX", "RX is lost", "ERROR_NOT_FOUND"], ""),
    "07-interrupts": (["(2, 1)", "pending, and nobody was told", "an interrupt, and STATUS is 0x0"], ""),
    "08-dma-rings": (["b'A SHORT TEXT' status 1", "RINGS ARE EVERYWHERE", "ERROR_NOACCESS"], "bus mastering"),
    "09-doorbells-sections": (["499500 499500 499500", "{'by register': 256, 'by section': 1}"], ""),
    "10-stepping": (["held at breakpoint 1: meter.SAMPLE write 0x12c", "reloaded in its place", "1 hit"],
                    "ZeroDivisionError"),
    "11-driver-mistakes": (["rules, careless: 0 of 5 points", "row 38: expected a register; got bar0+0x1c"], ""),
    "12-exercises": (["blink, Blink: 5 of 11 points", "timer, Timer: ", "copy, copy_all: 4.5 of 12 points"], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", COURSE)
def test_a_page_of_the_course_runs_and_shows_what_it_speaks_of(name: str, tmp_path: Path) -> None:
    outputs = _outputs(_run(NOTEBOOKS / f"{name}.ipynb", tmp_path))
    wanted, told = COURSE[name]
    printed = [output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"]
    shown = "\n".join([*printed, *(output.get("data", {}).get("text/plain", "") for output in outputs)])
    assert [text for text in wanted if text not in shown] == []
    errors = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    assert (errors.count(told) >= 1) if told else (errors == "")
    assert errors.count("Traceback") == bool(told)


def test_every_page_of_the_course_is_run_by_a_test() -> None:
    pages = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    elsewhere = {"00-tour", "01-c-device", "02-boot-linux", "03-nvme", "04-both-sides"}
    assert pages == elsewhere | set(COURSE)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert _outputs(notebook) == []
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
