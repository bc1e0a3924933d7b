"""``hdvlab tour``: the tour notebook, in JupyterLab or executed without a browser."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hdvlab.errors import BackendUnavailableError, UsageError

_TOUR = "00-tour.ipynb"


def find_notebooks() -> Path:
    """The folder of the notebooks: beside the package in a checkout, else where the wheel put it.

    Raises
    ------
    UsageError
        Neither is there.
    """
    checkout = Path(__file__).resolve().parent.parent / "notebooks"
    installed = Path(sys.prefix) / "share" / "hdvlab" / "notebooks"
    for folder in (checkout, installed):
        if (folder / _TOUR).is_file():
            return folder
    raise UsageError(f"the notebooks are neither in {checkout} nor in {installed}; install hdvlab again")


def copy_notebooks(target: Path) -> Path:
    """Copy the notebooks to ``target``, so that running them changes no original; what is there already stays."""
    source = find_notebooks()
    for path in sorted(source.rglob("*")):
        if path.is_file() and ".ipynb_checkpoints" not in path.parts:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                shutil.copyfile(path, copy)
    return target / _TOUR


def execute(notebook: Path) -> Path:
    """Run a notebook in a kernel of this Python; returns the page (HTML) beside it."""
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise BackendUnavailableError(
            f"{error.name} is missing; install it: pip install 'hdvlab[notebooks]'", None, "hdvlab tour --headless"
        ) from None
    document = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        document, timeout=300, kernel_name="python3", resources={"metadata": {"path": notebook.parent}}
    )
    client.execute()
    nbformat.write(document, notebook)
    page, _ = HTMLExporter().from_notebook_node(document)
    result = notebook.with_suffix(".html")
    result.write_text(page, encoding="utf-8")
    return result


def open_lab(notebook: Path) -> int:
    """Start JupyterLab on a notebook and wait for its end."""
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        raise BackendUnavailableError(
            "JupyterLab is missing; install it: pip install 'hdvlab[notebooks]'", None, "hdvlab tour"
        ) from None
    return subprocess.run(command, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy the notebooks and open or execute the tour."""
    parser = argparse.ArgumentParser(prog="hdvlab tour", description=__doc__)
    parser.add_argument(
        "--headless", action="store_true", help="execute it without a browser and say where the page is"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("hdvlab-tour"), help="where to put the notebooks (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    notebook = copy_notebooks(options.folder.resolve())
    if options.headless:
        print(f"executing {notebook} ...", flush=True)
        print(f"done; the page is {execute(notebook).as_uri()}")
        return 0
    print(f"opening {notebook}", flush=True)
    return open_lab(notebook)
