"""Conditions on rows, as text: ``write CTRL.EN==1``, ``interrupt``, ``dma write 0x1000..0x1fff and size > 8``."""

from hdvlab.analysis.condition.condition import Condition

__all__ = ["Condition"]
