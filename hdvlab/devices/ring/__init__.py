"""A device in C that shows an aperture, a section and a doorbell at work (``ring.c``), and a driver for it."""

from pathlib import Path

from hdvlab.devices.ring.driver import RingDriver, driver

#: ``%hdv plug ring`` compiles it and plugs it in.
C_SOURCE = Path(__file__).with_name("ring.c")

__all__ = ["C_SOURCE", "RingDriver", "driver"]
