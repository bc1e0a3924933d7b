"""What a worker thread sleeps on: its own event and doorbells, together."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping

from hdvlab.device.stage import Stage
from hdvlab.hdv import Doorbell


class StagedWake:
    """Notes that the worker would be woken."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def set(self) -> None:
        """Note it."""
        self._stage.note("wake", "the worker thread would be woken; what it does then is not known")


class Wake:
    """An event that any thread sets, beside doorbells that the guest rings. One thread waits."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._doorbells: Mapping[int, Doorbell] = {}
        self._numbers: dict[int, int] = {}
        self._poll = select.poll()
        self._poll.register(self._event, select.POLLIN)

    def set(self) -> None:
        """Let :meth:`wait` return."""
        os.eventfd_write(self._event, 1)

    def in_rehearsal(self, stage: Stage) -> StagedWake:
        """What stands for it where an access is rehearsed: nobody sleeps on that."""
        return StagedWake(stage)

    def listen(self, doorbells: Mapping[int, Doorbell]) -> None:
        """Wait for these doorbells too, by number; those of before are closed. By the waiting thread only."""
        for doorbell in self._doorbells.values():
            self._poll.unregister(doorbell.fileno())
            doorbell.close()
            del self._numbers[doorbell.fileno()]
        self._doorbells = doorbells
        for number, doorbell in doorbells.items():
            self._numbers[doorbell.fileno()] = number
            self._poll.register(doorbell.fileno(), select.POLLIN)

    def wait(self) -> list[tuple[int, int]]:
        """Sleep until something happens; the numbers of the doorbells that rang, and the row of the write that did."""
        rang = []
        for file, _ in self._poll.poll():
            os.eventfd_read(file)
            number = self._numbers.get(file)
            if number is not None:
                rang.append((number, self._doorbells[number].row))
        return rang

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            os.close(self._event)
