"""Panels for notebooks: what the machine is and does, live, and ways to change it.

``hdvlab.widgets.table(lab)`` makes a panel; the last expression of a cell shows it. Each has a text form too,
``print(panel.text())``. Nothing here is imported before it is used.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdvlab.widgets.config import ConfigPanel
    from hdvlab.widgets.dashboard import Dashboard
    from hdvlab.widgets.heatmap import HeatMap
    from hdvlab.widgets.memory import MemoryPanel
    from hdvlab.widgets.registers import RegisterPanel
    from hdvlab.widgets.status import StatusPanel
    from hdvlab.widgets.stepper import StepperPanel
    from hdvlab.widgets.table import TraceTable
    from hdvlab.widgets.timeline import Timeline

__all__ = ["config", "dashboard", "heatmap", "memory", "registers", "status", "stepper", "table", "timeline"]


def registers(lab: Any, device: str | None = None, **state: Any) -> RegisterPanel:
    """The registers of a device, or of all; see :class:`hdvlab.widgets.registers.RegisterPanel`."""
    made: RegisterPanel = _home("registers").RegisterPanel(lab, device, **state)
    return made


def config(lab: Any, device: str | None = None, **state: Any) -> ConfigPanel:
    """A device's configuration space; see :class:`hdvlab.widgets.config.ConfigPanel`."""
    made: ConfigPanel = _home("config").ConfigPanel(lab, device, **state)
    return made


def memory(lab: Any, address: int | str = 0, **state: Any) -> MemoryPanel:
    """A window of guest RAM; see :class:`hdvlab.widgets.memory.MemoryPanel`."""
    made: MemoryPanel = _home("memory").MemoryPanel(lab, address, **state)
    return made


def table(source: Any, **state: Any) -> TraceTable:
    """The rows of a lab's trace, or of any trace; see :class:`hdvlab.widgets.table.TraceTable`."""
    made: TraceTable = _home("table").TraceTable(source, **state)
    return made


def heatmap(source: Any, **state: Any) -> HeatMap:
    """How often each address of a BAR or of guest memory was touched, over time; see
    :class:`hdvlab.widgets.heatmap.HeatMap`."""
    made: HeatMap = _home("heatmap").HeatMap(source, **state)
    return made


def timeline(source: Any, **state: Any) -> Timeline:
    """Every access of a lab's trace, or of any trace, over time; see :class:`hdvlab.widgets.timeline.Timeline`."""
    made: Timeline = _home("timeline").Timeline(source, **state)
    return made


def stepper(lab: Any, **state: Any) -> StepperPanel:
    """Stops and breakpoints; see :class:`hdvlab.widgets.stepper.StepperPanel`."""
    made: StepperPanel = _home("stepper").StepperPanel(lab, **state)
    return made


def status(lab: Any, **state: Any) -> StatusPanel:
    """How the lab stands; see :class:`hdvlab.widgets.status.StatusPanel`."""
    made: StatusPanel = _home("status").StatusPanel(lab, **state)
    return made


def dashboard(lab: Any, *names: str) -> Dashboard:
    """The panels of a lab laid out together; see :class:`hdvlab.widgets.dashboard.Dashboard`."""
    made: Dashboard = _home("dashboard").Dashboard(lab, names)
    return made


def _home(name: str) -> Any:
    return importlib.import_module(f"hdvlab.widgets.{name}")


class _Package(types.ModuleType):
    """A package whose functions have the names of its modules, as files of one panel have in every language."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing hdvlab.widgets.table would put the module in the function's place.
        if not (isinstance(value, types.ModuleType) and name in __all__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
