"""The notebooks with a VM run from top to bottom, and leave neither a VM nor a device host."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from hdvlab.host.record import records
from tests.host.conftest import wait_until

pytestmark = pytest.mark.vm

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Device hosts of these notebooks alone."""
    folder = tmp_path_factory.mktemp("p")
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
            (folder / name).mkdir(mode=0o700)
            patch.setenv(variable, str(folder / name))
        yield folder
        for record in records():
            if record.is_alive:
                os.kill(record.pid, signal.SIGKILL)


def _run(name: str, folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    # The first boot of all fetches QEMU and a kernel.
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def _printed(notebook: nbformat.NotebookNode, stream: str = "stdout") -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(one.text for one in outputs if one.output_type == "stream" and one.name == stream)


def _shown(notebook: nbformat.NotebookNode, form: str = "text/plain") -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [one.data[form] for one in outputs if form in one.get("data", {})]


def _has_ended(notebook: nbformat.NotebookNode) -> bool:
    """Whether the host that the notebook started is gone; QEMU goes with its host."""
    ended = [text for text in _shown(notebook) if text.startswith("host vm") and " has ended; its trace is " in text]
    return len(ended) == 1 and not any(record.is_alive for record in records())


@pytest.fixture(scope="module")
def boot(places: Path) -> nbformat.NotebookNode:
    return _run("02-boot-linux.ipynb", places)


def test_linux_finds_the_device_and_its_own_driver_takes_its_interrupt(boot: nbformat.NotebookNode) -> None:
    printed = _printed(boot)
    assert "00:01.0 Unassigned class [ff00]: Device 1234:0001" in printed
    assert "COUNT is 0x00000001, LEFT is 0x00000002" in printed
    assert "the interrupt woke me up" in printed
    [uio] = [text for text in _shown(boot) if text.startswith("<uio: ")]
    assert "1 interrupt" in uio
    [rows] = [text.splitlines() for text in _shown(boot) if "INTA" in text]
    interrupt = next(number for number, row in enumerate(rows) if "INTA" in row)
    assert "CTRL" in rows[interrupt - 1]
    assert rows[interrupt].split()[-1] == rows[interrupt - 1].split()[0]  # its cause


def test_a_mistake_is_told_of_and_mended_while_linux_runs(boot: nbformat.NotebookNode) -> None:
    told = _printed(boot, "stderr")
    assert told.count("Traceback") == told.count("\nZeroDivisionError") == 1
    printed = _printed(boot)
    assert "0xFFFFFFFF" in printed
    assert "blink is reloaded in its place; its state is kept" in printed
    assert "LEFT is 0x00000000, COUNT is still 0x00000003" in printed


def test_who_detaches_finds_everything_again_and_switches_it_off(boot: nbformat.NotebookNode) -> None:
    assert "before the restart" in _printed(boot)
    assert "the VM is off; its devices are on, %hdv boot starts it again" in _shown(boot)
    assert "'the VM is paused'" in _shown(boot)[-1]
    assert "'the VM is off: powered off'" in _shown(boot)[-1]
    assert _has_ended(boot)


@pytest.fixture(scope="module")
def both(places: Path) -> nbformat.NotebookNode:
    return _run("04-both-sides.ipynb", places)


def test_three_drivers_in_c_get_the_sum_from_the_device(both: nbformat.NotebookNode) -> None:
    assert _printed(both).count("sum 500500\n") >= 3
    assert any("registers" in text and "1002" in text for text in _shown(both))
    [interrupt] = [text for text in _shown(both) if text.startswith("<interrupt: ")]
    assert "1 mmio_read, 4 mmio_write, 1 dma_read, 1 interrupt" in interrupt
    assert any(text.startswith("array([ 991,") for text in _shown(both))


def test_the_drivers_bug_is_in_the_rows(both: nbformat.NotebookNode) -> None:
    assert "sum of 100: 5050\nsum of 1000: no interrupt within 2 s\n" in _printed(both)
    [bug] = [text for text in _shown(both) if text.startswith("<bug: ")]
    assert "2 dma_read, 1 interrupt" in bug
    assert _printed(both, "stderr") == ""
    assert _has_ended(both)


@pytest.fixture(scope="module")
def nvme(places: Path) -> nbformat.NotebookNode:
    return _run("03-nvme.ipynb", places)


def test_a_drive_starts_keeps_a_file_and_shows_one_read(nvme: nbformat.NotebookNode) -> None:
    assert "Non-Volatile memory controller [0108]: Device [1234:0003]" in _printed(nvme)
    shown = _shown(nvme)
    [started] = [text for text in shown if "doorbell buffer config" in text]
    assert started.index("identify") < started.index("create io cq") < started.index("create io sq")
    assert "True" in shown  # the checksums before and after the reset
    assert "<read: 8 rows (3 dma_read, 3 dma_write, 1 interrupt, 1 doorbell); status 0>" in shown
    [reads] = [text for text in shown if text.startswith("<reads: ")]
    assert "200 interrupt" in reads
    pictures = _shown(nvme, "image/png")
    assert len(pictures) == 2
    assert all(len(base64.b64decode(picture)) > 10_000 for picture in pictures)


def test_a_drives_failures_are_told_of_by_linux(nvme: nbformat.NotebookNode) -> None:
    printed = _printed(nvme)
    assert "I/O Cmd(0x2) @ LBA 800, 8 blocks, I/O Error (sct 0x2 / sc 0x81) DNR" in printed
    assert "dd: status 1\n" in printed
    assert "dd is content\n" in printed
    told = [line for line in _printed(nvme, "stderr").splitlines() if line]
    assert [line.partition(" (row")[0] for line in told] == [
        "nvme: injected: read (queue 1) ends with unrecovered read error (281h)",
        "nvme: injected: read (queue 1) ends with internal error (006h)",
    ]
    assert _has_ended(nvme)


@pytest.mark.parametrize("name", ["02-boot-linux.ipynb", "03-nvme.ipynb"])
def test_where_no_vm_can_be_had_a_page_says_why_and_goes_on(
    name: str, places: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("HDVLAB_QEMU", "HDVLAB_KERNEL", "HDVLAB_BUSYBOX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HDVLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    notebook = _run(name, places)
    told = "\n".join(_shown(notebook, "text/plain"))
    assert "No VM can run here" in told
    assert "QEMU and a kernel cannot be fetched: no apt-get" in told
    assert "HDVLAB_QEMU=" in told
    for record in records():
        if record.is_alive:
            os.kill(record.pid, signal.SIGKILL)
            wait_until(lambda record=record: not record.is_alive, "the host's end")  # type: ignore[misc]


def test_their_pictures_are_pictures(boot: nbformat.NotebookNode, both: nbformat.NotebookNode) -> None:
    for notebook in (boot, both):
        [picture] = _shown(notebook, "image/png")
        assert len(base64.b64decode(picture)) > 10_000
