"""From a device class to what C serves: checked once, when the class is made."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import RegisterError
from hdvlab.hdv import PnpId
from hdvlab.pci import BarDescription, Capability, ConfigImage, MsiCapability, MsixCapability, probed_bars, spec
from hdvlab.registers import HANDLES, Bar, Register

_BAR_NAME = re.compile(r"bar([0-5])$")


@dataclass(frozen=True)
class Handler:
    """A method that gives a register, or a BAR's unclaimed offsets, behaviour."""

    name: str
    """Attribute of the device class, so that a subclass may override the method."""
    arguments: int
    """How many arguments beside ``self`` it takes."""


@dataclass(frozen=True)
class DeviceDescription:
    """All that is fixed about a device class.

    ``registers`` is in the order that C numbers them: by BAR, then offset. Handlers are found by that number.
    """

    pnp_id: PnpId
    bars: dict[int, type[Bar]]
    registers: tuple[tuple[int, Register], ...]
    readers: dict[int, Handler]
    writers: dict[int, Handler]
    bar_readers: dict[int, Handler]
    bar_writers: dict[int, Handler]
    config: ConfigImage
    msi_offset: int
    msix_offset: int

    def index_of(self, bar: int) -> dict[str, int]:
        """Register name to number, for one BAR."""
        return {register.name: i for i, (b, register) in enumerate(self.registers) if b == bar}


def _bars_of(cls: type) -> dict[int, type[Bar]]:
    bars: dict[int, type[Bar]] = {}
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        is_bar = isinstance(value, type) and issubclass(value, Bar)
        match = _BAR_NAME.match(name)
        if match and is_bar:
            bars[int(match[1])] = value
        elif match:
            raise RegisterError(f"{cls.__name__}.{name} is to be a class derived from Bar, not {value!r}")
        elif is_bar:
            raise RegisterError(f"{cls.__name__}.{name}: a BAR is called bar0 to bar5")
    for index, bar in bars.items():
        if bar.bits == 64 and index == 5:
            raise RegisterError(f"{cls.__name__}: bar5 is 64 bits wide and there is no bar6; make it bar4 or lower")
        if bar.bits == 64 and index + 1 in bars:
            raise RegisterError(f"{cls.__name__}: bar{index} is 64 bits wide and takes bar{index + 1}'s place")
    return dict(sorted(bars.items()))


def _arguments_of(function: Callable[..., Any], allowed: tuple[int, ...], what: str) -> int:
    if not callable(function):
        raise RegisterError(f"{what} handles a register, but is {function!r} here; make it a method")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise RegisterError(
            f"{what} is async or has a yield, so calling it does nothing; use self.spawn in a plain one"
        )
    everything = list(inspect.signature(function).parameters.values())
    if not everything:
        raise RegisterError(f"{what} needs self: def {what.rpartition('.')[2]}(self, ...)")
    parameters = everything[1:]
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        raise RegisterError(f"{what} takes plain arguments only")
    required = sum(1 for p in parameters if p.default is p.empty)
    fitting = [count for count in allowed if required <= count <= len(parameters)]
    if not fitting:
        wanted = " or ".join(str(count) for count in allowed)
        raise RegisterError(f"{what} takes self and {wanted} more arguments, not {len(parameters)}")
    return max(fitting)


