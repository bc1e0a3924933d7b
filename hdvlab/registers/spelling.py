"""How registers and fields are written: ``CTRL``, ``CTRL.EN``, ``blink.CTRL``, ``blink.bar0.CTRL.EN``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hdvlab.registers.field import Field
from hdvlab.registers.register import Register


def spellings(device: str, maps: Mapping[int, Iterable[Register]]) -> Iterator[tuple[str, int, Register, Field | None]]:
    """Every way to write a register or field of a device: the text, the BAR, the register, and the field if it is one.

    Parameters
    ----------
    device : str
        How the device is called.
    maps : mapping of int to registers
        The registers of each BAR that has some.
    """
    for bar, registers in maps.items():
        befores = ("", f"{device}.", f"bar{bar}.", f"{device}.bar{bar}.")
        for register in registers:
            yield from ((f"{before}{register.name}", bar, register, None) for before in befores)
            for field in register.fields.values():
                yield from ((f"{before}{register.name}.{field.name}", bar, register, field) for before in befores)
