"""Names for numbers: register, fields, device and source line, joined to rows after recording.

Recording runs no Python; an old trace can be read again with a better description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hdvlab.trace.schema import NO_DEVICE, Kind
from hdvlab.trace.tables import DeviceInfo, Tables

if TYPE_CHECKING:
    import pandas as pd

    from hdvlab.registers import Register

#: Columns that :func:`df_decoded` adds.
DECODED_COLUMNS = {
    "name": "device name, category",
    "register": "register that holds the address (config rows: the standard's name of the offset), category",
    "fields": "the fields of the value, for example 'EN=1 RATE=3'; INTA for a legacy interrupt, object",
    "source": "line of the guest program that made the access, category",
}

_BAR_KINDS = (Kind.mmio_read, Kind.mmio_write, Kind.doorbell, Kind.doorbell_register, Kind.doorbell_unregister)


def find_register(devices: list[DeviceInfo], device: int, bar: int, address: int) -> Register | None:
    """The register at a BAR offset of a traced device, or None where nothing describes it."""
    if device >= len(devices):
        return None
    info = devices[device].bars.get(bar)
    return info.registers.at(address) if info is not None and info.registers is not None else None


def df_decoded(frame: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Rows with :data:`DECODED_COLUMNS` behind the recorded columns.

    Parameters
    ----------
    frame : DataFrame
        Rows as :meth:`hdvlab.trace.Trace.frame` gives them; not changed.
    tables : Tables
        Devices and source lines of the trace.
    """
    import pandas as pd

    device = frame["device"].to_numpy()
    bar = frame["bar"].to_numpy()
    address = frame["address"].to_numpy()
    value = frame["value"].to_numpy()
    kind = frame["kind"].cat.codes.to_numpy() if isinstance(frame["kind"].dtype, pd.CategoricalDtype) else frame["kind"]
    on_bar = np.isin(kind, [int(k) for k in _BAR_KINDS])

    names = np.full(len(frame), "", dtype=object)
    for number, info in enumerate(tables.devices):
        names[device == number] = info.name
    registers = np.full(len(frame), "", dtype=object)
    fields = np.full(len(frame), "", dtype=object)
    described = [
        (number, index, bar_info.registers)
        for number, info in enumerate(tables.devices)
        for index, bar_info in info.bars.items()
        if bar_info.registers is not None
    ]
    for number, index, registers_of_bar in described:
        chosen = np.flatnonzero(on_bar & (device == number) & (bar == index))
        at = address[chosen]
        for register in registers_of_bar:
            rows = chosen[(at >= register.offset) & (at < register.end)]
            registers[rows] = register.name
            if register.fields:
                whole = rows[address[rows] == register.offset]
                unique, inverse = np.unique(value[whole], return_inverse=True)
                texts = np.array([register.describe(int(v)) for v in unique], dtype=object)
                fields[whole] = texts[inverse] if len(unique) else []
    for place, name in _CONFIG_NAMES.items():
        registers[np.isin(kind, [Kind.config_read, Kind.config_write]) & (address & ~np.uint64(3) == place)] = name
    fields[np.isin(kind, [Kind.interrupt]) & (frame["size"].to_numpy() == 0)] = "INTA"  # messages have 4 bytes
    sources = np.full(len(frame), "", dtype=object)
    pcs = frame["pc"].to_numpy()
    for number in np.unique(pcs):
        if int(number) in tables.sources:
            sources[pcs == number] = str(tables.sources[int(number)])
    result = frame.copy(deep=False)
    result["name"] = pd.Categorical(names)
    result["register"] = pd.Categorical(registers)
    result["fields"] = fields
    result["source"] = pd.Categorical(sources)
    return result


def _config_names() -> dict[int, str]:
    """Config dword offset to the names of what stands there (PCI Local Bus 3.0, figure 6-1)."""
    names = {
        0x00: "VENDOR_ID/DEVICE_ID",
        0x04: "COMMAND/STATUS",
        0x08: "REVISION_ID/CLASS_CODE",
        0x0C: "CACHE_LINE_SIZE/HEADER_TYPE",
        0x2C: "SUBSYSTEM_ID",
        0x30: "EXPANSION_ROM_BASE",
        0x34: "CAPABILITIES_POINTER",
        0x3C: "INTERRUPT_LINE/PIN",
    }
    names.update({0x10 + 4 * index: f"BAR{index}" for index in range(6)})
    return names


_CONFIG_NAMES = _config_names()


def offset_name(address: int) -> str:
    """What stands at an offset of config space; empty beyond the header."""
    return _CONFIG_NAMES.get(address & ~3, "")


def device_names(tables: Tables) -> dict[int, str]:
    """Device number to name, with the number of no device."""
    return {**dict(enumerate(info.name for info in tables.devices)), NO_DEVICE: ""}