class _Handlers:
    """Collects a class's decorated methods; a subclass's decorator replaces its parents'."""

    def __init__(self, cls: type, bars: dict[int, type[Bar]], registers: tuple[tuple[int, Register], ...]) -> None:
        self.readers: dict[int, Handler] = {}
        self.writers: dict[int, Handler] = {}
        self.bar_readers: dict[int, Handler] = {}
        self.bar_writers: dict[int, Handler] = {}
        self._cls = cls
        self._bars = bars
        self._registers = registers
        for base in reversed(cls.__mro__):
            mine: dict[tuple[int, str], str] = {}
            for name, value in vars(base).items():
                for target, kind in getattr(value, HANDLES, []):
                    self._add(name, base, target, kind, mine)

    def _add(self, name: str, base: type, target: Any, kind: str, mine: dict[Any, str]) -> None:
        what = f"{self._cls.__name__}.{name}"
        other = mine.setdefault((id(target), kind), name)
        if other != name:
            place = target.name if isinstance(target, Register) else target.__name__
            raise RegisterError(f"{what} and {other} both handle {kind}s of {place}")
        if isinstance(target, Register):
            numbers = [i for i, (_, register) in enumerate(self._registers) if register is target]
            table = self.readers if kind == "read" else self.writers
            allowed: tuple[int, ...] = (0, 1) if kind == "read" else (1, 2)
        else:
            numbers = [i for i, bar in self._bars.items() if issubclass(bar, target)]
            table = self.bar_readers if kind == "read" else self.bar_writers
            allowed = (2,) if kind == "read" else (3,)
        function = inspect.getattr_static(self._cls, name)  # a subclass may override the method
        if not numbers:
            if function is not vars(base)[name]:
                return  # the subclass replaced the BAR and the method with it
            raise RegisterError(
                f"{what} handles {target!r}, which is in none of the device's BARs; a subclass that replaces a BAR "
                "derives it from the old one, or overrides its handlers too"
            )
        handler = Handler(name, _arguments_of(function, allowed, what))
        table.update(dict.fromkeys(numbers, handler))


def _capabilities_of(cls: Any) -> tuple[Capability, ...]:
    given = cls.capabilities
    if not isinstance(given, tuple | list) or not all(hasattr(one, "capability_id") for one in given):
        raise RegisterError(
            f"{cls.__name__}.capabilities is a tuple of capabilities: (MsiCapability(),), not {given!r}"
        )
    return tuple(given)


def _check_beside(cls: type, msix: MsixCapability, registers: tuple[tuple[int, Register], ...]) -> None:
    """hdvlab serves the MSI-X table and its pending bits; a register over them would take the driver's writes."""
    for what, bar, start, size in (
        ("table", msix.table_bar, msix.table_offset, msix.table_size),
        ("pending bits", msix.pba_bar, msix.pba_offset, msix.pba_size),
    ):
        for index, register in registers:
            if index == bar and register.offset < start + size and start < register.end:
                raise RegisterError(
                    f"{cls.__name__}: {register.name} at {register.offset:#x} of bar{bar} lies in the MSI-X {what}, "
                    f"{start:#x} to {start + size - 1:#x}; move one of them"
                )


def _check_places(cls: Any) -> None:
    """Registers belong into a BAR, and a handler may not take the name of something that Device has."""
    device = next(base for base in cls.__mro__ if base.__module__ == "hdvlab.device.device")
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if isinstance(value, Register):
            raise RegisterError(f"{cls.__name__}.{name} is in no BAR; put it into class bar0(Bar, size=4096): ...")
        if getattr(value, HANDLES, None) and hasattr(device, name):
            raise RegisterError(f"{cls.__name__}.{name} hides Device.{name}; give the handler another name")


