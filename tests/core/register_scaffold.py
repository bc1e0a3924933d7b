"""Register files of the library, described in a few words, whose callbacks are Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .scaffold import CLASS_ID, S_OK, CallbackDevice, Failure, Machine, code, ones

ON_READ, ON_WRITE = lib.HDVLAB_REGISTER_ON_READ, lib.HDVLAB_REGISTER_ON_WRITE
NARROW_LOW = lib.HDVLAB_REGISTER_NARROW_LOW
CONFIG_BYTES = 4096


def register(offset: int, size: int = 4, access: str = "rw", bar: int = 0, **other: int) -> dict[str, int]:
    """A register whose every bit is rw, ro, wo, w1c, w1s or rc; ``other`` are fields of HDVLAB_REGISTER."""
    every = ones(min(size, 8))
    masks = {
        "rw": {"read_mask": every, "write_mask": every},
        "ro": {"read_mask": every},
        "wo": {"write_mask": every},
        "w1c": {"read_mask": every, "write_one_to_clear": every},
        "w1s": {"read_mask": every, "write_one_to_set": every},
        "rc": {"read_mask": every, "read_to_clear": every},
    }[access]
    return {"offset": offset, "size": size, "bar": bar, "sizes": 15} | masks | other


class RegisterDevice(CallbackDevice):
    """A register file as a device of a :class:`Machine`. ``calls`` is what its author was called with.

    ``on_read``, ``on_write``, ``on_bar_read`` and ``on_bar_write`` may be replaced; any may raise :class:`Failure`.
    """

    def __init__(
        self,
        registers: Sequence[dict[str, int]] = (),
        bars: Sequence[int] = (4096,),
        bar_flags: Sequence[int] = (),
        config: dict[int, tuple[int, int, int]] | None = None,
        msi: int = 0,
        msix: int = 0,
        told: bool = True,
    ) -> None:
        super().__init__([-size & 0xFFFFFFFF if size else 0 for size in bars])
        self.on_read: Callable[[int, int], int] = lambda index, stored: stored
        self.on_write: Callable[[int, int, int], None] = lambda index, value, old: None
        self.on_bar_read: Callable[[int, int, int], int] = lambda bar, offset, size: 0xB5B5
        self.on_bar_write: Callable[[int, int, int, int], None] = lambda bar, offset, size, value: None
        self._space = [ffi.new("uint8_t[]", CONFIG_BYTES) for _ in range(3)]
        for at, values in (config or {}).items():  # dwords: reset value, writable bits, bits that a 1 clears
            for space, value in zip(self._space, values, strict=True):
                ffi.memmove(space + at, value.to_bytes(4, "little"), 4)
        description = ffi.new("HDVLAB_DEVICE_DESCRIPTION *")
        description.pnp_id = {"VendorID": 0x1234, "DeviceID": 0x11E8, "BaseClass": 0xFF}
        for bar, size in enumerate(bars):
            description.probed_bars[bar], description.bar_size[bar] = self.probed_bars[bar], size
        for bar, flags in enumerate(bar_flags):
            description.bar_flags[bar] = flags
        described = ffi.new("HDVLAB_REGISTER[]", [dict(one) for one in registers] or 1)
        description.registers, description.register_count = described, len(registers)
        description.config, description.config_write_mask, description.config_write_one_to_clear = self._space
        description.msi_offset, description.msix_offset = msi, msix
        out = ffi.new("void **")
        self.created = code(lib.hdvlab_register_file_create(description, self._table(told), ffi.NULL, out))
        self.file = out[0]
        ffi.memmove(described, b"\xaa" * ffi.sizeof(described), ffi.sizeof(described))  # it was copied

    def _table(self, told: bool) -> Any:
        def answering(name: str, function: Callable[..., int]) -> Callable[..., int]:
            def callback(_: Any, *arguments: Any) -> int:
                *given, out = arguments

                def answer() -> None:
                    out[0] = function(*given)

                return self._call(name, tuple(given), answer)

            return callback

        def telling(name: str, function: Callable[..., None]) -> Callable[..., int]:
            return lambda _, *arguments: self._call(name, arguments, lambda: function(*arguments))

        def over(name: str) -> Callable[[Any], None]:
            def callback(_: Any) -> None:
                self._step(name)

            return callback

        u32, u64 = "uint32_t", "uint64_t"
        functions: dict[str, tuple[str, Callable[..., Any]]] = {
            "initialize": ("int32_t(void *)", lambda _: self._step("initialize")),
            "teardown": ("void(void *)", over("teardown")),
            "start": ("int32_t(void *)", lambda _: self._step("start")),
            "stop": ("void(void *)", over("stop")),
            "register_read": (
                f"int32_t(void *, {u32}, {u64}, {u64} *)",
                answering("read", lambda *a: self.on_read(*a)),
            ),
            "register_write": (f"int32_t(void *, {u32}, {u64}, {u64})", telling("write", lambda *a: self.on_write(*a))),
            "bar_read": (
                f"int32_t(void *, {u32}, {u64}, {u32}, {u64} *)",
                answering("bar_read", lambda *a: self.on_bar_read(*a)),
            ),
            "bar_write": (
                f"int32_t(void *, {u32}, {u64}, {u32}, {u64})",
                telling("bar_write", lambda *a: self.on_bar_write(*a)),
            ),
            "config_written": (f"int32_t(void *, {u32}, {u32})", telling("config_written", lambda *_: None)),
        }
        if not told:
            functions = {name: functions[name] for name in ("register_read", "register_write", "bar_read", "bar_write")}
        self._told = {name: ffi.callback(*pair) for name, pair in functions.items()}
        return ffi.new("HDVLAB_DEVICE_CALLBACKS *", self._told)

    def create(self, host: Any) -> int:
        out = ffi.new("void **")
        class_id, instance_id = guid(CLASS_ID), guid(self.instance_id)
        hresult = code(lib.hdvlab_register_file_instance(self.file, host, class_id, instance_id, out))
        self.handle = out[0]
        return hresult

    @property
    def values(self) -> Any:
        """The stored values themselves."""
        out = ffi.new("uint64_t **")
        assert code(lib.hdvlab_register_file_values(self.file, out)) == S_OK
        return out[0]

    def stored(self, count: int) -> list[int]:
        return list(ffi.unpack(self.values, count))

    def peek(self, bar: int, offset: int, size: int) -> tuple[int, int]:
        out = ffi.new("uint64_t *")
        return code(lib.hdvlab_register_file_peek(self.file, bar, offset, size, out)), int(out[0])

    def raise_vector(self, vector: int) -> int:
        return code(lib.hdvlab_register_file_interrupt(self.file, vector))

    def reset(self) -> int:
        return code(lib.hdvlab_register_file_reset(self.file))

    def close(self) -> int:
        return code(lib.hdvlab_register_file_close(self.file))


def failing(hresult: HResult = HResult.E_ABORT) -> Callable[..., Any]:
    """A hook that fails."""

    def fail(*_: int) -> int:
        raise Failure(hresult)

    return fail


def running(machine: Machine, device: RegisterDevice) -> RegisterDevice:
    """The device on the machine, with its file closed: the instance keeps it."""
    assert device.created == S_OK
    machine.running(device)
    return device
