"""QEMU's teaching device, ``edu``: in Python (:class:`Edu`) and in C (``edu.c``), and a driver for both."""

from pathlib import Path

from hdvlab.devices.edu.device import Edu
from hdvlab.devices.edu.driver import EduDriver, EduResult, driver

#: The same device in C: ``%hdv plug edu.c``.
C_SOURCE = Path(__file__).with_name("edu.c")

__all__ = ["C_SOURCE", "Edu", "EduDriver", "EduResult", "driver"]
