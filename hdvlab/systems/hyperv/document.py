"""The JSON documents that HCS takes.

Ref: Microsoft Learn, "HCS schema reference", schema 2.1: ComputeSystem, VirtualMachine, FlexibleIoDevice.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FlexibleIov:
    """A slot that a device of an external device host sits in.

    ``class_id`` and ``instance_id`` are those of ``HdvCreateDeviceInstance``; ``configuration`` is what the device's
    SetConfiguration gets.
    """

    class_id: uuid.UUID
    instance_id: uuid.UUID
    configuration: Sequence[str] = ()

    def settings(self) -> dict[str, Any]:
        """``FlexibleIoDevice``."""
        return {
            "EmulatorId": str(self.class_id),
            "HostingModel": "External",
            "Configuration": list(self.configuration),
        }

    @property
    def resource_path(self) -> str:
        """Where the slot is in a running system's document."""
        return f"VirtualMachine/Devices/FlexibleIov/{self.instance_id}"

    def request(self, request_type: str) -> dict[str, Any]:
        """``ModifySettingRequest`` that adds (``Add``) or takes out (``Remove``) the slot of a running system."""
        request = {"ResourcePath": self.resource_path, "RequestType": request_type}
        return request | ({"Settings": self.settings()} if request_type == "Add" else {})


def compute_system(
    slots: Sequence[FlexibleIov], memory_mb: int, document: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A virtual machine with the slots.

    Parameters
    ----------
    slots : sequence of FlexibleIov
        Its devices.
    memory_mb : int
        Guest RAM, MiB.
    document : mapping, optional
        What else the machine has (chipset, disks, processors); its values win over those made here.
    """
    machine = {
        "ComputeTopology": {"Memory": {"SizeInMB": memory_mb}, "Processor": {"Count": 1}},
        "Devices": {"FlexibleIov": {str(slot.instance_id): slot.settings() for slot in slots}},
    }
    base = {
        "Owner": "hdvlab",
        "SchemaVersion": {"Major": 2, "Minor": 1},
        "ShouldTerminateOnLastHandleClosed": True,
        "VirtualMachine": machine,
    }
    return _merged(base, document or {})


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``more`` laid over ``base``, object by object; neither is changed."""
    merged = dict(base)
    for name, value in more.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(below, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged
