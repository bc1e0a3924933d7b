"""What is in the slots, as tools show it: ``lspci`` and ``regs``; and what failed: ``faults``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hdvlab.commands.importing import import_whole
from hdvlab.commands.nearest import nearest
from hdvlab.commands.progress import late_bar
from hdvlab.commands.text import Text
from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.commands.register_frame import RegisterFrame
    from hdvlab.lab import AnyLab, Plugged
    from hdvlab.widgets.dashboard import Dashboard


def _chosen(lab: AnyLab, device: str | None) -> list[Plugged]:
    devices = sorted(lab, key=lambda one: one.slot)
    if device is None:
        return devices
    chosen = [one for one in devices if device in (one.name, one.address)]
    if not devices:
        raise UsageError(f"no device {device} is plugged in; nothing is plugged in")
    if not chosen:
        raise UsageError(f"no device {device} is plugged in; {nearest(device, (one.name for one in devices))}")
    return chosen


def lspci(lab: AnyLab, device: str | None = None, *, verbose: int = 0, hex_level: int = 0) -> Text:
    """What ``lspci`` prints in the guest: the devices, or one of them. Looking leaves no rows.

    Parameters
    ----------
    lab : Lab
        Where.
    device : str, optional
        Name or bus address.
    verbose : int
        As many as there are ``v`` after ``lspci -``: 0 to 2.
    hex_level : int
        As many as there are ``x``: 1 = 64 bytes of config space, 3 = 256, 4 = 4096.
    """
    listings = [one.lspci(min(verbose, 2), hex_level) for one in _chosen(lab, device)]
    between = "\n" if verbose or hex_level else ""
    return Text(between.join(listings) or "nothing is plugged in")


def regs(lab: AnyLab, device: str | None = None) -> RegisterFrame:
    """The registers and their stored values, of all devices or of one. Looking changes nothing and leaves no rows.

    Returns
    -------
    DataFrame
        Columns ``device``, ``bar``, ``offset``, ``register``, ``access``, ``value`` (int, shown in hexadecimal),
        ``fields`` (text), ``doc``; one row per register.
    """
    import_whole("pandas")
    from hdvlab.commands.register_frame import df_registers

    return df_registers(_chosen(lab, device))


def panel(lab: AnyLab, names: Sequence[str] = ()) -> Dashboard:
    """The lab's panels, live: all, or those that are named; see :class:`hdvlab.widgets.dashboard.Dashboard`."""
    with late_bar("making panels"):
        import_whole("pandas", "hdvlab.widgets.dashboard")
        return lab.panel(*names)


def faults(lab: AnyLab) -> Text:
    """What failed in the devices' code, each with its traceback."""
    told = [f"{fault}\n{fault.text}" for fault in lab.faults]
    return Text("\n".join(told) or "no device has failed")
