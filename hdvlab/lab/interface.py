"""What the commands need of a lab, wherever its machine is: in this process, or in a device host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from hdvlab.device import Device, Fault, Pluggable
from hdvlab.lab.run import Run
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.tables import SourceLine
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.guest import Guest
    from hdvlab.hdv import Broker
    from hdvlab.lab.plugged import Plugged


class Machine(Protocol):
    """A machine that is on, as far as commands look at it."""

    @property
    def ram_size(self) -> int:
        """Bytes of RAM."""

    def config_peek(self, slot: int) -> bytes:
        """A slot's config space as the machine would answer it, 4096 bytes; looking leaves no row."""

    def device_access(
        self, device: Any, write: bool, bar: int, offset: int, size: int, value: int, origin: Any, pc: int = 0
    ) -> tuple[int, int]:
        """Access one device past the bus: value and HRESULT."""


class AnyLab(Protocol):
    """:class:`hdvlab.Lab` and :class:`hdvlab.host.RemoteLab`; see there."""

    runs: dict[str, Run | Trace]

    @property
    def trace(self) -> MappedTrace: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def running(self) -> bool: ...
    @property
    def brokers(self) -> list[Broker]: ...
    @property
    def faults(self) -> list[Fault]: ...

    def plug(
        self,
        device: Pluggable | type[Device],
        *,
        name: str | None = None,
        slot: int | None = None,
        configuration: Sequence[str] = (),
    ) -> Plugged: ...
    def unplug(self, name: str) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def run(self, driver: Callable[..., Any], *arguments: Any, name: str = "", wait: bool = True) -> Run: ...
    def run_cell(self, body: Callable[[Guest], Any], *, name: str = "") -> Run: ...
    def mark(self, text: str) -> int: ...
    def add_source(self, line: SourceLine) -> int: ...
    def record(self, name: str = "") -> AbstractContextManager[Run]: ...
    def warn_of_loss(self) -> None: ...
    def __getitem__(self, name: str) -> Plugged: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[Plugged]: ...
