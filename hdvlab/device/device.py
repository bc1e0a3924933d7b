"""What an author subclasses: a PCI device whose plain registers are served in C and whose behaviour is Python."""

from __future__ import annotations

import operator
import threading
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hdvlab._core import ffi, lib
from hdvlab.device.bar_state import BarState
from hdvlab.device.description import DeviceDescription, describe, fill_description
from hdvlab.device.fault import Fault
from hdvlab.device.machine_side import DeviceWithMachine
from hdvlab.device.work import Work
from hdvlab.errors import AccessError, DeviceError, HResult, StateError, check
from hdvlab.hdv import DeviceHost
from hdvlab.hdv.callbacks import callback_table, reraise_interrupt
from hdvlab.pci import MsiCapability
from hdvlab.pci.capability import Capability

#: Devices that the library has pointers to, by identity: they live until their Teardown, whoever forgets them.
_attached: dict[int, Device] = {}

#: Different faults that one device keeps; every failed access is in the trace all the same.
MAX_FAULTS = 1000


class Device(DeviceWithMachine):
    """A virtual PCI device.

    ::

        class Blink(Device):
            vendor_id, device_id = 0x1234, 0x0001

            class bar0(Bar, size=4096):
                CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
                COUNT = Register(0x04, access="ro")

            @bar0.CTRL.on_write
            def ctrl(self, value):
                self.bar0.COUNT += value & 1

    Handlers are methods, one register each: ``@bar0.CTRL.on_write`` calls ``method(self, value)``, or
    ``method(self, value, old)``, after the write was stored; ``@bar0.CTRL.on_read`` calls ``method(self)``, or
    ``method(self, stored)``, whose int is the guest's answer; ``@bar0.on_read``, ``method(self, offset, size)``, and
    ``@bar0.on_write``, ``method(self, offset, size, value)``, take what no register claims.

    Mistakes in the description are refused when the class is made. In an instance, ``self.bar0.CTRL`` is the stored
    value. Handlers run on the thread that carries the guest's access, one at a time per device, unless the class says
    ``concurrent = True``: then several may run at once, each on its guest's thread, and what they share is the author's
    to lock. Lifecycle callbacks, timers, and threads ``with self.lock`` have the device to themselves all the same.

    Attributes
    ----------
    vendor_id, device_id, revision_id, prog_if, sub_class, base_class, sub_vendor_id, sub_system_id : int
        ``HDV_PCI_PNP_ID``; the first two are required. The default class is 0xFF, unassigned.
    capabilities : sequence of Capability
        In config space order; one MSI vector by default.
    concurrent : bool
        Whether guest accesses may run handlers in parallel. Default False.
    guest_modules : sequence of str
        Linux kernel modules that drive it, for a VM's guest to load; none where the kernel has the driver built in.
    interrupt_pin : int
        Legacy interrupt line: 0 = none (the default), 1 = INTA; see :meth:`set_interrupt_line`. Only VMs have lines.
    configuration : dict of str to str
        The ``key=value`` strings that the slot was given.
    faults : list of Fault
        What failed in this device's code.
    """

    vendor_id: ClassVar[int]
    device_id: ClassVar[int]
    revision_id: ClassVar[int] = 0
    prog_if: ClassVar[int] = 0
    sub_class: ClassVar[int] = 0
    base_class: ClassVar[int] = 0xFF
    sub_vendor_id: ClassVar[int] = 0
    sub_system_id: ClassVar[int] = 0
    capabilities: ClassVar[Sequence[Capability]] = (MsiCapability(),)
    concurrent: ClassVar[bool] = False
    guest_modules: ClassVar[Sequence[str]] = ()
    interrupt_pin: ClassVar[int] = 0

    description: ClassVar[DeviceDescription]
    class_id: ClassVar[uuid.UUID]

    configuration: dict[str, str]
    faults: list[Fault]

    _instance_id: uuid.UUID | None
    _last_work: Work | None
    _report: Callable[[Fault], None]
    _context: Any
    _values: Any
    _readers: dict[int, tuple[Callable[..., Any], int]]
    _writers: dict[int, tuple[Callable[..., Any], int]]
    _bar_readers: dict[int, Callable[..., Any]]
    _bar_writers: dict[int, Callable[..., Any]]

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.description = describe(cls)
        if "class_id" not in cls.__dict__:
            cls.class_id = uuid.uuid5(uuid.NAMESPACE_OID, f"hdvlab:{cls.__module__}.{cls.__qualname__}")

    def __new__(cls, *arguments: Any, **named: Any) -> Device:
        if cls is Device:
            raise StateError("Device is to be subclassed: class Mine(Device): ...")
        self = super().__new__(cls)
        # Here and not in __init__, which an author may write without calling ours.
        self._name = cls.__name__.lower()
        self._instance = None
        self._instance_id = None
        self._work = None
        self._last_work = None
        self._opened = weakref.WeakSet()
        self._restricted = False
        self._report = lambda fault: None
        self.configuration = {}
        self.faults = []
        self._context = ffi.new_handle(self)
        description, kept = fill_description(cls.description)
        overrides_config = cls.config_written is not Device.config_written
        handle = ffi.new("void **")
        check(
            lib.hdvlab_register_file_create(description, callback_table(overrides_config), self._context, handle),
            f"create {cls.__name__}",
        )
        del kept
        self._file = ffi.gc(handle[0], lib.hdvlab_register_file_close)
        values = ffi.new("uint64_t **")
        check(lib.hdvlab_register_file_values(self._file, values), "values")
        self._values = values[0]
        for index, bar in cls.description.bars.items():
            vars(self)[f"bar{index}"] = BarState(bar.map, cls.description.index_of(index), self._values, self._file)
        self.bind_handlers()
        return self

    # ---- what an author may override ---------------------------------------------------------------------------

    def initialize(self) -> None:
        """Power comes on (HDV Initialize). Registers have their reset values. An exception fails the power-on."""

    def configure(self, configuration: dict[str, str]) -> None:
        """The slot's configuration strings have come (HDV SetConfiguration); a string without ``=`` is a key to ""."""

    def start(self) -> None:
        """The guest is about to run (HDV Start). Sections and doorbells may be made from here on; guest memory and
        interrupts work once the driver has enabled bus mastering."""

    def stop(self) -> None:
        """The guest runs no more (HDV Stop). Timers are cancelled and :attr:`stopping` is set already."""

    def reset(self) -> None:
        """The machine was reset (HDV has no such callback). Timers are cancelled already, threads of :meth:`spawn` told
        to stop, and the interrupt line is low.

        By default what a power cycle does: :meth:`stop`, everything closed that :meth:`start` may open again, all
        registers at their reset values, :meth:`start`. Override it to keep something; :meth:`reset_registers` is the
        part about registers.
        """
        self.stop()
        self._close_opened()
        self.reset_registers()
        self.start()

    def teardown(self) -> None:
        """The last callback (HDV Teardown)."""

    def config_written(self, offset: int, value: int) -> None:
        """The guest wrote the config dword at ``offset``; it is stored within its write mask already."""

    # ---- what an author may use --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """How the lab calls this device."""
        return self._name

    @property
    def type_name(self) -> str:
        """Name of its class."""
        return type(self).__name__

    @property
    def config(self) -> bytes:
        """The device's own config space, 4096 bytes; BARs and command register are the machine's."""
        config = ffi.new("uint8_t **")
        check(lib.hdvlab_register_file_config(self._file, config), "config")
        return bytes(ffi.buffer(config[0], 4096))

    def reset_registers(self) -> None:
        """Every register, config space and pending interrupts as they are at power-on; no handler is called."""
        check(lib.hdvlab_register_file_reset(self._file), "reset_registers")

    # ---- the lab's side ----------------------------------------------------------------------------------------

    @property
    def plugged_in(self) -> bool:
        """Whether it is in a machine that is on."""
        return self._instance is not None

    def require_free(self) -> None:
        """StateError if it is plugged in."""
        if self.plugged_in:
            raise StateError(f"{self._name} is plugged in already; make another one: {type(self).__name__}()")

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """Make the device an instance of ``host``, registers at their reset values; returns its ``HDV_DEVICE``.

        ``report`` is told of each new kind of fault, once.
        """
        self.require_free()
        self._instance_id = instance_id  # from here on it is for detach() to undo, wherever Ctrl-C comes
        try:
            check(lib.hdvlab_register_file_reset(self._file), "reset")
            self._name, self._report, self._restricted = name, report, host.restricted
            _attached[id(self)] = self  # before the library has the pointer, whatever happens in between
            self._instance = host.create_device(self._file, self.class_id, instance_id)
            if self.concurrent:
                check(lib.hdvlab_device_set_concurrent(self._instance, True), "concurrent")
            self._work = Work(self._instance, self.on_failure)
        except BaseException:
            self.detach(instance_id)
            raise
        return self._instance

    def detach(self, instance_id: uuid.UUID) -> None:
        """End the instance that :meth:`attach` made, with its Stop and Teardown; its slot is empty afterwards.

        Nothing when it has ended, or when the device is attached as another instance by now.

        Raises
        ------
        StateError
            Called from a callback, or while the machine's power changes (``ERROR_INVALID_STATE``).
        """
        if self._instance_id != instance_id:
            return
        hresult = lib.hdvlab_register_file_end(self._file)
        check(hresult, f"unplug {self._name}", "this is a callback, or the machine's power is being switched")
        self._powered_off()
        self._instance_id = None
        reraise_interrupt()

    def peek(self, bar: int, offset: int, size: int) -> int:
        """The stored bytes at a BAR offset as a little-endian number: no handler, no side effect, no row.

        Raises
        ------
        AccessError
            Outside the BAR (``E_INVALIDARG``), or where no register is (``ERROR_NOT_FOUND``).
        """
        value = ffi.new("uint64_t *")
        operation = f"peek BAR{bar}+{offset:#x}/{size}"
        if min(bar, offset, size) < 0:
            raise AccessError("outside the BAR", None, operation)
        hresult = lib.hdvlab_register_file_peek(self._file, bar, offset, size, value)
        outside = hresult == HResult.E_INVALIDARG.signed
        check(hresult, operation, "outside the BAR" if outside else "no register there")
        return int(value[0])

    def bind_handlers(self) -> None:
        """Find the handlers of its class; again when it has become one of another."""
        description = self.description
        self._readers = {i: (getattr(self, h.name), h.arguments) for i, h in description.readers.items()}
        self._writers = {i: (getattr(self, h.name), h.arguments) for i, h in description.writers.items()}
        self._bar_readers = {i: getattr(self, h.name) for i, h in description.bar_readers.items()}
        self._bar_writers = {i: getattr(self, h.name) for i, h in description.bar_writers.items()}

    def count_work(self) -> tuple[int, int]:
        """Timers and threads that are under way."""
        return (0, 0) if self._work is None else self._work.count()

    def join_work(self, timeout: float = 1.0) -> list[threading.Thread]:
        """Wait for the last power-on's timers and threads to end; those that have not."""
        return self._last_work.join(timeout) if self._last_work is not None else []

    # ---- callbacks ---------------------------------------------------------------------------------------------

    def on_initialize(self) -> None:
        self.initialize()

    def on_set_configuration(self, values: list[str]) -> None:
        self.configuration = dict(value.partition("=")[::2] for value in values)
        self.configure(self.configuration)

    def on_start(self) -> None:
        self.start()

    def on_stop(self) -> None:
        if self._work is not None:
            self._work.stop()
        self.stop()

    def on_reset(self) -> None:
        if self._work is not None:
            self._work.stop()
            self._last_work, self._work = self._work, Work(self._work.device, self.on_failure)
        if self.interrupt_pin:
            hresult = lib.hdvlab_device_set_line(self._instance, False)
            if hresult != HResult.E_NOTIMPL.signed:  # a machine without lines has none to lower
                check(hresult, "reset")
        self.reset()

    def on_teardown(self) -> None:
        if self._work is not None:
            self._work.stop()
        try:
            self.teardown()
        finally:
            self._powered_off()

    def _powered_off(self) -> None:
        """Nothing of the power-on that ended is left; again is nothing."""
        self._close_opened()
        if self._work is not None:
            self._work.stop()
            self._last_work, self._work = self._work, None
        self._instance = None
        _attached.pop(id(self), None)

    def _close_opened(self) -> None:
        for opened in list(self._opened):
            opened.close()
        self._opened.clear()

    def on_register_read(self, index: int, stored: int) -> int:
        handler, arguments = self._readers[index]
        value = handler(stored) if arguments else handler()
        return self._answer(value, self.description.registers[index][1].width, handler)

    def on_register_write(self, index: int, value: int, old: int) -> None:
        handler, arguments = self._writers[index]
        if arguments == 2:
            handler(value, old)
        else:
            handler(value)

    def on_bar_read(self, bar: int, offset: int, size: int) -> int:
        handler = self._bar_readers[bar]
        return self._answer(handler(offset, size), 8 * size, handler)

    def on_bar_write(self, bar: int, offset: int, size: int, value: int) -> None:
        self._bar_writers[bar](offset, size, value)

    def on_config_written(self, offset: int, value: int) -> None:
        self.config_written(offset, value)

    def on_failure(self, operation: str, error: BaseException) -> int:
        fault = Fault.of(self._name, operation, error, lib.hdvlab_cause())
        for known in self.faults:
            if known.key == fault.key:
                known.count += 1
                break
        else:
            if len(self.faults) < MAX_FAULTS:  # a guest may not make the host remember without end
                self.faults.append(fault)
                self._report(fault)
        return fault.hresult - (1 << 32) if fault.hresult & 0x80000000 else HResult.E_UNEXPECTED.signed

    def _answer(self, value: Any, width: int, handler: Callable[..., Any]) -> int:
        """What a read handler returned, if it is a number that fits; never truncated in silence."""
        name = getattr(handler, "__name__", "the handler")
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise DeviceError(f"{name} returned {value!r}; a read is answered by an int")
        number = operator.index(value)  # numpy's integers too
        if not 0 <= number < 1 << width:
            raise DeviceError(
                f"{name} returned {number:#x}; a read of {width} bits is answered by 0 to {2**width - 1:#x}"
            )
        return number

    def __repr__(self) -> str:
        state = "plugged in" if self._instance is not None else "not plugged in"
        return f"<{type(self).__name__} {self.vendor_id:04x}:{self.device_id:04x}, {state}>"
