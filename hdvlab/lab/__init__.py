"""The composition root: machine, host, devices and trace together."""

from hdvlab.lab.interface import AnyLab
from hdvlab.lab.lab import Lab
from hdvlab.lab.plugged import Plugged
from hdvlab.lab.run import Run

__all__ = ["AnyLab", "Lab", "Plugged", "Run"]
