"""A kernel's modules by name: which are built in, which file each is, and the order that they load in.

Read from the kernel's own tables: ``modules.builtin`` and ``modules.order`` of the build, and ``depends=`` and
``softdep=`` in each module's ``.modinfo`` section. (``modules.dep`` is written when a kernel is installed, so a package
that was only unpacked has none.)
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from hdvlab.errors import BackendUnavailableError, UsageError


@dataclass(frozen=True)
class Module:
    """One module: its name with underscores, its path below the modules' folder without compression's ending, its
    contents, what loads before it (``softly``: if it is there), and the patterns of what the kernel asks for it by.
    """

    name: str
    path: str
    image: bytes
    depends: tuple[str, ...]
    softly: tuple[str, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModuleFolder:
    """The folder ``lib/modules/VERSION`` of a kernel."""

    folder: Path

    def load_order(self, names: Iterable[str]) -> list[Module]:
        """The modules to load for ``names``, each after what it depends on; what is built in is left out.

        Raises
        ------
        UsageError
            A name is neither a module of this kernel nor built in.
        """
        done: dict[str, Module | None] = {}
        for name in names:
            self._load(_canonical(name), done, ())
        return [module for module in done.values() if module is not None]

    def _load(self, name: str, done: dict[str, Module | None], above: Sequence[str]) -> None:
        if name in done or name in above:
            return
        if name not in self._files:
            if name not in self._built_in:
                wanted = f" (for {above[-1]})" if above else ""
                raise UsageError(
                    f"kernel {self.folder.name} has no module {name}{wanted}; its modules are in {self.folder}"
                )
            done[name] = None
            return
        module = _read(self.folder / self._files[name], self._files[name])
        for one in module.softly:
            if one in self._files:
                self._load(one, done, (*above, name))
        for one in module.depends:
            self._load(one, done, (*above, name))
        done[name] = module

    def has(self, name: str) -> bool:
        """Whether ``name`` is a module of this kernel or built in."""
        return _canonical(name) in self._files or _canonical(name) in self._built_in

    @cached_property
    def built_in(self) -> tuple[str, ...]:
        """Paths that the modules in the kernel itself would have: ``kernel/fs/ext4/ext4.ko``."""
        try:
            return tuple((self.folder / "modules.builtin").read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return ()

    @cached_property
    def _built_in(self) -> frozenset[str]:
        return frozenset(map(_name_of, self.built_in))

    @cached_property
    def _files(self) -> dict[str, str]:
        """Name → path below the folder, as the file is there (``.ko``, ``.ko.xz``, …)."""
        found = {}
        for path in sorted(self.folder.glob("kernel/**/*.ko*")):
            found[_name_of(str(path))] = str(path.relative_to(self.folder))
        return found


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _name_of(path: str) -> str:
    return _canonical(Path(path).name.partition(".ko")[0])


@lru_cache(maxsize=64)
def _read(path: Path, inside: str) -> Module:
    image = _decompressed(path)
    facts: dict[str, list[str]] = {"depends": [], "softdep": [], "alias": []}
    for entry in _section(image, b".modinfo").split(b"\0"):
        key, _, value = entry.decode(errors="replace").partition("=")
        if key in facts:
            facts[key].append(value)
    depends = [one for value in facts["depends"] for one in value.split(",") if one]
    before: list[str] = []
    for value in facts["softdep"]:  # "pre: a b post: c"
        before += value.partition("pre:")[2].partition("post:")[0].split()
    return Module(
        _name_of(inside),
        inside.partition(".ko")[0] + ".ko",
        image,
        tuple(map(_canonical, depends)),
        tuple(map(_canonical, before)),
        tuple(facts["alias"]),
    )


def _decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        import gzip

        return gzip.decompress(data)
    if path.suffix == ".zst":
        if shutil.which("zstd") is None:
            raise BackendUnavailableError(f"{path} is compressed with zstd; install it: apt install zstd")
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout
    return data


def _section(image: bytes, name: bytes) -> bytes:
    """One section of a little-endian ELF64 file; empty if it has none of that name."""
    if image[:6] != b"\x7fELF\x02\x01":
        return b""
    (table,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", image, 0x3A)

    def header(index: int) -> tuple[int, int, int]:
        start = table + index * size
        return (
            struct.unpack_from("<I", image, start)[0],
            struct.unpack_from("<Q", image, start + 0x18)[0],
            struct.unpack_from("<Q", image, start + 0x20)[0],
        )

    _, names, _ = header(names_index)
    for index in range(count):
        label, offset, length = header(index)
        start = names + label
        if image[start : image.index(b"\0", start)] == name:
            return image[offset : offset + length]
    return b""
