"""The C device that tests load, compiled once for each way to break it."""

from __future__ import annotations

import functools
from pathlib import Path

from hdvlab.device.compiler import Compiled, compile_source

BLINK = (Path(__file__).parent / "blink.c").read_text("utf-8")


@functools.cache
def compiled(*flags: str, name: str = "blink") -> Compiled:
    """blink.c with these flags for the compiler."""
    return compile_source(BLINK, name, flags=flags)


def blink(*flags: str) -> Path:
    """The shared object of it."""
    return compiled(*flags).library
