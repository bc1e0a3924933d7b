"""Hyper-V's machines: Windows' own HDV, with this library's tap in between."""

from hdvlab.systems.hyperv.binding import LIBRARIES, NativeLibraries
from hdvlab.systems.hyperv.document import FlexibleIov, compute_system
from hdvlab.systems.hyperv.machine import HyperVMachine

__all__ = ["LIBRARIES", "FlexibleIov", "HyperVMachine", "NativeLibraries", "compute_system"]