def describe(cls: Any) -> DeviceDescription:
    """Check a device class and describe it.

    Raises
    ------
    RegisterError
        The class contradicts itself; the message says where and states both numbers.
    """
    for name in ("vendor_id", "device_id"):
        if not isinstance(getattr(cls, name, None), int) or isinstance(getattr(cls, name), bool):
            raise RegisterError(f"{cls.__name__} needs {name}, a number of 16 bits: {name} = 0x1234")
    widths = {"vendor_id": 16, "device_id": 16, "revision_id": 8, "prog_if": 8, "sub_class": 8, "base_class": 8,
              "sub_vendor_id": 16, "sub_system_id": 16}  # fmt: skip
    for name, width in widths.items():
        value = getattr(cls, name)
        if not isinstance(value, int) or not 0 <= value < 1 << width:
            shown = hex(value) if isinstance(value, int) else repr(value)
            raise RegisterError(f"{cls.__name__}.{name} is {width} bits wide; {shown} does not fit")
    pnp_id = PnpId(**{name: getattr(cls, name) for name in widths})
    _check_places(cls)
    bars = _bars_of(cls)
    registers = tuple((index, register) for index, bar in bars.items() for register in bar.map)
    handlers = _Handlers(cls, bars, registers)
    capabilities = _capabilities_of(cls)
    config = ConfigImage.from_pnp_id(pnp_id, capabilities)
    if cls.interrupt_pin not in (0, 1) or isinstance(cls.interrupt_pin, bool):
        raise RegisterError(f"{cls.__name__}.interrupt_pin is {cls.interrupt_pin!r}; 0 is none, 1 is INTA")
    image = bytearray(config.image)
    image[spec.INTERRUPT_PIN] = cls.interrupt_pin
    config = dataclasses.replace(config, image=bytes(image))
    offsets = dict(zip((type(c) for c in capabilities), config.capability_offsets, strict=True))
    for capability in capabilities:
        if isinstance(capability, MsixCapability):
            capability.check_within({index: bar.bar_size for index, bar in bars.items()})
            _check_beside(cls, capability, registers)
    return DeviceDescription(
        pnp_id=pnp_id,
        bars=bars,
        registers=registers,
        readers=handlers.readers,
        writers=handlers.writers,
        bar_readers=handlers.bar_readers,
        bar_writers=handlers.bar_writers,
        config=config,
        msi_offset=offsets.get(MsiCapability, 0),
        msix_offset=offsets.get(MsixCapability, 0),
    )


def fill_registers(description: DeviceDescription) -> Any:
    """The C array of ``HDVLAB_REGISTER``."""
    array = ffi.new("HDVLAB_REGISTER[]", max(len(description.registers), 1))
    for number, (bar, register) in enumerate(description.registers):
        c, masks = array[number], register.masks
        c.bar, c.offset, c.size, c.sizes = bar, register.offset, register.size, sum(register.access_sizes)
        c.reset = register.reset
        c.flags = (
            (lib.HDVLAB_REGISTER_ON_READ if number in description.readers else 0)
            | (lib.HDVLAB_REGISTER_ON_WRITE if number in description.writers else 0)
            | (lib.HDVLAB_REGISTER_NARROW_LOW if register.narrow == "low" else 0)
        )
        c.read_mask, c.write_mask = masks.read, masks.write
        c.write_one_to_clear, c.write_one_to_set = masks.write_one_to_clear, masks.write_one_to_set
        c.read_to_clear = masks.read_to_clear
    return array


def fill_description(description: DeviceDescription) -> tuple[Any, list[Any]]:
    """The C ``HDVLAB_DEVICE_DESCRIPTION``, and what must live until it has been used."""
    c = ffi.new("HDVLAB_DEVICE_DESCRIPTION *")
    description.pnp_id.fill(c.pnp_id)
    probed = probed_bars(
        BarDescription(index, bar.bar_size, bar.bits, bar.prefetchable) for index, bar in description.bars.items()
    )
    for index, value in enumerate(probed):
        c.probed_bars[index] = value
    for index, bar in description.bars.items():
        c.bar_size[index] = bar.bar_size
        c.bar_flags[index] = (lib.HDVLAB_BAR_ON_READ if index in description.bar_readers else 0) | (
            lib.HDVLAB_BAR_ON_WRITE if index in description.bar_writers else 0
        )
    kept = [fill_registers(description)]
    c.registers, c.register_count = kept[0], len(description.registers)
    for name, source in (
        ("config", description.config.image),
        ("config_write_mask", description.config.write_mask),
        ("config_write_one_to_clear", description.config.w1c_mask),
    ):
        kept.append(ffi.from_buffer("uint8_t[]", source))
        setattr(c, name, kept[-1])
    c.msi_offset, c.msix_offset = description.msi_offset, description.msix_offset
    return c, kept
