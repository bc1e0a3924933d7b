"""How software may touch the bits of a register.

Ref: SystemRDL 2.0, section 9.6 (software access properties ``sw``, ``onread``, ``onwrite``).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hdvlab.errors import RegisterError


class Access(enum.StrEnum):
    """What a guest read returns and what a guest write does to the stored bits."""

    RW = "rw"
    """Reads return the bits, writes store them."""
    RO = "ro"
    """Reads return the bits, writes are dropped."""
    WO = "wo"
    """Writes store the bits, reads return ones."""
    W1C = "w1c"
    """Writing 1 clears the bit, writing 0 leaves it."""
    W1S = "w1s"
    """Writing 1 sets the bit, writing 0 leaves it."""
    RC = "rc"
    """Reading returns the bits and clears them; writes are dropped."""

    @classmethod
    def parse(cls, value: str | Access, owner: str) -> Access:
        """Read an access mode as an author writes it; ``owner`` names the register or field for the message."""
        try:
            return cls(value)
        except ValueError:
            modes = ", ".join(mode.value for mode in cls)
            raise RegisterError(f"{owner}: access {value!r} is not one of {modes}") from None


@dataclass(frozen=True)
class BitMasks:
    """What C needs to serve a register: one mask per behaviour, each as wide as the register."""

    read: int = 0
    """Bits a read returns as stored; the others (write-only bits) read as ones."""
    write: int = 0
    """Bits a write stores."""
    write_one_to_clear: int = 0
    write_one_to_set: int = 0
    read_to_clear: int = 0

    def with_bits(self, mask: int, access: Access) -> BitMasks:
        """Add ``mask``'s bits with the given access."""
        return BitMasks(
            read=self.read | (0 if access is Access.WO else mask),
            write=self.write | (mask if access in (Access.RW, Access.WO) else 0),
            write_one_to_clear=self.write_one_to_clear | (mask if access is Access.W1C else 0),
            write_one_to_set=self.write_one_to_set | (mask if access is Access.W1S else 0),
            read_to_clear=self.read_to_clear | (mask if access is Access.RC else 0),
        )
