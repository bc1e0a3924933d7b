"""Programs on their way into the guest: the serial port is slow, so what an earlier one has in common stays there."""

from __future__ import annotations

import hashlib
import itertools
import lzma
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from hdvlab.errors import BackendError
from hdvlab.systems.qemu.agent import Completed

_BLOCK = 1024
#: Programs that are remembered, to compare with.
_REMEMBERED = 4
#: More pieces than this are not worth a difference.
_PIECES = 100
_brought: OrderedDict[str, bytes] = OrderedDict()


class Runner(Protocol):
    """Whoever runs shell commands in a guest; see :meth:`Agent.run`."""

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Completed: ...


def bring(guest: Runner, content: bytes, *, timeout: float | None = None) -> str:
    """Have a program in the guest; its path there. ``timeout`` in seconds, for each step.

    Raises
    ------
    BackendError
        The guest cannot take it.
    """
    digest = hashlib.sha256(content).hexdigest()
    there = _path(digest)
    known = [one for one in reversed(_brought) if one != digest]
    listed = " ".join(_path(one) for one in known)
    look = guest.run(f"test -x {there} && exit 0; ls {listed} /tmp 2>/dev/null; exit 1", timeout=timeout)
    if look.status:
        names = look.output.decode("utf-8", "replace").split()
        base = next((one for one in known if _path(one) in names), None)
        if base is None or not _bring_difference(guest, base, content, digest, timeout):
            _bring_whole(guest, content, digest, timeout)
    _brought[digest] = content
    _brought.move_to_end(digest)
    while len(_brought) > _REMEMBERED:
        _brought.popitem(last=False)
    return there


def _path(digest: str) -> str:
    return f"/tmp/hdvlab-{digest[:16]}"


def _finish(digest: str) -> str:
    check = f"echo '{digest}  {_path(digest)}.new' | sha256sum -c -s"
    return f"{check} && chmod 755 {_path(digest)}.new && mv {_path(digest)}.new {_path(digest)}"


def _bring_whole(guest: Runner, content: bytes, digest: str, timeout: float | None) -> None:
    copied = guest.run(f"xzcat > {_path(digest)}.new && {_finish(digest)}", stdin=_packed(content), timeout=timeout)
    if copied.status:
        said = copied.output.decode("utf-8", "replace").strip() or "its check sum is wrong"
        raise BackendError(f"the guest cannot take the program: {said}; is /tmp full?", None, "copy a program")


def _bring_difference(guest: Runner, base: str, content: bytes, digest: str, timeout: float | None) -> bool:
    """Make it there from one that is there already. False where that is not worth it, or did not work."""
    old = _brought[base]
    differs = [content[at : at + _BLOCK] != old[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)]
    pieces, changed = [], bytearray()
    at = 0
    for is_changed, run in itertools.groupby(differs):
        count = len(list(run))
        if is_changed:
            pieces.append((at, count))
            changed += content[at * _BLOCK : (at + count) * _BLOCK]
        at += count
    if len(pieces) > _PIECES or len(changed) > len(content) // 2:
        return False
    changed += bytes(-len(changed) % _BLOCK)
    new = _path(digest) + ".new"
    write = f"dd of={new} bs={_BLOCK} conv=notrunc iflag=fullblock 2>/dev/null"
    lines = [f"{write} seek={at} count={count}" for at, count in pieces]
    script = [
        f"cp {_path(base)} {new} && xzcat | {{",
        *lines,
        "}",
        f"truncate -s {len(content)} {new}",
        _finish(digest),
    ]
    return guest.run("\n".join(script), stdin=_packed(bytes(changed)), timeout=timeout).status == 0


def _packed(data: bytes) -> bytes:
    return lzma.compress(data, check=lzma.CHECK_CRC32)
