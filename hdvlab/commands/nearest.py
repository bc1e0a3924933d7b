"""The nearest right word, as commands say it."""

from __future__ import annotations

from hdvlab.registers.nearest import nearest as nearest
