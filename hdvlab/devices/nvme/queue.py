"""Submission and completion queues: rings in guest memory.

Ref: NVM Express Base Specification 1.4c, sections 4.1 and 4.6 (phase tag).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hdvlab.devices.nvme.spec import CQE_SIZE, SQE_SIZE


@dataclass
class SubmissionQueue:
    """``base`` is guest-physical, ``size`` counts entries, ``head`` is the next one to take."""

    number: int
    base: int
    size: int
    cq: int
    head: int = 0
    tail: int = 0
    cause: int = -1
    """Row of the doorbell that moved the tail last."""
    shadow: int = 0
    """Guest-physical address of its shadow doorbell; 0 = none."""
    event: int = 0
    """Guest-physical address of its event index."""
    announced: int = -1
    """The event index there."""

    @property
    def pending(self) -> int:
        """Entries that the guest has put in."""
        return (self.tail - self.head) % self.size

    def run(self, most: int) -> tuple[int, int]:
        """Guest-physical address and number of the next entries that lie in one piece."""
        count = min(self.pending, self.size - self.head, most)
        return self.base + self.head * SQE_SIZE, count

    def take(self, count: int) -> None:
        """Move the head behind ``count`` entries."""
        self.head = (self.head + count) % self.size


@dataclass
class CompletionQueue:
    """``head`` is what the guest has taken last, ``tail`` where the next entry goes."""

    number: int
    base: int
    size: int
    vector: int
    interrupts: bool
    head: int = 0
    tail: int = 0
    phase: int = 1
    shadow: int = 0
    event: int = 0
    waiting: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    """Completions (result, submission queue, cid, status) that the queue has no room for yet; the submission queues
    that use it are not read while there are any, so they are few."""
    users: int = 0
    """Submission queues that complete here."""

    @property
    def room(self) -> int:
        """Entries that may be put in: one stays free, so that full and empty differ."""
        return (self.head - self.tail - 1) % self.size

    def put(self, entries: list[bytes]) -> list[tuple[int, bytes]]:
        """Place entries of 14 bytes, phase tag still missing (its 16-bit status is added here).

        Returns
        -------
        list of (int, bytes)
            What to write where: one piece, or two where the ring wraps.
        """
        pieces: list[tuple[int, bytes]] = []
        start, piece = self.tail, bytearray()
        for entry in entries:
            piece += entry
            piece[-2] |= self.phase
            self.tail += 1
            if self.tail == self.size:
                pieces.append((self.base + start * CQE_SIZE, bytes(piece)))
                self.tail, self.phase = 0, self.phase ^ 1
                start, piece = 0, bytearray()
        if piece:
            pieces.append((self.base + start * CQE_SIZE, bytes(piece)))
        return pieces

    def valid_head(self, head: int) -> bool:
        """Whether a new head lies between the old one and the tail."""
        return head < self.size and (head - self.head) % self.size <= (self.tail - self.head) % self.size
