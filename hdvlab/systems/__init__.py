"""Machines that devices are plugged into, behind one Protocol."""

from hdvlab.systems.embedded import EmbeddedMachine
from hdvlab.systems.system import System

__all__ = ["EmbeddedMachine", "System"]
