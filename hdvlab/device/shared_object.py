"""A shared object with a device in it: loaded, checked, its description read. What is wrong with it is said clearly."""

from __future__ import annotations

import _ctypes
import ctypes
import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab._core.where import LIBRARY, library_folder
from hdvlab.errors import AccessError, DeviceError, RegisterError, UsageError
from hdvlab.hdv import PnpId
from hdvlab.pci import decode_probed_bars
from hdvlab.registers import Field, Register, RegisterMap

ELF = b"\x7fELF"
COMPILE = "cc -shared -fPIC device.c $(hdvlab config --cflags --libs) -o device.so"

#: Seconds that loading may take; what runs then are the library's constructors.
_PATIENCE = 10.0
_PROBE = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); ctypes.CDLL(sys.argv[2])"
_MOST_ENTRIES = 1 << 16
_numbers = itertools.count(1)


@dataclass(frozen=True)
class CompiledBar:
    """One BAR of a compiled device."""

    bar_size: int
    bits: int
    prefetchable: bool
    map: RegisterMap


@dataclass(frozen=True)
class CompiledLayout:
    """What is fixed about a compiled device."""

    bars: dict[int, CompiledBar] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """``HDVLAB_DEVICE_INFO`` as Python values; ``peek`` is the C function or None."""

    name: str
    class_id: uuid.UUID
    pnp_id: PnpId
    layout: CompiledLayout
    peek: Any


def is_shared_object(path: Path) -> bool:
    """Whether a file begins as an ELF one."""
    try:
        with path.open("rb") as file:
            return file.read(4) == ELF
    except OSError:
        return False


