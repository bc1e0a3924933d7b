"""The same verbs as with a lab of one's own, and those that come and go: host, hosts, attach, detach."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from hdvlab import cli, commands
from hdvlab.commands.completion import complete
from hdvlab.errors import StateError, UsageError
from hdvlab.host import RemoteLab
from hdvlab.host.record import latest
from tests.host.conftest import kill, wait_until


@pytest.fixture
def shell(places: Path) -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    one = InteractiveShell.instance(config=config)
    one.run_cell("%load_ext hdvlab").raise_error()
    yield one
    one.run_cell("%unload_ext hdvlab")
    commands.close_lab()
    one.reset(new_session=False)
    InteractiveShell.clear_instance()


def run(shell: InteractiveShell, cell: str) -> object:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def test_host_starts_attaches_and_every_verb_works_there(shell: InteractiveShell) -> None:
    assert isinstance(run(shell, "%hdv host lab"), RemoteLab)
    assert repr(run(shell, "%hdv plug edu --config dma_delay_ms=1")) == "<edu at 00:01.0, 1234:11e8, on>"
    assert repr(run(shell, "%hdv poke LIVENESS=1")) == "LIVENESS: 0x0 → 0xfffffffe"
    assert "EduResult" in repr(run(shell, "%hdv run edu"))
    assert len(run(shell, "%hdv trace --kind mmio --last 5")) == 5  # type: ignore[arg-type]
    assert "LIVENESS" in repr(run(shell, "%hdv regs"))
    assert "1234:11e8" in repr(run(shell, "%hdv lspci -v"))
    assert repr(run(shell, "%hdv mark here")).endswith("here")
    assert "2 rows" in repr(run(shell, "%%hdv guest -o mine\nedu.bar0.LIVENESS.write(5)\nedu.bar0.LIVENESS.read()"))
    assert len(run(shell, "%hdv trace --run mine")) == 2  # type: ignore[arg-type]
    assert "lab" in repr(run(shell, "%hdv hosts"))
    assert "edu" in repr(run(shell, "%hdv status"))
    assert run(shell, "%hdv plot timeline") is not None


def test_detach_leaves_it_and_attach_comes_back(shell: InteractiveShell) -> None:
    run(shell, "%hdv host lab --lease 60")
    run(shell, "%hdv plug edu")
    assert "detached; host lab goes on, it ends after 60 s without anybody" in repr(run(shell, "%hdv detach"))
    assert commands.existing_lab() is None
    run(shell, "%hdv attach lab")
    assert "edu" in repr(run(shell, "%hdv lab"))
    assert "detached" in repr(run(shell, "%hdv close"))
    assert "has ended; its trace is" in repr(run(shell, "%hdv host lab --stop"))


def test_attach_to_a_dead_one_says_so_and_gives_the_trace(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%hdv host lab")
    run(shell, "%hdv mark before the end")
    record = latest("lab")
    assert record is not None
    kill(record)
    lab = commands.existing_lab()
    assert isinstance(lab, RemoteLab)
    wait_until(lambda: not lab.attached, "the connection's end")
    run(shell, "trace = %hdv attach lab")
    assert "is dead" in capsys.readouterr().err
    assert list(shell.user_ns["trace"].marks()["text"]) == ["before the end"]


def test_a_machine_of_this_process_is_not_left_unasked(shell: InteractiveShell) -> None:
    run(shell, "%hdv plug edu")
    with pytest.raises(StateError, match="%hdv close ends it"):
        run(shell, "%hdv host lab")
    assert latest("lab") is None
    with pytest.raises(UsageError, match="not attached"):
        run(shell, "%hdv detach")


def test_a_c_cell_runs_in_the_host_from_a_copy(shell: InteractiveShell) -> None:
    run(shell, "%hdv host lab")
    source = (Path(__file__).parents[1] / "blink.c").read_text()
    run(shell, f"%%hdv c --name blink\n{source}")
    assert "blink" in repr(run(shell, "%hdv status"))
    record = latest("lab")
    assert record is not None
    assert list(Path(record.directory).glob("device-*/*.so"))


def test_tab_offers_hosts(shell: InteractiveShell) -> None:
    run(shell, "%hdv host lab")
    assert complete(["attach", "l"], None, {}) == ["lab"]
    assert "hosts" in complete(["ho"], None, {})


def test_the_shell_starts_lists_and_ends_hosts(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["hosts"]) == 0
    assert "no host; hdvlab host NAME starts one" in capsys.readouterr().out
    assert cli.main(["host", "lab", "--lease", "60"]) == 0
    assert cli.main(["hosts"]) == 0
    out = capsys.readouterr().out
    assert "<RemoteLab lab: machine off, no devices, 0 rows>" in out
    assert "embedded" in out
    assert cli.main(["host", "lab"]) == 2
    assert "there is a host lab already" in capsys.readouterr().err
    assert cli.main(["host", "lab", "--stop"]) == 0
    record = latest("lab")
    assert record is not None
    assert not record.is_alive


def test_a_host_outlives_the_shell_that_started_it(places: Path) -> None:
    program = "import sys; from hdvlab.cli import main; sys.exit(main(['host', 'lab']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "RemoteLab lab" in done.stdout
    record = latest("lab")
    assert record is not None
    assert record.is_alive
    parent = int(Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
