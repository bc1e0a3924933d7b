"""What ``binder/`` lists is enough: installed into a fresh environment it runs the tour; without a VM pages go on.

Ref: repo2docker, configuration files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
BINDER = ROOT / "binder"
NO_VM = "a Binder container is too small"
WITH_VM = ("02-boot-linux.ipynb", "03-nvme.ipynb", "04-both-sides.ipynb")


def _requirements() -> list[str]:
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_there_is_one_kind_of_everything_that_repo2docker_looks_for() -> None:
    names = {path.name for path in BINDER.iterdir()}
    assert names == {"requirements.txt", "runtime.txt", "apt.txt", "start"}  # a Dockerfile would win over all
    assert not (ROOT / ".binder").exists()
    assert not (ROOT / "environment.yml").exists()


def test_the_python_of_binder_is_one_that_hdvlab_runs_on() -> None:
    version = re.fullmatch(r"python-3\.(\d+)\n", (BINDER / "runtime.txt").read_text("utf-8"))
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert version
    assert int(version[1]) >= int(needs.removeprefix(">=3."))


def test_what_binder_installs_is_hdvlab_with_a_kernel_that_is_new_enough() -> None:
    assert _requirements() == [".[notebooks]", "ipykernel>=7.1"]  # the one that comes with Binder's base is 7.0
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "notebooks" in extras["optional-dependencies"]
    assert "ipykernel>=7.1" in extras["dependencies"]


def test_binder_says_that_no_vm_runs_there_and_starts_what_it_is_given() -> None:
    start = BINDER / "start"
    assert os.access(start, os.X_OK)
    told = subprocess.run([start, "printenv", "HDVLAB_NO_VM"], capture_output=True, text=True, check=True).stdout
    assert told.startswith(NO_VM)


@pytest.mark.parametrize("name", WITH_VM)
def test_a_page_with_a_vm_says_so_where_none_runs_and_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDVLAB_NO_VM", NO_VM)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    told = [output.data["text/plain"] for output in outputs if "text/plain" in output.get("data", {})]
    assert any(text.startswith(f"No VM can run here: no VM runs here: {NO_VM}") for text in told)
    printed = [output.text for output in outputs if output.output_type == "stream"]
    assert printed
    assert set("".join(printed).split("\n")) == {"skipped: no VM here", ""}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # no device host was started for it


@pytest.mark.binder
def test_what_binder_lists_runs_the_tour_in_a_fresh_environment(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    source = tmp_path / "source"  # built there, so that the working tree stays as it is
    ignored = shutil.ignore_patterns(".git", "build", "node_modules", "__pycache__", ".venv", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    given = {"cwd": source, "env": environment, "check": True, "timeout": 600}
    listed = source / "binder" / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", listed], **given)
    subprocess.run([python, "-m", "pip", "check"], **given)
    tour = [python, "-m", "hdvlab", "tour", "--headless", "--folder", tmp_path / "tour"]
    if not (source / "hdvlab" / "__main__.py").is_file():
        tour[1:3] = ["-c", "import sys; from hdvlab.cli import main; sys.exit(main(sys.argv[1:]))"]
    said = subprocess.run([source / "binder" / "start", *tour], **given, capture_output=True, text=True).stdout
    assert "done; the page is file://" in said
    assert (tmp_path / "tour" / "00-tour.html").stat().st_size > 100_000
