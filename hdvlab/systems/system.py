"""What the lab needs of a machine, whichever it is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from hdvlab.guest import Bus


class System(Bus, Protocol):
    """A machine that devices are plugged into; also the bus that its guest uses."""

    @property
    def handle(self) -> Any:
        """``HCS_SYSTEM``, for device hosts."""

    def add_slot(self, slot: int, class_id: uuid.UUID, instance_id: uuid.UUID, configuration: Sequence[str]) -> None:
        """Say which device sits in a slot; on a running machine this is a hot plug."""

    def remove_slot(self, slot: int) -> None:
        """Empty a slot; on a running machine the device is stopped and torn down first."""

    def start(self) -> None:
        """Power on: Initialize, SetConfiguration, GetDetails for every slot, then Start."""

    def stop(self) -> None:
        """Power off: Stop for every device, then Teardown."""

    def close(self) -> None:
        """Give everything back."""
