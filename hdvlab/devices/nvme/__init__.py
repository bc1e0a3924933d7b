"""An NVMe controller that Linux's own driver takes (:class:`Nvme`), and a driver for it."""

from hdvlab.devices.nvme.device import Nvme
from hdvlab.devices.nvme.driver import NvmeDriver, NvmeError, NvmeResult, driver
from hdvlab.devices.nvme.spec import AdminOpcode, NvmOpcode, Status

__all__ = ["AdminOpcode", "NvmOpcode", "Nvme", "NvmeDriver", "NvmeError", "NvmeResult", "Status", "driver"]
