"""The entropy device: fills buffers with random bytes.

Ref: Virtio 1.2, section 5.4.
"""

from __future__ import annotations

import os

from hdvlab.devices.virtio.queue import Chain, Virtqueue
from hdvlab.devices.virtio.spec import DeviceType
from hdvlab.devices.virtio.transport import VirtioDevice
from hdvlab.errors import UsageError

#: Bytes that one request gets at most; a driver asks again.
MOST = 1 << 16


class Rng(VirtioDevice):
    """virtio-rng. Linux' ``/dev/hwrng`` with ``virtio_rng``.

    Configuration strings: ``seed=7`` (the same bytes in every run, which are not random then; default: the host's
    own ``getrandom``).
    """

    device_type = DeviceType.ENTROPY
    guest_modules = ("virtio_pci", "virtio_rng")

    def initialize(self) -> None:
        self._counter: int | None = None

    def configure(self, configuration: dict[str, str]) -> None:
        for key, text in configuration.items():
            if key != "seed" or not text.isdigit():
                raise UsageError(f"{key}={text}: rng has one setting, seed=NUMBER")
            self._counter = int(text)

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        chain.write(self._bytes(min(chain.room, MOST)))

    def _bytes(self, size: int) -> bytes:
        if self._counter is None:
            return os.urandom(size)
        data = bytearray()
        while len(data) < size:  # 64-bit linear congruential (Knuth, MMIX): repeatable, and no secret
            self._counter = (self._counter * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            data += (self._counter >> 32).to_bytes(4, "little")
        return bytes(data[:size])
