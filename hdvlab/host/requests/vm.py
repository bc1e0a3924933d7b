"""The VM: booting it, its power, and commands and files in its guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.errors import GuestInterrupted, UsageError
from hdvlab.host.requests import request
from hdvlab.host.wire import packed, unpacked
from hdvlab.systems.qemu.command_line import VmOptions

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host

_ACTIONS = ("pause", "resume", "reset", "power_off", "kill")


@request
def boot(host: Host, call: Call, *, options: dict[str, Any], wait: bool = True) -> dict[str, Any]:
    """Boot with what is plugged in. QEMU and kernel are there: the client has seen to that, with a bar."""
    try:
        chosen = VmOptions.from_dict(options)
    except TypeError as error:
        raise UsageError(f"boot: {error}") from None
    try:
        vm = host.lab.boot(chosen, wait=False)
        host.note_vm()
    finally:
        host.changed()
    if wait:
        try:
            with call.interruptible():
                vm.wait_booted(through_stops=True)
        except GuestInterrupted:
            vm.kill()  # who boots it again starts anew
            raise
    return _state(host)


@request
def vm_state(host: Host, call: Call) -> dict[str, Any]:
    """How the VM stands."""
    return _state(host)


def _state(host: Host) -> dict[str, Any]:
    lab = host.lab
    told: dict[str, Any] = {"has_vm": lab.has_vm, "booted": lab.vm_booted, "running": lab.vm_running}
    if lab.vm_booted:
        vm = lab.vm
        told |= {
            "state": vm.state, "boot_seconds": vm.boot_seconds, "shown": repr(vm), "why_silent": vm.why_silent(),
            "pid": vm.pid if vm.running else 0,
        }  # fmt: skip
    return told


@request
def vm_action(host: Host, call: Call, *, action: str, timeout: float | None = None) -> None:
    """Pause, resume, reset, power off or kill it."""
    if action not in _ACTIONS:
        raise UsageError(f"a VM takes {', '.join(_ACTIONS)}, not {action!r:.40}")
    with call.interruptible():
        getattr(host.lab.vm, action)(**({} if timeout is None else {"timeout": timeout}))


@request
def wait_booted(host: Host, call: Call, *, timeout: float) -> float:
    """Until the guest's agent answers; seconds since the start."""
    with call.interruptible():
        return host.lab.vm.wait_booted(timeout)


@request
def sh(host: Host, call: Call, *, command: str, name: str, stdin: str, timeout: float | None) -> dict[str, Any]:
    """A shell command in the guest; output goes to the client as it comes. It goes on when the client is gone."""
    start = len(host.lab.trace)
    run = None
    try:
        with call.interruptible():
            run = host.lab.sh(command, stdin=unpacked(stdin), timeout=timeout, on_output=call.progress)
    finally:
        if name:
            host.runs[name] = (start, len(host.lab.trace))
    assert run is not None
    return {"start": run.start, "stop": run.stop, "status": run.status, "output": packed(run.output)}


@request
def put(host: Host, call: Call, *, data: str, path: str, mode: int) -> int:
    """Bytes into a file of the guest."""
    with call.interruptible():
        return host.lab.vm.put(unpacked(data), path, mode)


@request
def get(host: Host, call: Call, *, path: str) -> str:
    """A file of the guest's."""
    with call.interruptible():
        return packed(host.lab.vm.get(path))


@request
def console(host: Host, call: Call) -> str:
    """All that serial port 1 has said."""
    return host.lab.vm.console()


@request
def served(host: Host, call: Call, *, name: str) -> str:
    """How a device stands with the VM."""
    return host.lab.served(host.lab[name])
