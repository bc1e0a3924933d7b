"""What the config panel shows: a device's configuration space, taken apart, and which bytes changed. It only looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hdvlab.analysis.selection import Array
from hdvlab.analysis.touching import rows_of_config
from hdvlab.errors import AccessError, HdvError, UsageError
from hdvlab.hdv.callbacks import take_failure
from hdvlab.pci import BarDescription, ConfigHeader, lspci, spec
from hdvlab.pci.tree import ConfigItem, config_tree, has_extended
from hdvlab.trace.schema import Origin
from hdvlab.widgets.bench import BenchDevice
from hdvlab.widgets.changes import ByteChanges
from hdvlab.widgets.target import OfLab, Targets, numbers_of


class Seen(NamedTuple):
    """One look: the device, its configuration space or why there is none, and the names of all devices."""

    target: BenchDevice | None
    config: bytes
    why: str
    names: list[str]


class ConfigView(OfLab):
    """Configuration space of one device.

    Parameters
    ----------
    lab : Targets
        Whose.
    device : str, optional
        Its name; the first that is plugged in when not given.
    clock : callable
        Seconds, for how long a change is marked.
    """

    def __init__(self, lab: Targets, device: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(lab)
        self.device = device
        self.why = ""
        """Why there is nothing to show; empty where there is."""
        self.changes = ByteChanges(clock)
        self._shown: object = None
        self._seen = Seen(None, b"", "", [])
        self._tree: list[ConfigItem] = []

    @property
    def config(self) -> bytes:
        """As it was seen last: 256 bytes, 4096 with PCI Express, none where :attr:`why` says why."""
        return self.changes.data

    def names(self) -> list[str]:
        """The devices that there are."""
        return [one.name for one in self._lab]

    def target(self) -> BenchDevice | None:
        """The device, where it is plugged in."""
        return next((one for one in self._lab if self.device in (None, one.name)), None)

    def look(self) -> bool:
        """Look once; whether there is anything else to show than before."""
        return self.take(self.fetch())

    def fetch(self) -> Seen:
        """Look, on any thread; it may wait for a device host."""
        names, one = self.names(), self.target()
        if one is None:
            why = f"no device {self.device!r} is plugged in" if self.device else "no device is plugged in"
            return Seen(None, b"", why, names)
        try:
            return Seen(one, self._lab.machine.config_peek(one.slot), "", names)
        except HdvError as error:
            return Seen(one, b"", error.message, names)

    def take(self, seen: Seen) -> bool:
        """Keep what was seen; whether there is anything else to show than before."""
        self._seen = seen
        one, config, self.why, names = seen
        config = _readable(config)
        now = (one and (one.name, one.slot, one.index), self.why, names)
        is_other, self._shown = now != self._shown, now
        differs = self.changes.take(config, is_other)
        if one is not None and (is_other or differs):
            self._tree = config_tree(config, self._bars(one)) if config else []
        return differs or is_other

    @staticmethod
    def _bars(one: BenchDevice) -> list[BarDescription]:
        return [
            BarDescription(index, bar.bar_size, bar.bits, bar.prefetchable) for index, bar in sorted(one.bars.items())
        ]

    def layout(self) -> dict[str, Any]:
        """For the browser; the bytes go beside it."""
        one = self._seen.target
        return {
            "device": "" if one is None else one.name, "address": "" if one is None else one.address,
            "devices": self._seen.names, "why": self.why, "is_vm": bool(getattr(self._lab, "has_vm", False)),
            "tree": [item.to_dict() for item in self._tree] if self.config else [],
        }  # fmt: skip

    def write(self, device: str, offset: int, size: int, value: int) -> int:
        """Write through config space as a person; the row's origin is ``user``. The HRESULT, signed.

        Raises
        ------
        AccessError
            Not 1, 2 or 4 bytes within one dword, or a value that does not fit.
        HdvError
            The machine is off, the device is gone.
        """
        if size not in (1, 2, 4) or not 0 <= offset < spec.EXTENDED_CONFIG_SIZE or offset % 4 + size > 4:
            raise AccessError(
                "a config access has 1, 2 or 4 bytes within one dword", None, f"config+{offset:#x}/{size}"
            )
        if not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} bytes", None, f"config+{offset:#x}/{size}")
        if device not in self._lab:
            raise UsageError(f"{device} is not plugged in any more")
        slot = self._lab[device].slot
        hresult = int(self._lab.machine.config_write(slot, offset, size, value, Origin.user, 0))
        take_failure(hresult)  # it is in the faults; a later access is not to be explained by it
        return hresult

    def rows_of(self, first: int, last: int) -> Array:
        """Numbers of the rows that touched bytes of this device's configuration space."""
        one, trace = self.target(), self._lab.trace
        return rows_of_config(trace.view(), [] if one is None else numbers_of(trace, one.name), first, last)

    def text(self, seen: Seen) -> str:
        """The panel for a terminal."""
        one, config = seen.target, _readable(seen.config)
        if one is None or not config:
            return seen.why
        placed = [
            BarDescription(bar.index, bar.size, bar.bits, bar.prefetchable, self._lab[one.name].place(bar.index) or 0)
            for bar in self._bars(one)
        ]
        return lspci(config, one.address, verbose=2, hex_level=3, bars=placed).rstrip()


def _readable(config: bytes) -> bytes:
    """What a guest can read of it: no more than 256 bytes where PCI Express is not."""
    return config if not config or has_extended(ConfigHeader.decode(config)) else config[: spec.CONFIG_SIZE]
