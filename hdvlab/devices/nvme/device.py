"""An NVMe controller with one namespace, which Linux's own driver takes.

Ref: NVM Express Base Specification 1.4c.

Guest accesses only leave a note and wake the worker thread; commands are executed there, so the guest never waits.
I/O queue doorbells are HDV doorbells, which carry no value: their values are in guest memory, in the doorbell buffers
that the driver hands over (section 5.7). Before it does, and for the admin queue, doorbells are registers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hdvlab.device import Device, Fault, current_cause, set_cause
from hdvlab.devices.nvme.command import CommandError
from hdvlab.devices.nvme.controller import CONTROL, RESET, UNKNOWN, Controller
from hdvlab.devices.nvme.health import Health
from hdvlab.devices.nvme.injection import Injection, Injections
from hdvlab.devices.nvme.namespace import FileNamespace, MemoryNamespace, Namespace, parse_size
from hdvlab.devices.nvme.registers import (
    DOORBELLS,
    MSIX_PENDING,
    MSIX_TABLE,
    VECTORS,
    NvmeRegisters,
)
from hdvlab.devices.nvme.spec import DOORBELL_BASE, ErrorEvent, Status
from hdvlab.devices.nvme.wake import Wake
from hdvlab.errors import DeviceError, GuestMemoryError, HdvError, HResult, UsageError
from hdvlab.hdv import Doorbell
from hdvlab.pci import MsixCapability
from hdvlab.registers import Register

#: Size of a namespace in memory where none is given.
DEFAULT_SIZE = 1 << 30
_SETTINGS = ("file", "size", "block", "doorbells")


def _rings(index: int, register: Register) -> Callable[[Any, int], None]:
    @register.on_write
    def written(self: Nvme, value: int) -> None:
        self._note(index, value)

    return written


class Nvme(Device):
    """NVMe controller with one namespace.

    Configuration strings: ``size=1G`` (namespace in memory, the default; pages cost nothing until they are written),
    ``file=disk.img`` (in a file, with ``size`` made where it does not exist), ``block=512`` or ``4096`` (bytes of a
    logical block) and ``doorbells=shadow`` (the default: HDV doorbells, with values in guest memory, once the driver
    asks for that; Linux does) or ``registers`` (each doorbell write is a register access with its value, in a row).

    What is written stays until the device is gone, over resets, power-off and reboots of the guest.
    """

    vendor_id, device_id, revision_id = 0x1234, 0x0003, 0x01
    base_class, sub_class, prog_if = 0x01, 0x08, 0x02
    capabilities = (MsixCapability(VECTORS, 0, MSIX_TABLE, 0, MSIX_PENDING),)
    bar0: Any = NvmeRegisters

    def __init__(self) -> None:
        self.namespace: Namespace | None = None
        self.health = Health()
        self._settings: dict[str, str] | None = None
        self._injections = Injections()
        self._controller: Controller | None = None
        self._worker: threading.Thread | None = None

    # ---- for whoever tests a driver ----------------------------------------------------------------------------

    def fail(
        self,
        opcode: int | str,
        status: int | str = Status.UNRECOVERED_READ_ERROR,
        *,
        count: int = 1,
        block: int | None = None,
        retry: bool = False,
    ) -> Injection:
        """Let the next ``count`` commands of an opcode fail. Each leaves a fault row that says so.

        Parameters
        ----------
        opcode : int or str
            ``"read"``, ``"write"``, ``"flush"``, ``"identify"`` ...; a number is an I/O command's.
        status : int or str
            ``"unrecovered_read_error"``, or a number: status code type in bits 10:8, status code in 7:0.
        count : int
            Commands.
        block : int, optional
            Only commands on this logical block.
        retry : bool
            Whether the driver may try again (Do Not Retry is 0). Linux does, so that one failure is not noticed.

        Returns
        -------
        Injection
            Its ``left`` counts down.
        """
        return self._injections.add(opcode, status, count, retry, block)

    def fail_no_more(self) -> None:
        """Forget the failures that have not happened."""
        self._injections.clear()

    # ---- power -------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        self.health.power_on()

    def configure(self, configuration: dict[str, str]) -> None:
        for key in configuration:
            if key not in _SETTINGS:
                raise UsageError(f"nvme has no setting {key}; it has {', '.join(_SETTINGS)}")
        if configuration.get("doorbells", "shadow") not in ("shadow", "registers"):
            raise UsageError(f"doorbells={configuration['doorbells']}: write shadow or registers")
        if configuration.get("block", "512") not in ("512", "4096"):
            raise UsageError(f"block={configuration['block']}: a logical block has 512 or 4096 bytes")
        if self._settings is not None and configuration != self._settings:
            self._close_namespace()
        self._settings = dict(configuration)

    def _close_namespace(self) -> None:
        if self.namespace is not None:
            self.namespace.close()
            self.namespace = None

    def _open_namespace(self) -> Namespace:
        """The namespace as configured; the one of before, if there is one."""
        if self.namespace is None:
            settings = self._settings or {}
            size = parse_size(settings["size"]) if "size" in settings else None
            if "file" in settings:
                self.namespace = FileNamespace(settings["file"], size)
            else:
                self.namespace = MemoryNamespace(size or DEFAULT_SIZE)
        return self.namespace

    def start(self) -> None:
        settings = self._settings or {}
        self._status = self.bar0.CSTS = self.bar0.CC = 0  # also after a Stop that was no power-off
        self._wake = Wake()
        self._controller = Controller(
            self,
            self._open_namespace(),
            self.health,
            self._injections,
            block=int(settings.get("block", "512")),
            shadow=settings.get("doorbells", "shadow") == "shadow",
        )
        self._worker = self.spawn(self._run, self._controller, self._wake)

    def stop(self) -> None:
        controller, worker = self._controller, self._worker
        if controller is not None:
            controller.ended = True
            self._wake.set()
            self._controller = None
        if worker is not None and worker.ident is not None and worker is not threading.current_thread():
            worker.join(2.0)  # it takes no lock that this thread may hold; after it no old command writes memory
        self._worker = None

    def teardown(self) -> None:
        if isinstance(self.namespace, FileNamespace):
            self._close_namespace()  # opened again by the next power-on; memory stays

    # ---- what the guest does -----------------------------------------------------------------------------------

    def _note(self, key: int, value: int) -> None:
        controller = self._controller
        if controller is not None:
            controller.rung[key] = (value, current_cause())
            self._wake.set()

    @NvmeRegisters.CC.on_write
    def control_written(self, value: int, old: int) -> None:
        if old & 1 and not value & 1:
            self._note(RESET, value)
        self._note(CONTROL, value)

    @NvmeRegisters.INTMS.on_write
    def mask_set(self, value: int) -> None:
        self.bar0.INTMC = int(self.bar0.INTMS)

    @NvmeRegisters.INTMC.on_write
    def mask_cleared(self, value: int) -> None:
        self.bar0.INTMS = int(self.bar0.INTMC)

    for _index, _register in enumerate(DOORBELLS):
        vars()[f"{_register.name.lower()}_written"] = _rings(_index, _register)
    del _index, _register

    @NvmeRegisters.on_read
    def reserved_read(self, offset: int, size: int) -> int:
        return 0  # reserved registers are cleared (section 1.5.2)

    @NvmeRegisters.on_write
    def reserved_written(self, offset: int, size: int, value: int) -> None:
        if offset >= DOORBELL_BASE:
            self._note(UNKNOWN, value)

    # ---- the worker --------------------------------------------------------------------------------------------

    def _run(self, controller: Controller, wake: Wake) -> None:
        try:
            while not controller.ended:
                rang = wake.wait()
                if controller.ended:
                    break
                self._look(controller, rang)
                controller.serve()
        except HdvError:
            if not controller.ended:  # else: the machine went off under it
                self.set_status(fatal=True)
                raise
        except BaseException:
            self.set_status(fatal=True)
            raise
        finally:
            wake.listen({})

    def _look(self, controller: Controller, rang: list[tuple[int, int]]) -> None:
        rung = controller.rung
        for first in (RESET, CONTROL):
            if (noted := rung.pop(first, None)) is not None:
                self._do(controller, first, *noted)
        try:
            while rung:
                key, noted = rung.popitem()
                self._do(controller, key, *noted)
            if controller.enabled:
                for index, cause in rang:
                    controller.look(index, cause)
        except GuestMemoryError:
            controller.fatal()

    def _do(self, controller: Controller, key: int, value: int, cause: int) -> None:
        self.set_cause(cause)
        if key == RESET:
            controller.reset()
        elif key == CONTROL:
            controller.control_written(value, lambda: (int(self.bar0.AQA), int(self.bar0.ASQ), int(self.bar0.ACQ)))
        elif not controller.enabled:
            pass  # doorbells before CSTS.RDY mean nothing
        elif key == UNKNOWN:
            controller.events.error(ErrorEvent.INVALID_DOORBELL_REGISTER)
        else:
            controller.doorbell(key, value, cause)

    # ---- what the controller needs -----------------------------------------------------------------------------

    def set_cause(self, row: int) -> None:
        set_cause(row)

    def set_status(self, ready: bool | None = None, fatal: bool | None = None, shutdown: int | None = None) -> None:
        status = self._status  # written by the worker only; the guest cannot write CSTS, so no lock is needed
        for value, place, mask in ((ready, 0, 1), (fatal, 1, 1), (shutdown, 2, 3)):
            if value is not None:
                status = status & ~(mask << place) | int(value) << place
        self._status = self.bar0.CSTS = status

    def listen(self, queues: range | None) -> None:
        doorbells: dict[int, Doorbell] = {}
        for index in range(2 * queues.start, 2 * queues.stop) if queues is not None else ():
            doorbells[index] = self.doorbell(DOORBELLS[index], size=4)
        self._wake.listen(doorbells)

    def injected(self, what: str, error: CommandError) -> None:
        text = f"injected: {what} ends with {error}"
        self._report(
            Fault(self.name, what, HResult.E_UNEXPECTED, DeviceError(text), text, current_cause(), injected=True)
        )

    def failed(self, what: str, error: BaseException) -> None:
        self.on_failure(what, error)
