"""A Hyper-V machine whose devices are in this process, behind the tap.

Ref: Microsoft Learn, "Host Compute System API reference"; HCS schema 2.1.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import BackendUnavailableError, HResult, StateError, check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.systems.hyperv.binding import LIBRARIES, NativeLibraries
from hdvlab.systems.hyperv.document import FlexibleIov, compute_system
from hdvlab.trace.schema import Origin

_GENERIC_ALL = 0x10000000
_OPERATION_TIMEOUT = 0x80370118
#: How long an operation is waited for before Ctrl-C is looked at, milliseconds.
_PATIENCE_MS = 100
_BUSY = HResult.ERROR_BUSY.signed
_REAL_GUEST = "the guest of a Hyper-V machine is a real one: what accesses the device is the driver in it"


class HyperVMachine:
    """A virtual machine of Windows' HCS with FlexibleIov slots. A :class:`~hdvlab.systems.System` but for the guest.

    The guest is a real one, so this process cannot act for it: the methods of :class:`~hdvlab.guest.Bus` raise
    :class:`~hdvlab.errors.BackendUnavailableError`. Everything else is as on the embedded machine: callbacks come in
    HDV's order and each is a row. Doorbells that ring are no rows: Windows' kernel takes the write.

    Order: the slots are part of the document that creates the machine; then a device host and its devices; then the
    start, which powers them on::

        slot = FlexibleIov(device.class_id, uuid.uuid4())
        with Recorder.create() as recorder, HyperVMachine("lab", [slot], trace=recorder.handle) as machine:
            host = DeviceHost(machine.handle)
            device.attach(host, slot.instance_id, "mine", print)
            machine.start()
            ...
            machine.stop()
            host.teardown()

    Parameters
    ----------
    name : str
        Id of the compute system.
    slots : sequence of FlexibleIov
        Devices that are there at power on.
    memory_mb : int
        Guest RAM, MiB.
    document : mapping, optional
        Further parts of the HCS document, laid over the one made here: chipset, disks, processors.
    trace : cdata, optional
        Recording that takes the rows.
    libraries : sequence of str
        Where HDV's and HCS's functions are; by default Windows' own.

    Raises
    ------
    BackendUnavailableError
        Not Windows, or a library is not there; the message says what it takes.
    HdvError
        HCS refused; the message is that of its result document.
    """

    def __init__(
        self,
        name: str,
        slots: Sequence[FlexibleIov] = (),
        *,
        memory_mb: int = 1024,
        document: Mapping[str, Any] | None = None,
        trace: Any = None,
        libraries: Sequence[str] = LIBRARIES,
    ) -> None:
        configuration = compute_system(slots, memory_mb, document)
        self._begin(name, trace, libraries, configuration)
        self._ram_size = int(configuration["VirtualMachine"]["ComputeTopology"]["Memory"]["SizeInMB"]) << 20

    @classmethod
    def open(cls, name: str, *, trace: Any = None, libraries: Sequence[str] = LIBRARIES) -> HyperVMachine:
        """A machine that exists, by its id: devices are plugged into it with :meth:`plug` while it runs."""
        machine = cls.__new__(cls)
        machine._ram_size = 0
        machine._begin(name, trace, libraries, None)
        return machine

    def _begin(self, name: str, trace: Any, libraries: Sequence[str], configuration: Mapping[str, Any] | None) -> None:
        self._native = NativeLibraries(libraries)
        functions = self._native.hdv_functions()
        self.name = name
        self._handle: Any = None
        self._plugged: dict[int, FlexibleIov] = {}
        system = self._native.ffi.new("HCS_SYSTEM *")
        if configuration is None:
            operation = f"HcsOpenComputeSystem {name}"
            check(self._native.call("HcsOpenComputeSystem", self._wide(name), _GENERIC_ALL, system), operation)
        else:
            null = self._native.ffi.NULL
            texts = (self._wide(name), self._wide(json.dumps(configuration)))
            self._operate("HcsCreateComputeSystem", lambda operation: (*texts, operation, null, system))
        self._system: Any = system[0]
        handle = ffi.new("void **")
        native = ffi.cast("void *", int(self._native.ffi.cast("uintptr_t", self._system)))
        hresult = lib.hdvlab_forward_create(functions, native, ffi.NULL if trace is None else trace, handle)
        if hresult < 0:
            self._native.function("HcsCloseComputeSystem")(self._system)
        check(hresult, "forward to the machine")
        self._handle = handle[0]

    # ---- HCS ---------------------------------------------------------------------------------------------------

    def _wide(self, text: str) -> Any:
        units = text.encode("utf-16-le", "surrogatepass") + b"\0\0"
        string = self._native.ffi.new("WCHAR[]", len(units) // 2)
        self._native.ffi.memmove(string, units, len(units))
        return string

    def _take(self, document: Any) -> str:
        """The text of a result document, which is freed."""
        if not document[0]:
            return ""
        length = 0
        while document[0][length]:
            length += 1
        text = bytes(self._native.ffi.buffer(document[0], 2 * length)).decode("utf-16-le", "replace")
        self._native.free(document[0])
        document[0] = self._native.ffi.NULL
        return text

    def _operate(self, name: str, arguments: Any) -> str:
        """Make an HCS call and wait for its end, answering Ctrl-C; returns the result document.

        ``arguments`` makes the call's arguments from the operation's handle.
        """
        native = self._native
        create = native.function("HcsCreateOperation")
        if create is None:
            native.call("HcsCreateOperation")  # says what is missing
        operation = create(native.ffi.NULL, native.ffi.NULL)
        if not operation:
            check(HResult.E_OUTOFMEMORY, name)
        document = native.ffi.new("PWSTR *")
        try:
            hresult = native.call(name, *arguments(operation))
            wait = hresult >= 0
            if not wait:  # refused at once; what it says of it is there already, if anything is
                native.call("HcsGetOperationResult", operation, document)
            while wait:
                hresult = native.call("HcsWaitForOperationResult", operation, _PATIENCE_MS, document)
                wait = hresult & 0xFFFFFFFF == _OPERATION_TIMEOUT
            text = self._take(document)
        finally:
            native.function("HcsCloseOperation")(operation)
        reraise_interrupt()
        check(hresult, f"{name} {self.name}", _message(text))
        return text

    @property
    def handle(self) -> Any:
        """``HCS_SYSTEM`` for :class:`hdvlab.hdv.DeviceHost`: this library's, which forwards to HCS's."""
        if self._handle is None:
            raise StateError(f"{self.name} is closed")
        return self._handle

    @property
    def ram_size(self) -> int:
        """Bytes of RAM as asked for; 0 where the machine was opened."""
        return self._ram_size

    def plug(self, slot: FlexibleIov) -> None:
        """Hot plug. The device must be an instance of a device host already; it is started when this returns."""
        self._modify(slot.request("Add"))

    def unplug(self, slot: FlexibleIov) -> None:
        """Hot unplug, which most versions of Windows refuse (``ERROR_NOT_SUPPORTED``)."""
        self._modify(slot.request("Remove"))

    def _modify(self, request: Mapping[str, Any]) -> None:
        self.handle  # noqa: B018 - not after close
        text, null = self._wide(json.dumps(request)), self._native.ffi.NULL
        self._operate("HcsModifyComputeSystem", lambda operation: (self._system, operation, text, null))

    def add_slot(self, slot: int, class_id: uuid.UUID, instance_id: uuid.UUID, configuration: Sequence[str]) -> None:
        """See :meth:`System.add_slot`: hot plug into a running machine. The number is this object's own."""
        if slot in self._plugged:
            raise StateError(f"slot {slot} is taken", HResult.ERROR_ALREADY_EXISTS)
        entry = FlexibleIov(class_id, instance_id, configuration)
        self.plug(entry)
        self._plugged[slot] = entry

    def remove_slot(self, slot: int) -> None:
        """See :meth:`System.remove_slot`; :meth:`unplug` says what Windows makes of it."""
        if slot not in self._plugged:
            raise StateError(f"nothing was plugged into slot {slot}", HResult.ERROR_NOT_FOUND)
        self.unplug(self._plugged[slot])
        del self._plugged[slot]

    def start(self) -> None:
        """See :meth:`System.start`. A slot that no device was made for fails it (``E_UNEXPECTED``)."""
        self._power("HcsStartComputeSystem")

    def stop(self) -> None:
        """See :meth:`System.stop`: power off, without asking the guest."""
        self._power("HcsTerminateComputeSystem")

    def shut_down(self) -> None:
        """Ask the guest to shut down, and wait until it has."""
        self._power("HcsShutDownComputeSystem")

    def pause(self) -> None:
        """Stop the virtual processors."""
        self._power("HcsPauseComputeSystem")

    def resume(self) -> None:
        """Let them go on."""
        self._power("HcsResumeComputeSystem")

    def properties(self) -> dict[str, Any]:
        """What HCS says of the machine: ``Id``, ``State`` and more."""
        self.handle  # noqa: B018
        null = self._native.ffi.NULL
        text = self._operate("HcsGetComputeSystemProperties", lambda operation: (self._system, operation, null))
        properties: dict[str, Any] = json.loads(text) if text else {}
        return properties

    def _power(self, name: str) -> None:
        self.handle  # noqa: B018
        self._operate(name, lambda operation: (self._system, operation, self._native.ffi.NULL))

    def close(self) -> None:
        """See :meth:`System.close`: tear device hosts down first. Closing twice is nothing."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            lib.hdvlab_system_close(handle)
            self._native.function("HcsCloseComputeSystem")(self._system)

    def __enter__(self) -> HyperVMachine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- one device, past the guest ------------------------------------------------------------------------------

    def device_access(
        self, device: Any, write: bool, bar: int, offset: int, size: int, value: int, origin: Origin
    ) -> tuple[int, int]:
        """A person's access to one device, past the guest: its value and HRESULT (signed)."""
        access = ffi.new("HDVLAB_ACCESS *", {"origin": origin, "wait_ms": _PATIENCE_MS})
        cell = ffi.new("uint64_t *", value)
        while (hresult := lib.hdvlab_device_access(device, access, write, bar, offset, size, cell)) == _BUSY:
            pass
        reraise_interrupt()
        return int(cell[0]), int(hresult)

    # ---- the guest's side: there is a guest that has it ----------------------------------------------------------

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """Not here: see :class:`HyperVMachine`."""
        raise BackendUnavailableError(_REAL_GUEST, None, "config_read")

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """Not here: see :class:`HyperVMachine`."""
        raise BackendUnavailableError(_REAL_GUEST, None, "config_write")

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """Not here: see :class:`HyperVMachine`."""
        raise BackendUnavailableError(_REAL_GUEST, None, "read")

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """Not here: see :class:`HyperVMachine`."""
        raise BackendUnavailableError(_REAL_GUEST, None, "write")

    def ram_read(self, address: int, size: int) -> bytes:
        """Not here: a device reaches guest memory through HDV."""
        raise BackendUnavailableError(_REAL_GUEST, None, "ram_read")

    def ram_write(self, address: int, data: bytes) -> None:
        """Not here: a device reaches guest memory through HDV."""
        raise BackendUnavailableError(_REAL_GUEST, None, "ram_write")

    def wait_interrupt(self, vector: int, timeout: float) -> int:
        """Not here: interrupts go to the guest's processors."""
        raise BackendUnavailableError(_REAL_GUEST, None, "wait_interrupt")

    def cancel(self) -> None:
        """Nobody waits on this side of the guest."""


def _message(document: str) -> str:
    """What a result document says went wrong, in one line."""
    try:
        result = json.loads(document) if document else {}
    except ValueError:
        return document
    if not isinstance(result, dict):
        return document
    events = result.get("ErrorEvents")
    parts = [result.get("ErrorMessage"), *(one.get("Message") for one in events or () if isinstance(one, dict))]
    return "; ".join(dict.fromkeys(str(part) for part in parts if part))
