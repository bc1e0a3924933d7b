"""The conformance table: which tests, that passed, stand behind each of HDV's 33 names.

    pytest -p tests.conformance --conformance notebooks/hdv-conformance.md

Python calls are observed while the tests run, not claimed by them. A C test counts for the names in its body. A fault
test is a test marked with rows of the fault list that called the name. A name without one of them fails the run.
"""

from __future__ import annotations

import cProfile
import ctypes
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import hdvlab._core
from hdvlab._core import lib

ROOT = Path(__file__).parents[1]
INCLUDE = ROOT / "hdvlab/_core/include"

#: Page name to C name, in the order of the reference.
FUNCTIONS = [
    "HdvInitializeDeviceHost",
    "HdvInitializeDeviceHostEx",
    "HdvInitializeDeviceHostForProxy",
    "HdvInitializeDeviceHostForProxyEx",
    "HdvProxyDeviceHost",
    "HdvTeardownDeviceHost",
    "HdvCreateDeviceInstance",
    "HdvReadGuestMemory",
    "HdvWriteGuestMemory",
    "HdvCreateGuestMemoryAperture",
    "HdvDestroyGuestMemoryAperture",
    "HdvDeliverGuestInterrupt",
    "HdvRegisterDoorbell",
    "HdvUnregisterDoorbell",
    "HdvRegisterDoorbellPage",
    "HdvUnregisterDoorbellPage",
    "HdvCreateSectionBackedMmioRange",
    "HdvDestroySectionBackedMmioRange",
]
TYPES = {
    "HdvDeviceType": "HDV_DEVICE_TYPE",
    "HdvPciBarSelector": "HDV_PCI_BAR_SELECTOR",
    "HdvPciInterfaceVersion": "HDV_PCI_INTERFACE_VERSION",
    "HdvPciPnpId": "HDV_PCI_PNP_ID",
    "HdvPciDeviceInterface": "HDV_PCI_DEVICE_INTERFACE",
}
#: Page name to C name, member of the interface table, and what the test scaffold and the binding call it.
CALLBACKS = {
    "HdvPciDeviceInitialize": ("HDV_PCI_DEVICE_INITIALIZE", "Initialize", "initialize"),
    "HdvPciDeviceSetConfiguration": ("HDV_PCI_DEVICE_SET_CONFIGURATION", "SetConfiguration", "set_configuration"),
    "HdvPciDeviceGetDetails": ("HDV_PCI_DEVICE_GET_DETAILS", "GetDetails", "get_details"),
    "HdvPciDeviceStart": ("HDV_PCI_DEVICE_START", "Start", "start"),
    "HdvPciDeviceStop": ("HDV_PCI_DEVICE_STOP", "Stop", "stop"),
    "HdvPciDeviceTeardown": ("HDV_PCI_DEVICE_TEARDOWN", "Teardown", "teardown"),
    "HdvPciReadConfigSpace": ("HDV_PCI_READ_CONFIG_SPACE", "ReadConfigSpace", "config_read"),
    "HdvPciWriteConfigSpace": ("HDV_PCI_WRITE_CONFIG_SPACE", "WriteConfigSpace", "config_write"),
    "HdvPciReadInterceptedMemory": ("HDV_PCI_READ_INTERCEPTED_MEMORY", "ReadInterceptedMemory", "read"),
    "HdvPciWriteInterceptedMemory": ("HDV_PCI_WRITE_INTERCEPTED_MEMORY", "WriteInterceptedMemory", "write"),
}
C_NAMES = {name: name for name in FUNCTIONS} | TYPES | {page: names[0] for page, names in CALLBACKS.items()}
_STEPS = {step: page for page, (_, _, step) in CALLBACKS.items()}


