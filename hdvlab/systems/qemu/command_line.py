"""What QEMU is started with.

Ref: qemu(1). A shared memfd is what devices reach guest RAM through; a device's ``x-msg-timeout`` is how long QEMU
waits for one answer, all the while frozen; serial port 1 is the console, 2 the agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hdvlab.errors import UsageError

#: How long QEMU waits for a device's answer, milliseconds: a person at a breakpoint takes minutes.
MESSAGE_TIMEOUT_MS = 3_600_000

#: Where the machine (q35) has its own functions: host bridge and south bridge; and where the disk image goes.
OWN_SLOTS = (0x00, 0x1F)
DISK_SLOT = 0x1E

#: Quiet while the guest is held: a stalled CPU is what a breakpoint is. The kernel's self-tests of its ciphers would be
#: half a second of a boot under TCG.
_APPEND = "console=ttyS0 quiet rcupdate.rcu_cpu_stall_suppress=1 nowatchdog cryptomgr.notests"


@dataclass(frozen=True)
class VmOptions:
    """How a VM is to be.

    Attributes
    ----------
    ram : int
        Bytes of guest RAM.
    cpus : int
        Virtual CPUs.
    accelerator : str
        ``"tcg"`` runs everywhere; ``"kvm"`` where the computer lets it.
    kernel, initramfs : path, optional
        Instead of hdvlab's own. A kernel of one's own gets hdvlab's initramfs without modules.
    agent : bool
        Whether hdvlab's agent runs in the guest, as in hdvlab's initramfs; without it there is the console only, and a
        boot is over when QEMU runs.
    disk : path, optional
        Image that appears as virtio-blk, read and written: qcow2 where its name ends so, else raw.
    append : str
        More words for the kernel's command line.
    modules : sequence of str
        Kernel modules that hdvlab's initramfs brings, beside those that its devices need.
    tools : sequence of str
        Programs that hdvlab's initramfs brings: ``"pciutils"``, ``"e2fsprogs"``; see :meth:`Installation.extra`.
    posted_writes : bool
        QEMU's default: the guest does not wait until the device has served a write to a memory BAR. Without them a
        breakpoint on a write stops the guest there, and each write costs a round trip (about 84 µs instead of 9).
    hide_capabilities : bool
        Show the devices' capability lists only after the first reset, so that QEMU manages none of them: MSI-X tables
        are the devices' own, as under Hyper-V.
    """

    ram: int = 256 << 20
    cpus: int = 1
    accelerator: str = "tcg"
    kernel: Path | None = None
    initramfs: Path | None = None
    agent: bool = True
    disk: Path | None = None
    append: str = ""
    modules: Sequence[str] = ()
    tools: Sequence[str] = ()
    posted_writes: bool = True
    hide_capabilities: bool = False
    extra: Sequence[str] = field(default=())
    """Further arguments for QEMU, as they are."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            name: str(value.absolute()) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> VmOptions:
        """From :meth:`to_dict`."""
        paths = {name: Path(told[name]) for name in ("kernel", "initramfs", "disk") if told.get(name) is not None}
        return cls(**{**told, **paths})


@dataclass(frozen=True)
class Place:
    """The files of one VM's life, all in one directory."""

    directory: Path

    @property
    def monitor(self) -> Path:
        """QMP socket."""
        return self.directory / "qmp"

    @property
    def console(self) -> Path:
        """Socket of serial port 1."""
        return self.directory / "console"

    @property
    def console_log(self) -> Path:
        """What serial port 1 has said."""
        return self.directory / "console.log"

    @property
    def agent(self) -> Path:
        """Socket of serial port 2."""
        return self.directory / "agent"

    @property
    def log(self) -> Path:
        """What QEMU itself has said."""
        return self.directory / "qemu.log"

    def device(self, slot: int) -> Path:
        """Socket of the device in a slot."""
        return self.directory / f"slot{slot}"


def arguments(
    options: VmOptions, place: Place, kernel: Path, initramfs: Path | None, slots: Sequence[int]
) -> list[str]:
    """QEMU's arguments, without the program's own name."""
    ram = f"{options.ram // 1024}k"
    words = [
        *("-machine", f"q35,accel={options.accelerator},memory-backend=ram"),
        *("-m", ram, "-smp", str(options.cpus)),
        *("-object", f"memory-backend-memfd,id=ram,size={ram},share=on"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-qmp", f"unix:{_escaped(place.monitor)},server=on,wait=off"),
        *_serial("console", place.console, place.console_log),
        *_serial("agent", place.agent),
        *("-kernel", str(kernel), "-append", f"{_APPEND} {options.append}".strip()),
    ]
    if options.accelerator == "kvm":
        words += ["-cpu", "host"]
    if initramfs is not None:
        words += ["-initrd", str(initramfs)]
    if options.disk is not None:
        drive = f"file={_escaped(options.disk)},format={_image_format(options.disk)},if=none,id=disk,cache=writeback"
        words += ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk,bus=pcie.0,addr={DISK_SLOT:#x}"]
    for slot in slots:
        words += ["-device", json.dumps(device(options, place, slot))]
    return [*words, *options.extra]


def _image_format(path: Path) -> str:
    """By the name, never by what is in it: a guest may write a qcow2 header into its raw image, with any file of this
    computer as the backing file.
    """
    if path.suffix.lower() == ".qcow2":
        return "qcow2"
    with path.open("rb") as image:
        if image.read(4) == b"QFI\xfb":
            raise UsageError(
                f"{path} begins as a qcow2 image does, and is not named so. If you made it one, rename it to "
                f"{path.with_suffix('.qcow2').name}; a guest that writes such a beginning into its raw image would "
                "reach this computer's files by it"
            )
    return "raw"


def device(options: VmOptions, place: Place, slot: int) -> dict[str, object]:
    """The ``-device`` (or ``device_add``) of a slot; its ``socket`` is a structure, so JSON is needed."""
    return {
        "driver": "vfio-user-pci",
        "id": f"slot{slot}",
        "bus": "pcie.0",
        "addr": f"{slot:#x}",
        "rombar": 0,
        "x-msg-timeout": MESSAGE_TIMEOUT_MS,
        "x-no-posted-writes": not options.posted_writes,
        "socket": {"type": "unix", "path": str(place.device(slot))},
    }


def _serial(name: str, path: Path, log: Path | None = None) -> list[str]:
    logged = f",logfile={_escaped(log)},logappend=on" if log is not None else ""
    chardev = f"socket,id={name},path={_escaped(path)},server=on,wait=off{logged}"
    return ["-chardev", chardev, "-serial", f"chardev:{name}"]


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")
