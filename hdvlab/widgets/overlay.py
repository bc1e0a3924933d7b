"""What bytes in guest memory mean: tables of entries, each with fields.

Ref: Virtual I/O Device (VIRTIO) 1.2, section 2.7 (split virtqueues); NVM Express Base Specification 1.4c, sections 4.2
(submission queue entry) and 4.6 (completion queue entry).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hdvlab.errors import UsageError
from hdvlab.registers import RegisterMap

#: Offset in bytes, bytes, name.
Part = tuple[int, int, str]


@dataclass(frozen=True)
class Overlay:
    """A table of equal entries, with or without a head before them.

    Parameters
    ----------
    name : str
        How it is chosen.
    stride : int
        Bytes from one entry to the next.
    fields : tuple of (int, int, str)
        Of an entry: offset and size in bytes, and name. Numbers are little-endian.
    head : tuple of (int, int, str)
        What stands before the first entry, once.
    head_size : int
        Bytes from the start to the first entry.
    doc : str
        Where it is described.

    Raises
    ------
    UsageError
        A field reaches out of its entry, or there is none.
    """

    name: str
    stride: int
    fields: tuple[Part, ...]
    head: tuple[Part, ...] = ()
    head_size: int = 0
    doc: str = ""

    def __post_init__(self) -> None:
        if not self.fields and not self.head:
            raise UsageError(f"overlay {self.name} has no fields; give (offset, size, name) for each")
        for parts, end, where in ((self.fields, self.stride, "an entry"), (self.head, self.head_size, "the head")):
            for offset, size, name in parts:
                if offset < 0 or size < 1 or offset + size > end:
                    raise UsageError(
                        f"overlay {self.name}: {name} is at bytes {offset} to {offset + size - 1}, "
                        f"but {where} has {end} bytes"
                    )

    @classmethod
    def of(cls, given: Overlay | RegisterMap | Iterable[Part], name: str = "") -> Overlay:
        """An overlay from what a person has: a register map, or ``[(offset, size, name), ...]`` in bytes.

        Raises
        ------
        UsageError
            It is neither.
        """
        if isinstance(given, Overlay):
            return given
        if isinstance(given, RegisterMap):
            parts = tuple((register.offset, register.size, register.name) for register in given)
            return cls(name or given.name, max((register.end for register in given), default=0), parts)
        try:
            parts = tuple((int(offset), int(size), str(field)) for offset, size, field in given)
        except (TypeError, ValueError):
            raise UsageError(f"an overlay is a RegisterMap or [(offset, size, name), ...], not {given!r:.60}") from None
        return cls(name or "yours", max((offset + size for offset, size, _ in parts), default=0), parts)

    def entry(self, number: int, data: bytes) -> dict[str, int] | None:
        """The fields of an entry; None where ``data``, which begins at the overlay's start, ends before it does."""
        start = self.head_size + number * self.stride
        if start + self.stride > len(data):
            return None
        return {
            name: int.from_bytes(data[start + offset : start + offset + size], "little")
            for offset, size, name in self.fields
        }

    def to_dict(self) -> dict[str, Any]:
        """For the browser."""
        return {
            "name": self.name, "stride": self.stride, "fields": [list(part) for part in self.fields],
            "head": [list(part) for part in self.head], "headSize": self.head_size, "doc": self.doc,
        }  # fmt: skip


def _packed(*parts: tuple[int, str]) -> tuple[Part, ...]:
    """Fields one behind the other."""
    found, offset = [], 0
    for size, name in parts:
        found.append((offset, size, name))
        offset += size
    return tuple(found)


_RING_HEAD: Final = _packed((2, "flags"), (2, "idx"))

#: Those that are always there.
SHIPPED: Final[tuple[Overlay, ...]] = (
    Overlay(
        "virtq_desc",
        16,
        _packed((8, "addr"), (4, "len"), (2, "flags"), (2, "next")),
        doc="virtio descriptor table; flags: 1 next, 2 device writes, 4 indirect",
    ),
    Overlay("virtq_avail", 2, _packed((2, "ring")), _RING_HEAD, 4, "virtio available ring"),
    Overlay("virtq_used", 8, _packed((4, "id"), (4, "len")), _RING_HEAD, 4, "virtio used ring"),
    Overlay(
        "nvme_sq",
        64,
        _packed(
            (1, "opcode"), (1, "fuse"), (2, "cid"), (4, "nsid"), (4, "cdw2"), (4, "cdw3"), (8, "mptr"), (8, "prp1"),
            (8, "prp2"), (4, "cdw10"), (4, "cdw11"), (4, "cdw12"), (4, "cdw13"), (4, "cdw14"), (4, "cdw15"),
        ),
        doc="NVMe submission queue entries",
    ),
    Overlay(
        "nvme_cq",
        16,
        _packed((4, "dw0"), (4, "dw1"), (2, "sqhd"), (2, "sqid"), (2, "cid"), (2, "status")),
        doc="NVMe completion queue entries; status: bit 0 is the phase",
    ),
)  # fmt: skip


def overlays(given: Sequence[Overlay | RegisterMap | Iterable[Part]] = ()) -> dict[str, Overlay]:
    """The shipped ones and a person's own, by name; a person's own comes in the place of a shipped one."""
    found = {one.name: one for one in SHIPPED}
    for number, one in enumerate(given):
        made = Overlay.of(one, "" if isinstance(one, Overlay | RegisterMap) else f"yours{number or ''}")
        found[made.name] = made
    return found
