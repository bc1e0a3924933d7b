"""What the lab needs of a thing that is put into a slot, whatever it is written in and wherever it runs.

:class:`hdvlab.device.Device` (Python) and :class:`hdvlab.device.CompiledDevice` (a shared object) fulfil it. Order, for
each power-on: ``attach``, then the machine's Initialize to Start, later Stop and Teardown, then ``join_work``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from hdvlab.device.fault import Fault
from hdvlab.errors import HResult, StateError
from hdvlab.hdv import DeviceHost
from hdvlab.registers import RegisterMap


class CannotPeekError(StateError):
    """The device cannot be looked at without touching it (``E_NOTIMPL``); the message says what there is instead."""

    default_hresult = HResult.E_NOTIMPL


class BarLayout(Protocol):
    """One BAR: its shape and its registers. A class derived from :class:`hdvlab.Bar` is one."""

    @property
    def bar_size(self) -> int:
        """Bytes."""

    @property
    def bits(self) -> int:
        """32 or 64."""

    @property
    def prefetchable(self) -> bool: ...

    @property
    def map(self) -> RegisterMap:
        """The registers; an empty map where nobody described them."""


class Layout(Protocol):
    """What is fixed about a device."""

    @property
    def bars(self) -> Mapping[int, BarLayout]:
        """By number; a 64-bit BAR by that of its low half."""


@runtime_checkable
class Pluggable(Protocol):
    """A device for :meth:`hdvlab.Lab.plug`."""

    @property
    def type_name(self) -> str:
        """What it is, for people; in lower case the name that it is plugged in under when none is given."""

    @property
    def vendor_id(self) -> int: ...

    @property
    def device_id(self) -> int: ...

    @property
    def class_id(self) -> uuid.UUID:
        """HDV's DeviceClassId, the slot's EmulatorId; asked for after :meth:`attach`."""

    @property
    def description(self) -> Layout:
        """Asked for before :meth:`attach` (for the trace) and afterwards; BARs known later may appear later."""

    @property
    def faults(self) -> list[Fault]:
        """What failed in its code, as far as this process knows."""

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """Make it an instance of ``host``, under this instance id; returns its ``HDV_DEVICE``.

        ``name`` is what the lab calls it; ``report`` is told of each new kind of fault, once.
        """

    @property
    def plugged_in(self) -> bool:
        """Whether it is in a machine that is on."""

    def require_free(self) -> None:
        """StateError that says how to get another one, if it is plugged in."""

    def detach(self, instance_id: uuid.UUID) -> None:
        """End the instance that :meth:`attach` made, with its Stop and Teardown; its slot is empty afterwards.

        Nothing when it has ended, or when the device is attached as another instance by now.

        Raises
        ------
        StateError
            Called from a callback, or while the machine's power changes (``ERROR_INVALID_STATE``).
        """

    def peek(self, bar: int, offset: int, size: int) -> int:
        """``size`` bytes at a BAR offset, little-endian, without any side effect and without a row.

        Raises
        ------
        CannotPeekError
            There is no such way to look.
        """

    def join_work(self, timeout: float = 1.0) -> list[threading.Thread]:
        """It has had its Teardown: wait for its threads, give back what it holds. Threads that have not ended."""