def signature(name: str) -> str:
    """The declaration of a C name in the headers, whitespace made single."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(INCLUDE.glob("*.h")))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    patterns = (
        rf"^HRESULT WINAPI {name}\([^;]*\);",
        rf"^typedef \w+\(CALLBACK \*{name}\)\([^;]*\);",
        rf"^typedef (?:enum|struct)(?: \w+)? \{{[^}}]*\}} {name}\b[^;]*;",
    )
    found = [match[0] for pattern in patterns for match in re.finditer(pattern, text, flags=re.M)]
    return re.sub(r"\s+", " ", found[0]) if found else ""


class Conformance:
    """Watches which names the tests call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.python: dict[str, set[str]] = defaultdict(set)
        self.c: dict[str, set[str]] = defaultdict(set)
        self.faults: dict[str, set[int]] = defaultdict(set)
        self.called: set[str] = set()
        self.c_tests = _c_tests()
        self._watched: list[Any] = []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, None]:
        self.called = set()
        self._watch_callbacks()
        profile = cProfile.Profile()
        profile.enable()
        try:
            outcome = yield
        finally:
            profile.disable()
        for entry in profile.getstats():
            if isinstance(entry.code, str):  # of a function in C: "<built-in method NAME>"
                self.called.update(name for name in re.findall(r"\bHdv\w+", entry.code) if name in C_NAMES)
        if outcome.excinfo is None:
            self._passed(item)

    def _watch_callbacks(self) -> None:
        """Have the scaffold's devices tell which of their callbacks come."""
        for name, module in list(sys.modules.items()):
            device = getattr(module, "CallbackDevice", None) if name.endswith("core.scaffold") else None
            if device is not None and device not in self._watched:
                self._watched.append(device)
                original = device._call

                def call(one: Any, step: str, *rest: Any, original: Any = original) -> int:
                    if step in _STEPS:
                        self.called.add(_STEPS[step])
                    return int(original(one, step, *rest))

                device._call = call

    def _passed(self, item: pytest.Item) -> None:
        where = item.path.relative_to(ROOT / "tests").as_posix()
        c_test = getattr(item, "callspec", None) and item.callspec.params.get("c_test")  # type: ignore[attr-defined]
        if where.startswith("c/") and c_test in self.c_tests:
            place, names = self.c_tests[c_test]
            for name in names:
                self.c[name].add(place)
            return
        source = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        called = self.called | {page for page, name in TYPES.items() if re.search(rf"\b{name}\b", source)}
        for name in called:
            self.python[name].add(where)
            self.faults[name].update(mark.args[0] for mark in item.iter_markers("fault"))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus:
            return
        self.path.write_text(self.table(), "utf-8")
        missing = [f"{name}: no {what}" for name in C_NAMES for what in self._missing(name)]
        if missing:
            print("\n".join(["", "conformance:", *missing]), file=sys.stderr)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missing(self, name: str) -> list[str]:
        cells = {
            "export": name not in FUNCTIONS or _is_exported(name),
            "declaration": bool(signature(C_NAMES[name])),
            "C test": bool(self.c[name]),
            "Python test": bool(self.python[name]),
            "fault test": name in TYPES or bool(self.faults[name]),
        }
        return [what for what, there in cells.items() if not there]

    def table(self) -> str:
        """The table as Markdown."""
        rows = [
            "# HDV conformance",
            "",
            "Generated by the tests (`tests/conformance.py`); each file named has tests that passed and used the name.",
            "Fault tests are rows of the list of faults that a device host must survive.",
            "",
            "| name | exported | header | C tests | Python tests | fault tests |",
            "|---|---|---|---|---|---|",
        ]
        for name, c_name in C_NAMES.items():
            cells = (
                f"`{name}`" + ("" if c_name == name else f" (`{c_name}`)"),
                ("yes" if _is_exported(name) else "NO") if name in FUNCTIONS else "–",
                "yes" if signature(c_name) else "NO",
                ", ".join(f"`{place}`" for place in sorted(self.c[name])) or "NONE",
                ", ".join(f"`{place}`" for place in sorted(self.python[name])) or "NONE",
                ", ".join(map(str, sorted(self.faults[name]))) or ("–" if name in TYPES else "NONE"),
            )
            rows.append("| " + " | ".join(cells) + " |")
        return "\n".join(rows) + "\n"


def _is_exported(name: str) -> bool:
    assert lib  # the library is loaded by the binding
    library = next(Path(hdvlab._core.__path__[-1]).rglob("libvmdevicehost.so"), None) or _loaded()
    return hasattr(ctypes.CDLL(str(library)), name)


def _loaded() -> str:
    """Where the process has the library from."""
    maps = Path("/proc/self/maps").read_text("ascii")
    found = re.search(r"\S*/libvmdevicehost\.so", maps)
    assert found
    return found[0]


def _c_tests() -> dict[str, tuple[str, set[str]]]:
    """C test to its file and the names in its body."""
    tests: dict[str, tuple[str, set[str]]] = {}
    for path in sorted((ROOT / "tests/c").glob("test_*.c")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.S)
        for match in re.finditer(r"^TEST\((\w+)\)\s*\{(.*?)^\}", text, flags=re.M | re.S):
            names = {page for page, name in C_NAMES.items() if re.search(rf"\b{name}\b", match[2])}
            names |= {page for page, (_, member, _) in CALLBACKS.items() if re.search(rf"\b{member}\b", match[2])}
            tests[match[1]] = (path.name, names)
    return tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", type=Path, help="write the conformance table of HDV's names to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--conformance")
    if path is not None:
        config.pluginmanager.register(Conformance(path), "hdv-conformance")
