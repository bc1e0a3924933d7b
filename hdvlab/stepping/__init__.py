"""Stopping the guest: breakpoints, tracepoints and triggers, and what is done with a stop."""

from __future__ import annotations

from hdvlab.stepping.breakpoint import Breakpoint, Breakpoints, Request
from hdvlab.stepping.control import Control
from hdvlab.stepping.pending import Pending
from hdvlab.stepping.stop import Stop

__all__ = ["Breakpoint", "Breakpoints", "Control", "Pending", "Request", "Stop"]
