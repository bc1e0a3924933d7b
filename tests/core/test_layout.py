"""Sizes, offsets and values of the ABI, as a Windows compiler has them.

Ref: HyperVDeviceVirtualization.h (Windows SDK), compiled for x64.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hdvlab._core import ffi
from hdvlab.hdv.constants import BarSelector, DeviceType, DoorbellFlags, InterfaceVersion, MmioMappingFlags

from ..c.building import needed, plain_environment

INCLUDE = Path(__file__).parents[2] / "hdvlab/_core/include"

PNP_ID = {
    "VendorID": 0,
    "DeviceID": 2,
    "RevisionID": 4,
    "ProgIf": 5,
    "SubClass": 6,
    "BaseClass": 7,
    "SubVendorID": 8,
    "SubSystemID": 10,
}
INTERFACE = {
    "Version": 0,
    "Initialize": 8,
    "Teardown": 16,
    "SetConfiguration": 24,
    "GetDetails": 32,
    "Start": 40,
    "Stop": 48,
    "ReadConfigSpace": 56,
    "WriteConfigSpace": 64,
    "ReadInterceptedMemory": 72,
    "WriteInterceptedMemory": 80,
}
VALUES = {
    "HdvDeviceTypeUndefined": 0,
    "HdvDeviceTypePCI": 1,
    "HdvDeviceHostFlagNone": 0,
    "HdvDeviceHostFlagInitializeComSecurity": 1,
    "HDV_PCI_BAR0": 0,
    "HDV_PCI_BAR1": 1,
    "HDV_PCI_BAR2": 2,
    "HDV_PCI_BAR3": 3,
    "HDV_PCI_BAR4": 4,
    "HDV_PCI_BAR5": 5,
    "HDV_PCI_BAR_COUNT": 6,
    "HdvPciDeviceInterfaceVersionInvalid": 0,
    "HdvPciDeviceInterfaceVersion1": 1,
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY": 0,
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE": 1,
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_WORD": 2,
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD": 3,
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD": 4,
    "HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE": -0x80000000,
    "HdvMmioMappingFlagNone": 0,
    "HdvMmioMappingFlagWriteable": 1,
    "HdvMmioMappingFlagExecutable": 2,
    "E_HANDLE": 0x80070006 - (1 << 32),
    "HRESULT_FROM_WIN32(ERROR_INVALID_STATE)": 0x8007139F - (1 << 32),
    "HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA)": 0x80070718 - (1 << 32),
    "SUCCEEDED(S_OK)": 1,
    "FAILED(E_PENDING)": 1,
    "sizeof(HRESULT)": 4,
    "sizeof(HDV_DEVICE_TYPE)": 4,
    "sizeof(HDV_DOORBELL_FLAGS)": 4,
    "sizeof(HDV_MMIO_MAPPING_FLAGS)": 4,
    "sizeof(HDV_PCI_BAR_SELECTOR)": 4,
    "sizeof(WCHAR)": 2,
    "sizeof(GUID)": 16,
    "sizeof(BOOL)": 4,
    "sizeof(HANDLE)": 8,
}


@pytest.mark.parametrize(
    ("structure", "size", "offsets"),
    [("HDV_PCI_PNP_ID", 12, PNP_ID), ("HDV_PCI_DEVICE_INTERFACE", 88, INTERFACE), ("GUID", 16, {"Data4": 8})],
)
def test_structures_have_the_layout_of_64_bit_windows(structure: str, size: int, offsets: dict[str, int]) -> None:
    assert ffi.sizeof(structure) == size
    assert {name: ffi.offsetof(structure, name) for name in offsets} == offsets


@pytest.mark.parametrize("language", ["c", "c++"])
def test_an_hdv_source_compiles_with_our_headers_and_finds_windows_values(tmp_path: Path, language: str) -> None:
    source = tmp_path / "client.c"
    asserts = [f'_Static_assert(({name}) == ({value}), "{name}");' for name, value in VALUES.items()]
    for name, offset in INTERFACE.items():
        asserts.append(f'_Static_assert(offsetof(HDV_PCI_DEVICE_INTERFACE, {name}) == {offset}, "{name}");')
    text = "#include <stddef.h>\n#include <HyperVDeviceVirtualization.h>\n#include <hdvlab.h>\n" + "\n".join(asserts)
    source.write_text(text.replace("_Static_assert", "static_assert") if language == "c++" else text, "utf-8")
    compiler = needed("cc", "gcc libc6-dev") if language == "c" else needed("c++", "g++")
    standard = {"c": "-std=c11", "c++": "-std=c++17"}[language]
    command = [compiler, "-x", language, standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{INCLUDE}"]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, env=plain_environment(), check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("python", "prefix"),
    [
        (DeviceType, "HdvDeviceType"),
        (InterfaceVersion, "HdvPciDeviceInterfaceVersion"),
        (BarSelector, "HDV_PCI_"),
        (DoorbellFlags, "HDV_DOORBELL_FLAG_"),
        (MmioMappingFlags, "HdvMmioMappingFlag"),
    ],
)
def test_the_enumerations_of_python_have_the_values_of_the_header(python: type, prefix: str) -> None:
    def plain(name: str) -> str:
        return re.sub(r"_|VERSION", "", name.removeprefix(prefix).upper())

    header = {plain(name): value & 0xFFFFFFFF for name, value in VALUES.items() if name.startswith(prefix)}
    header.pop("BARCOUNT", None)
    assert {plain(name): int(value) for name, value in python.__members__.items()} == header
