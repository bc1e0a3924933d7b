"""A machine and its devices that are in a host, with what a lab's commands need of them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hdvlab.device import Fault
from hdvlab.device.rehearsed import Rehearsal
from hdvlab.errors import AccessError, StateError
from hdvlab.hdv import DeviceHost
from hdvlab.hdv.callbacks import note_failure
from hdvlab.host.connection import Connection
from hdvlab.host.wire import named_exception, packed, unpacked
from hdvlab.registers import RegisterMap
from hdvlab.trace.schema import Origin


class HostedMachine:
    """The bus of a host's machine. Fulfils :class:`hdvlab.guest.Bus`: every access is a message to the host."""

    def __init__(self, connection: Connection, ram_size: int) -> None:
        self._call = connection.call
        self._ram_size = ram_size

    @property
    def ram_size(self) -> int:
        """Bytes of RAM."""
        return self._ram_size

    def _access(self, request: str, **given: Any) -> tuple[int, int]:
        value, hresult, failure = self._call(request, **given)
        if failure:
            note_failure(hresult, failure)
        return value, hresult

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.read`."""
        return self._access("read", address=address, size=size, origin=int(origin), pc=pc)

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.write`."""
        return self._access("write", address=address, size=size, value=value, origin=int(origin), pc=pc)[1]

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """See :meth:`Bus.config_read`."""
        return self._access("config_read", slot=slot, offset=offset, size=size, origin=int(origin), pc=pc)

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """See :meth:`Bus.config_write`."""
        given = {"slot": slot, "offset": offset, "size": size, "value": value, "origin": int(origin), "pc": pc}
        return self._access("config_write", **given)[1]

    def config_peek(self, slot: int) -> bytes:
        """A slot's config space, 4096 bytes; looking leaves no row."""
        return unpacked(self._call("config_peek", slot=slot))

    def device_access(
        self, device: Any, write: bool, bar: int, offset: int, size: int, value: int, origin: Origin, pc: int = 0
    ) -> tuple[int, int]:
        """Access one device, named ``device``, past the bus."""
        given = {"device": device, "write": write, "bar": bar, "offset": offset, "size": size, "value": value}
        return self._access("device_access", **given, origin=int(origin), pc=pc)

    def ram_read(self, address: int, size: int) -> bytes:
        """See :meth:`Bus.ram_read`."""
        return unpacked(self._call("ram_read", address=address, size=size))

    def ram_write(self, address: int, data: bytes) -> None:
        """See :meth:`Bus.ram_write`."""
        self._call("ram_write", address=address, data=packed(data))

    def wait_interrupt(self, vector: int, timeout: float) -> int:
        """See :meth:`Bus.wait_interrupt`."""
        return int(self._call("wait_interrupt", vector=vector, timeout=timeout))

    def cancel(self) -> None:
        """See :meth:`Bus.cancel`."""
        self._call("cancel_waits")


@dataclass(frozen=True)
class HostedBar:
    """A BAR as the host describes it. ``address`` is None where it is not placed."""

    bar_size: int
    bits: int
    prefetchable: bool
    map: RegisterMap
    address: int | None = None


@dataclass(frozen=True)
class HostedLayout:
    """BARs by number."""

    bars: Mapping[int, HostedBar]


class HostedDevice:
    """A device whose code runs in the host. Fulfils :class:`hdvlab.device.Pluggable` as far as looking goes.

    Methods of its class's own can be called, with what JSON can carry: ``lab["nvme"].device.fail("read")``.
    """

    def __init__(self, connection: Connection, told: Mapping[str, Any]) -> None:
        self._connection = connection
        self._name = str(told["name"])
        self.type_name: str = told["type_name"]
        self.vendor_id: int = told["vendor_id"]
        self.device_id: int = told["device_id"]
        self.class_id = uuid.UUID(told["class_id"])
        self._on = bool(told["on"])
        self._methods = tuple(told.get("methods", ()))
        self.description = HostedLayout(
            {
                bar["index"]: HostedBar(
                    bar["size"], bar["bits"], bar["prefetchable"], RegisterMap.from_dict(bar["map"]), bar["address"]
                )
                for bar in told["bars"]
            }
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self.__dict__.get("_methods", ()):
            raise AttributeError(f"{type(self).__name__} has no {name}; what is behind it is in its host", name=name)

        def called(*arguments: Any, **named: Any) -> Any:
            return self._connection.call(
                "call_device", device=self._name, method=name, arguments=list(arguments), named=named
            )

        return called

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._methods]

    @property
    def faults(self) -> list[Fault]:
        """What failed in its code, as the host knows it."""
        return [fault for fault in list_faults(self._connection) if fault.device == self._name]

    @property
    def plugged_in(self) -> bool:
        """Whether it is in a machine that is on."""
        return self._on

    def peek(self, bar: int, offset: int, size: int) -> int:
        """Stored bytes at a BAR offset, little-endian; no handler, no row."""
        if min(bar, offset, size) < 0:
            raise AccessError("outside the BAR", None, f"peek BAR{bar}+{offset:#x}/{size}")
        return int(self._connection.call("peek", device=self._name, bar=bar, offset=offset, size=size))

    def rehearse_access(self, bar: int, offset: int, size: int, value: int | None = None) -> Rehearsal:
        """What an access would do, tried in the host; see :meth:`hdvlab.lab.Plugged.rehearse_access`."""
        given = {"device": self._name, "bar": bar, "offset": offset, "size": size, "value": value}
        return Rehearsal.from_dict(self._connection.call("rehearse", **given))

    def require_free(self) -> None:
        """It is the host's: StateError."""
        raise StateError(f"{self._name} is in host {self._connection.record.name}; plug its class")

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """It is the host's: StateError."""
        self.require_free()

    def detach(self, instance_id: uuid.UUID) -> None:
        """It is the host's: nothing."""

    def join_work(self, timeout: float = 1.0) -> list[threading.Thread]:
        """Its threads are the host's."""
        return []


def list_faults(connection: Connection) -> list[Fault]:
    """What failed in the code of a host's devices."""
    return [
        Fault(
            told["device"],
            told["operation"],
            told["hresult"],
            named_exception(told["type"], told["message"]),
            told["text"],
            told["cause"],
            told["count"],
        )
        for told in connection.call("faults")
    ]


class HostedMemory:
    """Hands out the host's guest RAM to a guest program of this process; as :class:`hdvlab.guest.RamAllocator`."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def take(self, size: int, owner: object) -> int:
        """Guest-physical address of ``size`` free bytes."""
        if size <= 0:
            raise AccessError(f"a buffer has at least 1 byte, not {size}")
        return int(self._call("take_memory", size=size, owner=id(owner)))

    def give_back(self, owner: object) -> None:
        """Free all that ``owner`` has, of vectors, too."""
        self._call("give_back", owner=id(owner))


class HostedVectors:
    """Hands out the host's interrupt vectors; as :class:`hdvlab.guest.VectorAllocator`."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def take(self, count: int, owner: object) -> list[int]:
        """``count`` consecutive free vectors."""
        return list(self._call("take_vectors", count=count, owner=id(owner)))

    def give_back(self, owner: object) -> None:
        """:meth:`HostedMemory.give_back` does it."""
