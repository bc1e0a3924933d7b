"""Features: what Set Features changes and Get Features tells.

Ref: NVM Express Base Specification 1.4c, sections 5.9 and 5.21.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from hdvlab.devices.nvme.command import Command, CommandError
from hdvlab.devices.nvme.health import TEMPERATURE
from hdvlab.devices.nvme.registers import IO_QUEUES, VECTORS
from hdvlab.devices.nvme.spec import FeatureId, Status

if TYPE_CHECKING:
    from hdvlab.devices.nvme.controller import Controller

_QUEUES = (IO_QUEUES - 1) | (IO_QUEUES - 1) << 16
#: Values after reset.
_DEFAULTS: dict[int, int] = {
    FeatureId.ARBITRATION: 0,
    FeatureId.POWER_MANAGEMENT: 0,
    FeatureId.TEMPERATURE_THRESHOLD: TEMPERATURE + 50,
    FeatureId.ERROR_RECOVERY: 0,
    FeatureId.VOLATILE_WRITE_CACHE: 1,
    FeatureId.NUMBER_OF_QUEUES: _QUEUES,
    FeatureId.INTERRUPT_COALESCING: 0,
    FeatureId.INTERRUPT_VECTOR_CONFIGURATION: 0,
    FeatureId.WRITE_ATOMICITY: 0,
    FeatureId.ASYNC_EVENT_CONFIGURATION: 0,
    FeatureId.TIMESTAMP: 0,
}
#: SELECT of Get Features.
_CURRENT, _DEFAULT, _SAVED, _CAPABILITIES = range(4)
_CHANGEABLE = 1 << 2


class Features:
    """Values of one enabled time of the controller."""

    def __init__(self) -> None:
        self.values = dict(_DEFAULTS)
        self._vectors = dict.fromkeys(range(VECTORS), 0)
        self._timestamp, self._timestamp_set = time.monotonic(), 0
        self._timestamp_origin = 0

    def set(self, controller: Controller, command: Command) -> int:
        """Set Features."""
        feature, value = command.cdw10 & 0xFF, command.cdw11
        if command.cdw10 >> 31:
            raise CommandError(Status.FEATURE_NOT_SAVEABLE)
        if feature not in self.values:
            raise CommandError(Status.INVALID_FIELD, location=40)
        if feature == FeatureId.NUMBER_OF_QUEUES:
            if len(controller.sqs) > 1 or len(controller.cqs) > 1:
                raise CommandError(Status.COMMAND_SEQUENCE_ERROR)
            if value & 0xFFFF == 0xFFFF or value >> 16 == 0xFFFF:
                raise CommandError(Status.INVALID_FIELD, location=44)
            return _QUEUES  # all there are, whatever was asked for
        if feature == FeatureId.INTERRUPT_VECTOR_CONFIGURATION:
            if value & 0xFFFF not in self._vectors:
                raise CommandError(Status.INVALID_FIELD, location=44)
            self._vectors[value & 0xFFFF] = value
        elif feature == FeatureId.POWER_MANAGEMENT and value & 0x1F:
            raise CommandError(Status.INVALID_FIELD, location=44)
        elif feature == FeatureId.TIMESTAMP:
            (stamp,) = struct.unpack("<Q", controller.data_in(command, 8))
            self._timestamp, self._timestamp_set = time.monotonic(), stamp & (1 << 48) - 1
            self._timestamp_origin = 1
        else:
            self.values[feature] = value
        return 0

    def get(self, controller: Controller, command: Command) -> int:
        """Get Features."""
        feature, select = command.cdw10 & 0xFF, command.cdw10 >> 8 & 7
        if feature not in self.values or select > _CAPABILITIES:
            raise CommandError(Status.INVALID_FIELD, location=40)
        if select == _CAPABILITIES:
            return _CHANGEABLE
        if feature == FeatureId.TIMESTAMP:
            passed = int((time.monotonic() - self._timestamp) * 1000)
            stamp = (self._timestamp_set + passed) & (1 << 48) - 1
            controller.data_out(command, struct.pack("<Q", stamp | self._timestamp_origin << 49))
            return 0
        if feature == FeatureId.INTERRUPT_VECTOR_CONFIGURATION:
            vector = command.cdw11 & 0xFFFF
            if vector not in self._vectors:
                raise CommandError(Status.INVALID_FIELD, location=44)
            return self._vectors[vector] if select == _CURRENT else vector
        return self.values[feature] if select == _CURRENT else _DEFAULTS[feature]
