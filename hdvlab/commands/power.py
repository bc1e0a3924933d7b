"""The machine on and off: ``start``, ``stop``. Asked for what is already so, they say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.commands.text import Text, count

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab


def start(lab: AnyLab) -> Text:
    """Power on: registers have their reset values, and firmware places the BARs."""
    if lab.running:
        return Text("the machine is on already")
    lab.start()
    return Text(f"the machine is on, with {', '.join(one.name for one in lab) or 'nothing plugged in'}")


def stop(lab: AnyLab) -> Text:
    """Power off: guest programs are stopped, then every device gets Stop and Teardown. The trace stays."""
    if not lab.running:
        return Text("the machine is off already")
    lab.stop()
    return Text(f"the machine is off; the trace has {count(len(lab.trace), 'row')}")
