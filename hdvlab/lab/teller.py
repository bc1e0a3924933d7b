"""What a lab's devices and the hosts of other processes tell: rows, lines for whoever looks, and faults to be kept.

Devices and brokers refer to the teller and not to the lab, for the library keeps devices alive and a broker's threads
keep what they call: a lab that nobody else refers to is forgotten all the same.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import TYPE_CHECKING

from hdvlab.device import Fault, RemoteDevice
from hdvlab.errors import BackendError, HdvError, HResult
from hdvlab.hdv import RemoteHost

if TYPE_CHECKING:
    from hdvlab.lab.lab import Lab

_OUTCOMES = {
    "ReadInterceptedMemory": "the guest was answered all ones and the lab goes on",
    "WriteInterceptedMemory": "the guest's write was dropped and the lab goes on",
    "Initialize": "the device stays off",
    "SetConfiguration": "the device stays off",
    "Start": "the device stays off",
}


class Teller:
    """Tells for a lab, on whatever thread something happens."""

    def __init__(self, lab: Lab) -> None:
        self._lab = weakref.ref(lab)
        self._known_hosts: weakref.WeakSet[RemoteHost] = weakref.WeakSet()
        self.kept: list[Fault] = []
        """Faults of what is in no slot: devices that did not get in, and hosts."""

    def fault(self, fault: Fault) -> None:
        """A new fault of a device: into the trace, and its traceback once to whoever looks."""
        lab = self._lab()
        if lab is None:
            print(f"{fault}; its lab was forgotten\n{fault.text.rstrip()}", file=sys.stderr)
            return
        index = lab[fault.device].index if fault.device in lab else 0xFFFF
        status = fault.hresult - (1 << 32) if fault.hresult & 0x80000000 else HResult.E_UNEXPECTED.signed
        lab.trace.fault(fault.text, index, fault.cause, status)
        where = f" (row {fault.cause})" if fault.cause >= 0 else ""
        said = f"{fault}{where}; {_OUTCOMES.get(fault.operation, 'the lab goes on')}\n{fault.text.rstrip()}"
        if fault.injected:
            said = f"{fault.device}: {fault.text.rstrip()}{where}"
        with contextlib.suppress(Exception):  # nobody may be looking: a closed stderr is not the device's fault
            print(said, file=sys.stderr)

    def host_changed(self, host: RemoteHost) -> None:
        """A device host of another process came, hangs, recovered or ended."""
        lab = self._lab()
        if lab is None:
            return
        what = f"the device host in process {host.process_id}"
        if host.state == "hung":
            self._tell(f"{what} does not answer; the guest reads all ones until it does", HResult.ERROR_TIMEOUT)
        elif host.state == "ended" and host.reason != HResult.S_OK:
            self._tell(f"{what} is gone; the guest reads all ones of its devices. Plug them again", host.reason)
        elif host.state == "ended" and (left := self._left_behind(lab)):
            text = f"{what} has ended; the guest reads all ones of {', '.join(left)}. Serve it again and plug it again"
            self._tell(text, HResult.HCS_E_SERVICE_DISCONNECT)
        elif host.state == "up" and host not in self._known_hosts:
            self._known_hosts.add(host)
            with contextlib.suppress(HdvError):
                lab.mark(f"{what} has come")

    def host_refused(self, error: HdvError) -> None:
        """A device host was not let in."""
        if self._lab() is not None:
            self._tell(f"a device host was not let in: {error}", error.hresult)

    @staticmethod
    def _left_behind(lab: Lab) -> list[str]:
        """Devices in slots of a machine that is on, whose hosts have taken them away."""
        if not lab.running:
            return []
        return [one.name for one in list(lab) if isinstance(one.device, RemoteDevice) and not one.device.plugged_in]

    def _tell(self, text: str, hresult: int) -> None:
        error = BackendError(text, hresult)
        self.kept.append(Fault("device host", "proxy", hresult, error, str(error), -1))
        with contextlib.suppress(Exception):
            print(f"{text} ({HResult.symbol_of(hresult)})", file=sys.stderr)
