"""QEMU's teaching device, ``edu``."""

from hdvlab.devices.edu.device import Edu
from hdvlab.devices.edu.driver import EduDriver, EduResult, driver

__all__ = ["Edu", "EduDriver", "EduResult", "driver"]
