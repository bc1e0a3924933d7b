"""The host's VM: its start, its power, and what runs in its guest."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from hdvlab.errors import GuestInterrupted, UsageError
from hdvlab.host.requests import request
from hdvlab.host.wire import packed, unpacked
from hdvlab.systems.qemu.command_line import VmOptions

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host

#: Seconds that a command has to end after SIGINT.
_GRACE = 2.0


@request
def boot(host: Host, call: Call, *, options: dict[str, Any]) -> dict[str, Any]:
    """Start the VM; returns when QEMU runs, and ``wait_booted`` waits for its guest."""
    try:
        host.lab.boot(VmOptions.from_dict(options), wait=False)
    finally:
        host.changed()
    host.record_vm()
    return dict(vm_state(host, call))


@request
def vm_state(host: Host, call: Call) -> dict[str, Any]:
    """How the VM stands, and each device with it."""
    lab = host.lab
    if not lab.vm_booted:
        return {"state": "none", "shown": "<VM: not booted>"}
    vm = lab.vm
    return {
        "state": vm.state, "shown": repr(vm), "boot_seconds": vm.boot_seconds,
        "served": {one.name: lab.served(one) for one in list(lab)}, "directory": str(vm.place.directory),
    }  # fmt: skip


@request
def wait_booted(host: Host, call: Call, *, timeout: float) -> float | None:
    """Wait a little for the guest; seconds that it took, None where it is not up yet."""
    return host.lab.vm.wait_booted_for(timeout)


@request
def vm_power(host: Host, call: Call, *, action: str, timeout: float = 20.0) -> None:
    """``pause``, ``resume``, ``reset``, ``power_off`` or ``kill``."""
    vm = host.lab.vm
    actions = {"pause": vm.pause, "resume": vm.resume, "reset": vm.reset, "kill": vm.kill}
    if action == "power_off":
        vm.power_off(timeout)
    elif action in actions:
        actions[action]()
    else:
        raise UsageError(f"no action {action!r:.40} of a VM")


@request
def vm_run(
    host: Host, call: Call, *, command: str, stdin: str = "", timeout: float | None = None, number: int = 0
) -> dict[str, Any]:
    """Run a shell command; its output goes to the client as it comes, under ``number``, and whole at the end.

    The client's stop button ends it in the guest. A client that goes away does not.
    """
    running = host.lab.vm.start_command(command, unpacked(stdin))
    done = threading.Event()

    def stopper() -> None:
        call.stopped.wait()
        if not done.is_set():
            running.kill(signal.SIGINT)
            if not done.wait(_GRACE):
                running.kill(signal.SIGKILL)

    threading.Thread(target=stopper, name="hdvlab-stopper", daemon=True).start()

    def show(data: bytes) -> None:
        call.session.tell({"event": "shell", "number": number, "data": packed(data)})

    try:
        completed = running.wait(timeout, show)
    finally:
        done.set()
        stopped = call.stopped.is_set()
        call.stopped.set()  # the stopper ends
    if stopped:
        raise GuestInterrupted("the command was stopped")
    return {"status": completed.status, "output": packed(completed.output), "stop": len(host.lab.trace)}


@request
def vm_put(host: Host, call: Call, *, data: str, path: str, mode: int) -> None:
    """Write a file in the guest."""
    host.lab.vm.put(unpacked(data), path, mode)


@request
def vm_get(host: Host, call: Call, *, path: str) -> str:
    """Read a file of the guest's."""
    return packed(host.lab.vm.get(path))


@request
def vm_console(host: Host, call: Call) -> str:
    """All that the serial console has said."""
    return host.lab.vm.console()
