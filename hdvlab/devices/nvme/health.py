"""What the controller remembers of its life: the error log and the SMART counters.

Ref: NVM Express Base Specification 1.4c, sections 5.14.1.1 (error information) and 5.14.1.2 (SMART / health).
"""

from __future__ import annotations

import struct
import time
from collections import deque

from hdvlab.devices.nvme.command import Command, CommandError

#: Entries of the error log (ELPE + 1).
ERROR_ENTRIES = 64
#: What the log says the temperature is, kelvins.
TEMPERATURE = 300
_ERROR = struct.Struct("<QHHHHQI28x8x")


class Health:
    """Kept by the device from one power-on to the next."""

    def __init__(self) -> None:
        self.bytes_read = self.bytes_written = 0
        self.reads = self.writes = 0
        self.errors = 0
        self.media_errors = 0
        self.power_cycles = 0
        self.unsafe_shutdowns = 0
        self._busy_since = time.monotonic()
        self._running = False
        self._log: deque[bytes] = deque(maxlen=ERROR_ENTRIES)

    def power_on(self) -> None:
        """Power came on."""
        self.power_cycles += 1
        self.unsafe_shutdowns += self._running
        self._running = True

    def clean_shutdown(self) -> None:
        """The guest told before power goes."""
        self._running = False

    def error(self, queue: int, command: Command, error: CommandError, admin: bool) -> None:
        """A command failed."""
        self.errors += 1
        self.media_errors += error.status >> 8 == 2
        status = error.status << 1 | (0x8000 if error.dnr else 0)
        lba = 0 if admin else command.slba
        self._log.appendleft(_ERROR.pack(self.errors, queue, command.cid, status, error.location, lba, command.nsid))

    def error_log(self) -> bytes:
        """64 bytes an entry, the latest first."""
        return b"".join(self._log).ljust(ERROR_ENTRIES * _ERROR.size, b"\0")

    def smart_log(self) -> bytes:
        """512 bytes."""
        log = bytearray(512)
        struct.pack_into("<BHBBB", log, 0, 0, TEMPERATURE, 100, 10, 0)
        hours = int((time.monotonic() - self._busy_since) / 3600)
        counters = (
            -(-self.bytes_read // 512_000),  # data units: thousands of 512 bytes, rounded up
            -(-self.bytes_written // 512_000),
            self.reads,
            self.writes,
            0,  # controller busy time, minutes
            self.power_cycles,
            hours,
            self.unsafe_shutdowns,
            self.media_errors,
            self.errors,
        )
        for number, value in enumerate(counters):
            log[32 + 16 * number : 48 + 16 * number] = value.to_bytes(16, "little")
        return bytes(log)
