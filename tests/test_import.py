from __future__ import annotations

import subprocess
import sys

import hdvlab

PUBLIC = [
    "Bar",
    "Device",
    "Field",
    "Lab",
    "MsiCapability",
    "MsixCapability",
    "Register",
    "Trace",
    "__version__",
    "current_lab",
    "load_ipython_extension",
    "plots",
    "read_trace",
    "unload_ipython_extension",
]

HEAVY = ("IPython", "anywidget", "cffi", "ipywidgets", "matplotlib", "numpy", "pandas", "pyarrow")


def loaded_by(statement: str) -> set[str]:
    """The heavy modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_public_names_are_these() -> None:
    assert sorted(hdvlab.__all__) == sorted(PUBLIC)
    assert all(getattr(hdvlab, name) is not None for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(hdvlab))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(hdvlab, "Devcie")


def test_importing_hdvlab_imports_nothing_heavy() -> None:
    assert loaded_by("import hdvlab") == set()
    assert loaded_by("import hdvlab.cli") == set()


def test_a_device_is_written_without_pandas_matplotlib_and_ipython() -> None:
    assert loaded_by("from hdvlab import Bar, Device, Register") <= {"numpy", "cffi"}


def test_a_lab_is_made_without_pandas_matplotlib_and_ipython() -> None:
    assert loaded_by("import hdvlab; hdvlab.Lab().close()") <= {"numpy", "cffi"}
