"""The conformance table: which tests, that passed, stand behind each of HDV's 33 names.

    pytest -p tests.conformance --conformance notebooks/hdv-conformance.md

Python calls are observed while the tests run, not claimed by them. A C test counts for the names in its body. A fault
test is a test that called the name and is marked with a row of the fault list that concerns it. A name without one of
them fails the run. The table names files and rows, and counts nothing, so that it changes only when what stands behind
a name does.
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

PROXIES = ["HdvInitializeDeviceHostForProxy", "HdvInitializeDeviceHostForProxyEx", "HdvProxyDeviceHost"]
HOSTS = [
    "HdvInitializeDeviceHost",
    "HdvInitializeDeviceHostEx",
    *PROXIES,
    "HdvTeardownDeviceHost",
    "HdvCreateDeviceInstance",
]
MEMORY = [
    "HdvReadGuestMemory",
    "HdvWriteGuestMemory",
    "HdvCreateGuestMemoryAperture",
    "HdvDestroyGuestMemoryAperture",
]
INTERRUPTS = ["HdvDeliverGuestInterrupt"]
DOORBELLS = [
    "HdvRegisterDoorbell",
    "HdvUnregisterDoorbell",
    "HdvRegisterDoorbellPage",
    "HdvUnregisterDoorbellPage",
]
SECTIONS = ["HdvCreateSectionBackedMmioRange", "HdvDestroySectionBackedMmioRange"]
#: In the order of the reference.
FUNCTIONS = [*HOSTS, *MEMORY, *INTERRUPTS, *DOORBELLS, *SECTIONS]
#: Page name to C name.
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
#: Heading of the table to names, in its order.
GROUPS = {
    "Device hosts": HOSTS,
    "Guest memory": MEMORY,
    "Interrupts": INTERRUPTS,
    "Doorbells": DOORBELLS,
    "Section-backed MMIO": SECTIONS,
    "Types": list(TYPES),
    "Callbacks": list(CALLBACKS),
}
#: Folders of the tests that are watched.
WATCHED = ("c", "core", "device", "hdv")
#: What tests/c/machine.h calls the callbacks, in the order of CALLBACKS.
LETTERS = "ICGSsTRWrw"
_LETTER = f"[{LETTERS}]"
_STEPS = {step: page for page, (_, _, step) in CALLBACKS.items()}
_ACCESSES = list(CALLBACKS)[6:]
_POWER = list(CALLBACKS)[:6]
#: Rows of the fault list, first and last, and the names that they concern.
_CONCERNS = [
    (12, 20, _ACCESSES),  # accesses
    (21, 30, MEMORY),  # addresses
    (31, 35, INTERRUPTS),
    (35, 36, DOORBELLS),
    (37, 37, SECTIONS),
    (38, 38, [*PROXIES, "HdvTeardownDeviceHost"]),  # a connection that ends
    (39, 41, FUNCTIONS),  # handles
    (39, 39, ["HdvPciDeviceStop", "HdvPciDeviceTeardown"]),
    (42, 43, [*HOSTS, *_POWER]),  # order, and again and again
    (44, 44, _ACCESSES),  # two processors at once
    (45, 50, [*PROXIES, "HdvTeardownDeviceHost"]),  # processes that end
    (51, 57, list(CALLBACKS)),  # what a device's code does wrong
]


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


#: More files of a folder than this are not all named.
MANY = 6
_GROUP = {name: heading for heading, names in GROUPS.items() for name in names}
#: Files that are about the names of a group.
_ABOUT = {
    "Device hosts": {"compute system", "fork", "forward", "handle", "leak", "lifecycle", "proxy", "proxy socket"},
    "Guest memory": {"aperture life", "fork", "forward", "guest memory", "handle", "leak", "memory map", "proxy"},
    "Interrupts": {"forward", "guest memory", "handle", "interrupt", "lifecycle", "proxy"},
    "Doorbells": {"compute pause", "doorbell", "forward", "handle", "leak", "proxy", "section"},
    "Section-backed MMIO": {"compute pause", "doorbell", "forward", "handle", "leak", "proxy", "section"},
    "Types": {"layout", "lifecycle", "names"},
    "Callbacks": {"bus", "compute system", "concurrent", "config space", "forward", "lifecycle", "mmio", "proxy"},
}


def concerns(row: int, name: str) -> bool:
    """Whether a row of the fault list is about a name."""
    return any(first <= row <= last and name in names for first, last, names in _CONCERNS)


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
        if self._folder(item) not in WATCHED:
            yield
            return
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

    @staticmethod
    def _folder(item: pytest.Item) -> str:
        return item.path.relative_to(ROOT / "tests").parts[0]

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
        if self._folder(item) == "c":
            callspec = getattr(item, "callspec", None)
            place, names = self.c_tests.get(callspec.params.get("name") if callspec else None, ("", set()))
            for name in names:
                self.c[name].add(place)
            return
        where = item.path.relative_to(ROOT / "tests").with_suffix("").as_posix()
        source = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        called = self.called | {page for page, name in TYPES.items() if re.search(rf"\b{name}\b", source)}
        for name in called:
            self.python[name].add(where)
            rows = {mark.args[0] for mark in item.iter_markers("fault")}
            self.faults[name].update(row for row in rows if concerns(row, name))

    def _parts(self) -> tuple[dict[str, set[Any]], ...]:
        return self.python, self.c, self.faults

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What was seen in a process that ran a part of the tests."""
        for mine, told in zip(self._parts(), node.workeroutput.get("conformance", ()), strict=False):
            for name, seen in told.items():
                mine[name].update(seen)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):  # of pytest-xdist; the process that started it makes the table
            session.config.workeroutput["conformance"] = [
                {name: list(seen) for name, seen in part.items()} for part in self._parts()
            ]
            return
        self.path.write_text(self.table(), "utf-8")
        if session.exitstatus:
            return
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
        text = [
            "# HDV conformance",
            "",
            "Generated by the tests (`tests/conformance.py`). What is named here has passed, and has used the name:",
            "",
            "* **C tests** are files of `tests/c`, run on Linux and, built by mingw-w64, under Wine.",
            "* **Python tests** are files of `tests/core`, `tests/hdv` and `tests/device`; what they call was watched.",
            "* **Fault tests** are rows of the list of faults that a device host must survive, of those that concern",
            "  the name: 12 to 20 accesses, 21 to 30 addresses, 31 to 35 interrupts, 35 and 36 doorbells, 37 sections,",
            "  39 to 41 handles, 42 to 44 order and number, 38 and 45 to 50 connections and processes, 51 to 57 what a",
            "  device's code does wrong.",
            "",
            "What each name means is in [the reference](hdv-reference.md).",
        ]
        for heading, names in GROUPS.items():
            is_exported = names[0] in FUNCTIONS
            has_faults = names[0] not in TYPES
            columns = [
                "name",
                *(["exported"] if is_exported else ["C name"]),
                "header",
                "C tests",
                "Python tests",
                *(["fault tests"] if has_faults else []),
            ]
            text += ["", f"## {heading}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
            for name in names:
                cells = [
                    f"[`{name}`](hdv-reference.md#{name.lower()})",
                    ("yes" if _is_exported(name) else "NO") if is_exported else f"`{C_NAMES[name]}`",
                    "yes" if signature(C_NAMES[name]) else "NO",
                    ", ".join(sorted(self.c[name])) or "NONE",
                    _by_folder(name, self.python[name]) or "NONE",
                    *([_ranges(self.faults[name]) or "NONE"] if has_faults else []),
                ]
                text.append(f"| {' | '.join(cells)} |")
        return "\n".join(text) + "\n"


def _by_folder(name: str, places: set[str]) -> str:
    """``**core** doorbell, handle; **hdv** raw device``: of many files in a folder those that are about the name."""
    folders: dict[str, list[str]] = defaultdict(list)
    for place in sorted(places):
        folder, _, file = place.partition("/")
        folders[folder].append(file.removeprefix("test_").replace("_", " "))
    cells = []
    for folder, files in folders.items():
        about = [file for file in files if file in _ABOUT[_GROUP[name]]] if len(files) > MANY else files
        cells.append(f"**{folder}** {', '.join(about)}" + (" and more" if about != files else ""))
    return "; ".join(cells)


def _ranges(rows: set[int]) -> str:
    """``12 to 17, 42``."""
    runs: list[list[int]] = []
    for row in sorted(rows):
        if runs and runs[-1][-1] == row - 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(texts)


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


def _noted(body: str) -> set[str]:
    """Letters of the callbacks that a C test looks for among those that came."""
    letters = re.findall(rf"times\([^()]*, '({_LETTER})'\)", body)
    return set("".join([*letters, *re.findall(rf"(?:calls|lifecycle\([^()]*\)), \"({_LETTER}+)\"", body)]))


def _c_tests() -> dict[str, tuple[str, set[str]]]:
    """C test to its file and the names in its body."""
    tests: dict[str, tuple[str, set[str]]] = {}
    for path in sorted((ROOT / "tests/c").glob("test_*.c")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.S)
        for match in re.finditer(r"^TEST\((\w+)\)\s*\{(.*?)^\}", text, flags=re.M | re.S):
            names = {page for page, name in C_NAMES.items() if re.search(rf"\b{name}\b", match[2])}
            names |= {page for page, letter in zip(CALLBACKS, LETTERS, strict=True) if letter in _noted(match[2])}
            tests[match[1]] = (path.stem.removeprefix("test_").replace("_", " "), names)
    return tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", type=Path, help="write the conformance table of HDV's names to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--conformance")
    if path is not None:
        config.pluginmanager.register(Conformance(path), "hdv-conformance")
