"""Every name of the HDV API is there, with C's values and C's arguments."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from hdvlab import hdv
from hdvlab._core import ffi, lib

HEADER = Path(__file__).parents[2] / "hdvlab/_core/include/HyperVDeviceVirtualization.h"
#: The 28 pages of Microsoft's documentation.
PAGES = [
    "HdvInitializeDeviceHost",
    "HdvInitializeDeviceHostForProxy",
    "HdvProxyDeviceHost",
    "HdvTeardownDeviceHost",
    "HdvCreateDeviceInstance",
    "HdvReadGuestMemory",
    "HdvWriteGuestMemory",
    "HdvCreateGuestMemoryAperture",
    "HdvDeliverGuestInterrupt",
    "HdvRegisterDoorbell",
    "HdvUnregisterDoorbell",
    "HdvCreateSectionBackedMmioRange",
    "HdvDestroySectionBackedMmioRange",
    "HdvDeviceType",
    "HdvPciBarSelector",
    "HdvPciInterfaceVersion",
    "HdvPciPnpId",
    "HdvPciDeviceInterface",
    "HdvPciDeviceInitialize",
    "HdvPciDeviceSetConfiguration",
    "HdvPciDeviceGetDetails",
    "HdvPciDeviceStart",
    "HdvPciDeviceStop",
    "HdvPciDeviceTeardown",
    "HdvPciReadConfigSpace",
    "HdvPciWriteConfigSpace",
    "HdvPciReadInterceptedMemory",
    "HdvPciWriteInterceptedMemory",
]
WITHOUT_A_PAGE = [
    "HdvInitializeDeviceHostEx",
    "HdvInitializeDeviceHostForProxyEx",
    "HdvDestroyGuestMemoryAperture",
    "HdvRegisterDoorbellPage",
    "HdvUnregisterDoorbellPage",
]
FUNCTIONS = [name for name in hdv.raw.__all__ if inspect.isfunction(getattr(hdv, name))]
#: What C has and Python has not: out parameters, and lengths of what is passed in.
GONE = {
    "deviceHostHandle",
    "DeviceHostHandle",
    "deviceHandle",
    "IpcSectionHandle",
    "mappedAddress",
    "byteCount",
    "buffer",
}


def _prototypes() -> dict[str, list[str]]:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.S)
    found = re.findall(r"HRESULT WINAPI (\w+)\(([^()]*)\);", text)
    return {name: [one.split()[-1].lstrip("*") for one in arguments.split(",")] for name, arguments in found}


PROTOTYPES = _prototypes()


def test_there_are_28_pages() -> None:
    assert len(set(PAGES)) == 28


@pytest.mark.parametrize("name", PAGES + WITHOUT_A_PAGE)
def test_every_documented_name_and_its_companions_are_there_and_documented(name: str) -> None:
    assert name in hdv.__all__
    assert getattr(hdv, name).__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_its_parameters_errors_and_source(name: str) -> None:
    function = getattr(hdv, name)
    text = function.__doc__
    for part in ("Parameters\n", "Raises\n", "Notes\n"):
        assert part in text
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^    .*\b{parameter}\b", text, flags=re.M), f"{parameter} is not explained"


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_every_function_of_the_header_takes_cs_arguments_in_cs_order(name: str) -> None:
    python = list(inspect.signature(getattr(hdv, name)).parameters)
    in_c = [argument for argument in PROTOTYPES[name] if argument in python or argument not in GONE]
    assert python == in_c


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_every_function_of_the_header_is_bound(name: str) -> None:
    assert callable(getattr(lib, name))


def test_every_enumerator_of_the_header_has_its_name_and_value() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.S)
    count = 0
    for body, enum in re.findall(r"typedef enum \{(.*?)\} (\w+);", text, flags=re.S):
        value = -1
        for one in body.split(","):
            name, _, given = (part.strip() for part in one.partition("="))
            value = int(given.replace("(int)", ""), 0) if given else value + 1
            assert getattr(hdv, name) == value
            assert getattr(hdv, enum)[name] == value
            count += 1
    assert count == 6 + 6 + 2 + 2 + 2 + 3


def test_the_structures_have_cs_sizes_and_the_interface_its_slots() -> None:
    assert ffi.sizeof("HDV_PCI_PNP_ID") == 12
    assert ffi.sizeof("HDV_PCI_DEVICE_INTERFACE") == 88
    fields: list[Any] = [name for name, _ in ffi.typeof("HDV_PCI_DEVICE_INTERFACE").fields]
    assert list(inspect.signature(hdv.HDV_PCI_DEVICE_INTERFACE).parameters) == fields
    pnp: list[Any] = [name for name, _ in ffi.typeof("HDV_PCI_PNP_ID").fields]
    assert list(inspect.signature(hdv.HDV_PCI_PNP_ID).parameters) == pnp


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (hdv.HDV_DEVICE_TYPE, ["HdvDeviceTypeUndefined", "HdvDeviceTypePCI"]),
        (hdv.HDV_PCI_INTERFACE_VERSION, ["HdvPciDeviceInterfaceVersionInvalid", "HdvPciDeviceInterfaceVersion1"]),
        (hdv.HDV_PCI_BAR_SELECTOR, [f"HDV_PCI_BAR{number}" for number in range(6)]),
    ],
)
def test_an_enumeration_has_its_members_and_takes_no_other_number(enum: Any, names: list[str]) -> None:
    assert [enum(number) for number in range(len(names))] == [getattr(hdv, name) for name in names]
    for number in (-1, len(names)):
        with pytest.raises(ValueError, match="is not a valid"):
            enum(number)
