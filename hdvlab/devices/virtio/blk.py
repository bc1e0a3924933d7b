"""The block device: a disk in memory, or in a file.

Ref: Virtio 1.2, section 5.2.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from hdvlab.devices.virtio import spec
from hdvlab.devices.virtio.injection import Injections
from hdvlab.devices.virtio.queue import Chain, QueueError, Virtqueue
from hdvlab.devices.virtio.registers import DEVICE_CONFIG, VirtioRegisters
from hdvlab.devices.virtio.spec import SECTOR_SIZE, BlkFeature, BlkStatus, BlkType, DeviceType
from hdvlab.devices.virtio.store import FileStore, MemoryStore, Store, parse_size
from hdvlab.devices.virtio.transport import VirtioDevice
from hdvlab.errors import StateError, UsageError
from hdvlab.registers import Register

_HEADER = struct.Struct("<IIQ")
_SEGMENT = struct.Struct("<QII")
_DEFAULT_SIZE = 64 << 20
#: Bytes of data that are copied at once, and that one request may have.
_PIECE, _MOST_BYTES = 1 << 20, 64 << 20
_SEG_MAX = 254
_MOST_SEGMENTS = 16
_MOST_SECTORS = 0xFFFFFFFF


class BlkRegisters(VirtioRegisters):
    """With ``struct virtio_blk_config`` (5.2.4)."""

    CAPACITY = Register(DEVICE_CONFIG + 0x00, 64, access="ro", doc="sectors of 512 bytes")
    SIZE_MAX = Register(DEVICE_CONFIG + 0x08, access="ro", doc="not offered")
    SEG_MAX = Register(DEVICE_CONFIG + 0x0C, access="ro", reset=_SEG_MAX, doc="buffers that a request may have")
    GEOMETRY = Register(DEVICE_CONFIG + 0x10, access="ro", doc="not offered")
    BLK_SIZE = Register(DEVICE_CONFIG + 0x14, access="ro", reset=SECTOR_SIZE, doc="bytes of a block")
    TOPOLOGY = Register(DEVICE_CONFIG + 0x18, 64, access="ro", doc="not offered")
    WRITEBACK = Register(DEVICE_CONFIG + 0x20, 8, access="ro", doc="not offered")
    QUEUES = Register(DEVICE_CONFIG + 0x22, 16, access="ro", doc="request queues")
    MAX_DISCARD_SECTORS = Register(DEVICE_CONFIG + 0x24, access="ro", reset=_MOST_SECTORS)
    MAX_DISCARD_SEG = Register(DEVICE_CONFIG + 0x28, access="ro", reset=_MOST_SEGMENTS)
    DISCARD_SECTOR_ALIGNMENT = Register(DEVICE_CONFIG + 0x2C, access="ro", reset=8)
    MAX_WRITE_ZEROES_SECTORS = Register(DEVICE_CONFIG + 0x30, access="ro", reset=_MOST_SECTORS)
    MAX_WRITE_ZEROES_SEG = Register(DEVICE_CONFIG + 0x34, access="ro", reset=_MOST_SEGMENTS)
    WRITE_ZEROES_MAY_UNMAP = Register(DEVICE_CONFIG + 0x38, access="ro", reset=1)


class _Refused(Exception):
    """A request that ends with a status other than OK."""

    def __init__(self, status: BlkStatus) -> None:
        super().__init__(status.name)
        self.status = status


class Blk(VirtioDevice):
    """virtio-blk. Linux' ``/dev/vda``.

    Configuration strings: ``size=64M`` (the default), ``file=disk.img`` (kept in that file instead of memory; made,
    with ``size``, where it is not there), ``readonly=1``, ``id=TEXT`` (what GET_ID answers, up to 20 bytes). What was
    written outlives resets and power-off, as long as it is the same object with the same settings.

    Attributes
    ----------
    store : Store
        The bytes.
    """

    device_type = DeviceType.BLOCK
    base_class, sub_class = 0x01, 0x00
    guest_modules = ("virtio_pci", "virtio_blk")
    features = (
        BlkFeature.SEG_MAX | BlkFeature.BLK_SIZE | BlkFeature.FLUSH | BlkFeature.DISCARD | BlkFeature.WRITE_ZEROES
    )
    bar0: Any = BlkRegisters

    store: Store

    def __new__(cls, *arguments: Any, **named: Any) -> Blk:
        self: Any = super().__new__(cls, *arguments, **named)
        self._injections = Injections()
        self._settings = None
        self._readonly = False
        self._id = b"hdvlab"
        made: Blk = self
        return made

    _injections: Injections
    _settings: tuple[str, str, bool] | None
    _readonly: bool
    _id: bytes

    # ---- settings ----------------------------------------------------------------------------------------------

    def configure(self, configuration: dict[str, str]) -> None:
        if unknown := configuration.keys() - {"size", "file", "readonly", "id"}:
            raise UsageError(f"blk has no setting {min(unknown)}; it has size, file, readonly and id")
        self._id = configuration.get("id", self._id.decode()).encode()
        if len(self._id) > spec.BLK_ID_SIZE:
            raise UsageError(f"id={self._id.decode()} has {len(self._id)} bytes; {spec.BLK_ID_SIZE} are the most")
        readonly = configuration.get("readonly", "0")
        if readonly not in ("0", "1"):
            raise UsageError(f"readonly={readonly}; write readonly=1, or readonly=0")
        settings = (configuration.get("size", ""), configuration.get("file", ""), readonly == "1")
        if settings == self._settings:
            return  # the same disk as before power went off
        size = parse_size(settings[0]) if settings[0] else None
        if size is not None and (size % SECTOR_SIZE or not size):
            raise UsageError(f"size={settings[0]} is {size} bytes; a disk has a multiple of {SECTOR_SIZE}")
        store: Store
        if settings[1]:
            store = FileStore(Path(settings[1]), size, settings[2])
        else:
            store = MemoryStore(_DEFAULT_SIZE if size is None else size)
        self.store, self._settings, self._readonly = store, settings, settings[2]

    def start(self) -> None:
        self.bar0.CAPACITY = self.store.size // SECTOR_SIZE
        self.bar0.QUEUES = len(self.queues)

    def offered_features(self) -> int:
        features = int(self.features) | (BlkFeature.MQ if len(self.queues) > 1 else 0)
        if self._readonly:
            features = features & ~int(BlkFeature.DISCARD | BlkFeature.WRITE_ZEROES) | BlkFeature.RO
        return features

    def fail(self, type: int | str, status: int | str = BlkStatus.IOERR, count: int = 1) -> None:
        """Let the next ``count`` requests of a type end with a status, without doing what they ask for.

        Parameters
        ----------
        type : int or str
            ``"in"`` (a read), ``"out"`` (a write), ``"flush"``, ``"get_id"``, ``"discard"``, ``"write_zeroes"``, or a
            number.
        status : int or str
            ``"ioerr"``, ``"unsupp"``, ``"ok"`` (lost writes, stale reads), or a number of 8 bits.
        count : int
            Requests.

        Notes
        -----
        Each leaves a ``fault`` row that says injected, caused by the notification that the request came with.
        """
        self._injections.add(type, status, count)

    # ---- requests ----------------------------------------------------------------------------------------------

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        if chain.room < 1:
            raise QueueError(f"{chain!r} has no room for the status")
        kind, _, sector = _HEADER.unpack(chain.read(_HEADER.size))
        injected = self._injections.match(kind)
        if injected is not None:
            self.tell_injected(f"{_name(kind)} of sector {sector} ends with status {injected}")
            status = injected
        else:
            status = self._status_of(kind, sector, chain)
        chain.skip(chain.room - 1)
        chain.write(bytes((status,)))

    def _status_of(self, kind: int, sector: int, chain: Chain) -> int:
        try:
            self._serve_request(kind, sector * SECTOR_SIZE, chain)
        except _Refused as refused:
            return refused.status
        except (QueueError, StateError):
            raise
        except Exception as error:  # the file, a subclass: the driver hears of it, and so does the person
            self.on_failure(_name(kind), error)
            return BlkStatus.IOERR
        return BlkStatus.OK

    def _serve_request(self, kind: int, offset: int, chain: Chain) -> None:
        if kind == BlkType.IN:
            self._check(offset, chain.room - 1)
            while chain.room > 1:
                size = min(chain.room - 1, _PIECE)
                chain.write(self.store.read(offset, size))
                offset += size
        elif kind == BlkType.OUT:
            self._check(offset, chain.readable, writes=True)
            while chain.readable:
                size = min(chain.readable, _PIECE)
                self.store.write(offset, chain.read(size))
                offset += size
        elif kind == BlkType.FLUSH:
            self.store.flush()
        elif kind == BlkType.GET_ID:
            chain.write(self._id.ljust(spec.BLK_ID_SIZE, b"\0")[: chain.room - 1])
        elif kind in (BlkType.DISCARD, BlkType.WRITE_ZEROES) and not self._readonly:
            self._clear(kind, chain)
        else:
            raise _Refused(BlkStatus.UNSUPP)

    def _check(self, offset: int, size: int, writes: bool = False) -> None:
        """A range must be whole sectors of the disk."""
        if size % SECTOR_SIZE or size > _MOST_BYTES or offset + size > self.store.size or (writes and self._readonly):
            raise _Refused(BlkStatus.IOERR)

    def _clear(self, kind: int, chain: Chain) -> None:
        """Discard and write zeroes (5.2.6.2): all segments are checked before the first is touched."""
        count, rest = divmod(chain.readable, _SEGMENT.size)
        if rest or not 0 < count <= _MOST_SEGMENTS:
            raise _Refused(BlkStatus.IOERR)
        allowed = spec.BLK_UNMAP if kind == BlkType.WRITE_ZEROES else 0
        segments = list(_SEGMENT.iter_unpack(chain.read()))
        for sector, sectors, flags in segments:
            if flags & ~allowed:
                raise _Refused(BlkStatus.UNSUPP)
            if (sector + sectors) * SECTOR_SIZE > self.store.size:
                raise _Refused(BlkStatus.IOERR)
        for sector, sectors, _ in segments:
            self.store.clear(sector * SECTOR_SIZE, sectors * SECTOR_SIZE)


def _name(kind: int) -> str:
    return BlkType(kind).name if kind in BlkType._value2member_map_ else f"request of type {kind}"