class SharedObject:
    """A loaded shared object; unloaded when the last reference is gone.

    It is a copy under a name of its own that is loaded: the file may be compiled again meanwhile, and two devices of
    one file do not share their variables.

    Attributes
    ----------
    plug : cdata
        Its ``HdvlabPlugDevice``.
    info : Info or None
        Its ``HdvlabDevice``, where it has one.

    Raises
    ------
    UsageError
        There is no such file.
    DeviceError
        It is no device, or cannot be loaded; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path = path.expanduser()
        if not path.is_file():
            raise UsageError(f"no file {path}; compile the device first: {COMPILE}")
        if not is_shared_object(path):
            raise DeviceError(f"{path} is no shared object (ELF); compile it as one: {COMPILE}")
        folder = Path(tempfile.mkdtemp(prefix="hdvlab-device-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        copy = folder / f"{path.stem}-{next(_numbers)}.so"
        shutil.copyfile(path, copy)
        _probe(path, copy)
        try:
            library = ctypes.CDLL(str(copy))
        except OSError as error:
            raise DeviceError(_why(path, copy, str(error))) from None
        # Not when Python ends: the machine may still be on then.
        weakref.finalize(self, _ctypes.dlclose, library._handle).atexit = False
        self.plug = ffi.cast("HDVLAB_PLUG_DEVICE", _symbol(library, "HdvlabPlugDevice"))
        if self.plug == ffi.NULL:
            raise DeviceError(
                f"{path} exports no HdvlabPlugDevice; include hdvlab_device.h and define it as it is declared there"
            )
        info = ffi.cast("const HDVLAB_DEVICE_INFO *", _symbol(library, "HdvlabDevice"))
        self.info = None if info == ffi.NULL else _info(path, info)


def _symbol(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _probe(path: Path, copy: Path) -> None:
    """Load it in a process of its own first: a constructor that crashes or hangs must not take the lab along."""
    host = library_folder() / f"lib{LIBRARY}.so"
    command = [sys.executable, "-ISc", _PROBE, str(host), str(copy)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{path} hangs when it is loaded; what its constructors wait for does not come") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise DeviceError(
            f"{path} crashes when it is loaded ({name}); look at its constructors: gdb, -fsanitize=address"
        )
    lines = done.stderr.strip().splitlines()
    if done.returncode == 1 and lines and lines[-1].startswith("OSError: "):
        raise DeviceError(_why(path, copy, lines[-1].removeprefix("OSError: ")))
    if done.returncode:
        raise DeviceError(
            f"{path} ends the process that loads it (exit code {done.returncode}); look at its constructors"
        )


def _why(path: Path, copy: Path, said: str) -> str:
    """The loader's complaint with the person's path in it, and what to do."""
    said = said.replace(f"{copy}: ", "")
    remedy = f"compile it again: {COMPILE}"
    if "undefined symbol" in said:
        name = said.rpartition("undefined symbol: ")[2].split()[0].strip(",;()")
        remedy = "define it, or name the library that has it behind -l"
        if name.startswith(("Hdv", "hdvlab_")):
            remedy = f"link hdvlab's library: {COMPILE}"
    elif "cannot open shared object file" in said:
        remedy = "install that library, or link with -Wl,-rpath,FOLDER where it is"
    return f"{path} cannot be loaded: {said}; {remedy}"


def _text(pointer: Any) -> str:
    return "" if pointer == ffi.NULL else ffi.string(pointer, 4096).decode("utf-8", "replace")


def pnp_id_of(c: Any) -> PnpId:
    """A C ``HDV_PCI_PNP_ID`` as ours."""
    return PnpId(c.VendorID, c.DeviceID, c.RevisionID, c.ProgIf, c.SubClass, c.BaseClass, c.SubVendorID, c.SubSystemID)


def uuid_of(guid: Any) -> uuid.UUID:
    """A C ``GUID`` as a UUID."""
    return uuid.UUID(bytes_le=bytes(ffi.buffer(ffi.addressof(guid), 16)))


def layout_of(probed: list[int], maps: dict[int, RegisterMap] | None = None) -> CompiledLayout:
    """The BARs that ``probedBars`` stand for.

    Raises
    ------
    RegisterError, AccessError
        They contradict themselves.
    """
    bars = {}
    for bar in decode_probed_bars(probed):
        registers = (maps or {}).get(bar.index) or RegisterMap([], bar.size, f"bar{bar.index}")
        bars[bar.index] = CompiledBar(bar.size, bar.bits, bar.prefetchable, registers)
    return CompiledLayout(bars)


def _info(path: Path, c: Any) -> Info:
    if (c.Version, c.Size) != (lib.HDVLAB_DEVICE_VERSION, ffi.sizeof("HDVLAB_DEVICE_INFO")):
        raise DeviceError(
            f"{path}: HdvlabDevice has version {c.Version} and {c.Size} bytes, this hdvlab reads version "
            f"{lib.HDVLAB_DEVICE_VERSION} with {ffi.sizeof('HDVLAB_DEVICE_INFO')}; begin it with HDVLAB_DEVICE_HEAD "
            f"and compile it again with this hdvlab's header: {COMPILE}"
        )
    if c.EntryCount > _MOST_ENTRIES or (c.EntryCount and c.Entries == ffi.NULL):
        raise DeviceError(f"{path}: HdvlabDevice has {c.EntryCount} entries at {c.Entries}; use HDVLAB_ENTRIES(array)")
    try:
        probed = list(c.ProbedBars)
        sizes = {bar.index: bar.size for bar in decode_probed_bars(probed)}
        layout = layout_of(probed, _maps(c, sizes))
    except (RegisterError, AccessError) as error:
        raise DeviceError(f"{path}: HdvlabDevice contradicts itself: {error}") from None
    name = _text(c.Name) or path.stem
    return Info(name, uuid_of(c.ClassId), pnp_id_of(c.PnpId), layout, c.Peek if c.Peek != ffi.NULL else None)


def _maps(c: Any, sizes: dict[int, int]) -> dict[int, RegisterMap]:
    """The registers per BAR, from the flat list of entries."""
    found: dict[int, list[tuple[Any, list[Any]]]] = {}
    registers: list[tuple[Any, list[Any]]] | None = None
    fields: list[Any] | None = None
    for entry in c.Entries[0 : c.EntryCount] if c.EntryCount else ():
        if entry.Kind == lib.HDVLAB_ENTRY_BAR:
            bar = int(entry.Place)
            fields = None
            if bar not in sizes:
                raise RegisterError(f"HDVLAB_BAR({bar}), but ProbedBars[{bar}] describes no BAR")
            registers = found.setdefault(bar, [])
        elif entry.Kind == lib.HDVLAB_ENTRY_REGISTER:
            if registers is None:
                raise RegisterError(f"register {_text(entry.Name)} stands before the first HDVLAB_BAR")
            fields = []
            registers.append((entry, fields))
        elif entry.Kind == lib.HDVLAB_ENTRY_FIELD:
            if fields is None:
                raise RegisterError(f"field {_text(entry.Name)} stands before the first HDVLAB_REGISTER of its BAR")
            fields.append((entry, {}))
        elif entry.Kind == lib.HDVLAB_ENTRY_MEANING:
            if not fields:
                raise RegisterError(f"meaning {_text(entry.Name)!r} stands before the first HDVLAB_FIELD")
            fields[-1][1][int(entry.Place)] = _text(entry.Name)
        else:
            raise RegisterError(f"an entry of kind {entry.Kind}; use HDVLAB_BAR, _REGISTER, _FIELD and _MEANING")
    return {
        index: RegisterMap((_register(*one) for one in ones), sizes[index], f"bar{index}")
        for index, ones in found.items()
    }


def _register(entry: Any, fields: list[Any]) -> Register:
    name = _text(entry.Name)
    if not name.isidentifier() or name.startswith("_"):
        raise RegisterError(f"{name!r} cannot be a register's name; use letters, digits and _")
    given = {}
    for one, meanings in fields:
        if _text(one.Name) in given:
            raise RegisterError(f"{name} has two fields {_text(one.Name)}")
        given[_text(one.Name)] = Field(int(one.Place), one.Size, _text(one.Access) or None, meanings, _text(one.Doc))
    return Register(
        int(entry.Place),
        8 * entry.Size,
        access=_text(entry.Access) or "rw",
        fields=given,
        doc=_text(entry.Doc),
        name=name,
    )
