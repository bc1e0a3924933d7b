"""A VM: from its start to its end, and what a person does with it meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, BackendUnavailableError, HdvError, HResult, StateError, UsageError
from hdvlab.systems.qemu.agent import Agent, Completed, Running, agent_binary
from hdvlab.systems.qemu.command_line import DISK_SLOT, OWN_SLOTS, Place, VmOptions, arguments
from hdvlab.systems.qemu.endless_log import read_end
from hdvlab.systems.qemu.lease import Lease, start_keeper
from hdvlab.systems.qemu.monitor import Monitor
from hdvlab.systems.qemu.process import QemuProcess
from hdvlab.systems.qemu.setup import Installation, Progress, build_initramfs, find, set_up

#: Longest time from QEMU's start to a guest that answers, seconds; a loaded machine without KVM takes its time.
BOOT_TIMEOUT = 120.0
_LOOK = 0.02
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_OFF = "the VM is off; boot it: lab.boot() or %hdv boot"
#: How Linux ends without powering off, and how far from the console's end that is looked for, bytes.
_LAST_WORDS = re.compile(r"\[ *[0-9.]+\] (?:---\[ end )?(Kernel panic - not syncing: [^\r\n]*|reboot: System halted)")
_END = 16 << 10

#: Loaded when the guest starts: one writes a device's ids to this driver's ``new_id``, so it must be there.
_MODULES = ("uio_pci_generic",)
#: In the guest for whoever asks for them: ``modprobe``, ``mount -t ext4``.
_AVAILABLE: tuple[str, ...] = ("vfio-pci", "ext4")
#: For a disk image.
_FOR_DISK = ("virtio_pci", "virtio_blk")


def installation(progress: Progress | None = None) -> Installation:
    """QEMU, kernel and busybox, obtained now if they are not here.

    Raises
    ------
    BackendUnavailableError
        They cannot be had, or ``$HDVLAB_NO_VM`` says that there is to be no VM here, and why.
    """
    if reason := os.environ.get("HDVLAB_NO_VM"):
        raise BackendUnavailableError(f"no VM runs here: {reason} (HDVLAB_NO_VM); the embedded machine does")
    return find() or set_up(progress=progress)


class Vm:
    """One run of QEMU, from :meth:`start` on.

    Parameters
    ----------
    place : Place
        Its files. The devices' sockets are there already.
    options : VmOptions
        How it is to be.
    slots : sequence of int
        Slots whose devices it gets.
    tell : callable
        ``tell(text)``: what happens to it, for whoever keeps a record.
    held : callable
        Says at which access a device holds the guest, "" where none does.
    busy : callable
        The same, also for a write that the guest does not wait for.
    stopped : callable
        At which breakpoint the guest is held, "" where at none.
    """

    def __init__(
        self,
        place: Place,
        options: VmOptions,
        slots: Sequence[int],
        tell: Callable[[str], None] = lambda text: None,
        held: Callable[[], str] = lambda: "",
        busy: Callable[[], str] = lambda: "",
        stopped: Callable[[], str] = lambda: "",
    ) -> None:
        self.place = place
        self.options = options
        self.slots = tuple(slots)
        self._tell = tell
        self._busy_device, self._held_by_device, self._stopped = busy, held, stopped
        self._process: QemuProcess | None = None
        self._monitor: Monitor | None = None
        self._agent: Agent | None = None
        self._paused = False
        self._ending = False
        self._console_from = 0  # where the console's log has this boot
        self._guard = threading.RLock()
        self._began = 0.0
        self.boot_seconds: float | None = None
        """From QEMU's start to a guest that answers."""
        self.wanted_off = False

    def _held(self) -> str:
        return self._stopped() or self._held_by_device()

    def _busy(self) -> str:
        return self._stopped() or self._busy_device()

    # ---- life --------------------------------------------------------------------------------------------------

    def start(self, here: Installation, lease: Lease, modules: Sequence[str] = ()) -> None:
        """Start QEMU; the devices' sockets must listen. :meth:`wait_booted` waits for the guest.

        Raises
        ------
        BackendError
            QEMU ended at once; the message has its last words.
        UsageError
            A file that is to be given to it is not there.
        """
        options = self.options
        for what, path in (("kernel", options.kernel), ("initramfs", options.initramfs), ("disk", options.disk)):
            if path is not None and not path.is_file():
                raise UsageError(f"no {what} {path}; give a file's path")
        for slot in self.slots:
            if slot in OWN_SLOTS or (options.disk is not None and slot == DISK_SLOT):
                what = "the disk" if slot == DISK_SLOT else "a function of its own"
                raise UsageError(f"the VM has {what} in slot {slot}; plug the device into another")
        initramfs = options.initramfs
        if (options.modules and (initramfs or options.kernel)) or (options.tools and initramfs):
            raise UsageError("modules come with hdvlab's own kernel, tools with its initramfs; put them into yours")
        if initramfs is None:
            chosen = list(dict.fromkeys([*_MODULES, *modules, *(_FOR_DISK if options.disk else ()), *options.modules]))
            available = _AVAILABLE
            if options.kernel is not None:  # a kernel of one's own has its own modules, or none
                chosen, available = [], ()
            files: dict[str, bytes | Path] = {"/agent": agent_binary()}
            for tool in options.tools:
                try:
                    files |= here.extra(tool)
                except KeyError as error:
                    raise UsageError(f"tools: {error.args[0]}") from None
            initramfs = build_initramfs(here, modules=chosen, available=available, files=files)
        words = arguments(options, self.place, options.kernel or here.kernel, initramfs, self.slots)
        self._began, self._console_from = time.monotonic(), self._console_size()
        log, console = self.place.log, self.place.console_log
        self._process = QemuProcess([*here.qemu, *words], here.environment, log, self._exited, [console])
        facts = {"pid": self._process.pid, "slots": self.slots, "command": self._process.command}
        start_keeper(self._process.pid, self.place.directory, lease)
        self.place.facts.write_text(json.dumps(facts))
        self._connect_monitor()

    def _connect_monitor(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while self._monitor is None:
            try:
                self._monitor = Monitor(self.place.monitor, self.why_silent, self._event)
            except BackendError:
                if not self.running or time.monotonic() > deadline:
                    raise self._failure() from None
                time.sleep(_LOOK)

    def _failure(self) -> BackendError:
        process = self._process
        words = process.last_words() if process is not None else ""
        ended = "did not come up" if process is None or process.running else f"ended with status {process.status}"
        return BackendError(f"QEMU {ended}: {words or f'it printed nothing; its log is {self.place.log}'}")

    def wait_booted(self, timeout: float = BOOT_TIMEOUT, *, through_stops: bool = False) -> float:
        """Wait until the guest's agent answers; seconds since the start. Ctrl-C ends the wait, not the VM.

        Where a breakpoint holds the guest this says so at once; with ``through_stops`` it waits until it goes on.

        Raises
        ------
        BackendError
            QEMU ended.
        StateError
            The guest did not come up within ``timeout`` seconds; the message has the console's last line.
        """
        deadline = time.monotonic() + timeout
        while self.boot_seconds is None:
            if not self.running:
                raise self._failure()
            if stopped := self._stopped():
                if not through_stops:
                    raise StateError(f"the guest is booting: {stopped}")
                deadline = max(deadline, time.monotonic() + timeout)
            if words := self._last_words():
                raise StateError(f"the guest did not come up: {words}; %hdv vm console says more, %hdv vm kill ends it")
            if not self.options.agent or self._connected_agent(0.2) is not None:
                self.boot_seconds = time.monotonic() - self._began
                self._tell(f"the guest is up after {self.boot_seconds:.1f} s")
            elif time.monotonic() > deadline:
                reason = self._held() or f"its console's last line: {self.console_tail(1) or '(nothing)'}"
                if self.options.initramfs is not None:
                    reason += "; where your initramfs runs no /agent, boot with --no-agent"
                raise StateError(f"no guest within {timeout:g} s; {reason}", HResult.ERROR_TIMEOUT)
        return self.boot_seconds

    def wait_booted_for(self, timeout: float) -> float | None:
        """As :meth:`wait_booted`, but None where the guest is not up after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.boot_seconds is None and time.monotonic() < deadline:
            try:
                return self.wait_booted(max(0.0, deadline - time.monotonic()))
            except StateError:
                continue
        return self.boot_seconds

    def _connected_agent(self, timeout: float) -> Agent | None:
        with self._guard:
            if self._agent is None:
                agent = Agent(self.place.agent, why_silent=self.why_silent, is_stopped=lambda: bool(self._stopped()))
                try:
                    agent.connect(timeout)
                except HdvError:  # not yet
                    return None
                self._agent = agent
            elif self.boot_seconds is None:  # it started anew by itself: the agent greets when it is up again
                with contextlib.suppress(HdvError):
                    return self._agent if self._agent.wait_greeting(timeout) else None
                return None
            return self._agent

    def _exited(self, status: int) -> None:
        words = "" if self._process is None else self._process.last_words().rpartition("\n")[2]
        how = "powered off" if status == 0 else f"ended with status {status}" if status > 0 else f"killed ({-status})"
        self._tell(f"the VM is off: {how}{f'; QEMU said: {words}' if words and status else ''}")

    def _event(self, name: str, data: dict[str, Any]) -> None:
        if name in ("STOP", "RESUME"):
            self._paused = name == "STOP"
            self._tell("the VM is paused" if self._paused else "the VM goes on")
        elif name == "SHUTDOWN":
            self._ending = True  # QEMU is gone in a moment
        elif name == "RESET":
            self._console_from = self._console_size()
            self._tell(f"the VM was reset ({data.get('reason', 'by whom is not known')})")
            agent = self._agent
            self.boot_seconds, self._began = None, time.monotonic()
            if agent is not None:
                agent.guest_was_reset()

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        process = self._process
        if process is not None and self._ending:
            process.wait(2.0)
        return process is not None and process.running

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._on().pid

    def _on(self) -> QemuProcess:
        process = self._process
        if process is None or not self.running:
            raise StateError(_OFF)
        return process

    @property
    def state(self) -> str:
        """``"off"``, ``"booting"``, ``"running"``, ``"paused"``, ``"held"`` (a device owes it an answer),
        ``"stopped"`` (Linux has panicked, or halted)."""
        if not self.running:
            return "off"
        if self._held():
            return "held"
        if self._last_words():
            return "stopped"
        return "paused" if self._paused else "running" if self.boot_seconds is not None else "booting"

    def why_silent(self) -> str:
        """Why the VM may not answer now; "" where there is no reason known."""
        if not self.running:
            return _OFF
        if why := self._held() or ("the VM is paused; %hdv vm resume lets it go on" if self._paused else ""):
            return why
        if words := self._last_words():
            return f"the guest has stopped: {words}; %hdv vm console shows more, %hdv vm reset starts it anew"
        return self._busy()

    def _console_size(self) -> int:
        try:
            return self.place.console_log.stat().st_size
        except OSError:
            return 0

    def _last_words(self) -> str:
        """What a Linux that will never go on says last: a panic, or that it has halted; "" where it has not."""
        size = self._console_size()
        if size <= self._console_from:
            return ""
        with self.place.console_log.open("rb") as log:
            log.seek(max(self._console_from, size - _END))
            found = _LAST_WORDS.findall(log.read().decode(errors="replace"))
        return found[-1].strip() if found else ""

    # ---- power -------------------------------------------------------------------------------------------------

    def _not_held(self) -> None:
        """QEMU is frozen while a device owes it an answer; asking it would be waiting for that."""
        if held := self._held():
            on = "" if self._stopped() else "; it goes on when the device answers"
            raise StateError(f"{held}{on}; %hdv vm kill pulls the plug")

    def _qmp(self, command: str, timeout: float = 5.0) -> Any:
        self._on()
        self._not_held()
        assert self._monitor is not None
        return self._monitor.execute(command, timeout=timeout)

    def pause(self) -> None:
        """Stop the VM's CPUs; devices are not told."""
        self._qmp("stop")

    def resume(self) -> None:
        """Let them go on."""
        self._qmp("cont")

    def reset(self) -> None:
        """The reset button: the guest starts anew, devices are reset. Returns at once; :meth:`wait_booted` waits."""
        self._on()
        self._not_held()
        with self._guard:
            self.boot_seconds, self._began = None, time.monotonic()
            self._console_from = self._console_size()
            self._drop_agent()
        self._qmp("system_reset")

    def power_off(self, timeout: float = 20.0) -> None:
        """Have the guest power off in good order.

        Raises
        ------
        StateError
            It has not within ``timeout`` seconds, or it is held; ``kill()`` always does.
        """
        process = self._on()
        self._not_held()
        if self._paused:
            raise StateError(f"{self.why_silent()}, then it can power off; %hdv vm kill pulls the plug")
        self.wanted_off = True
        agent = self._connected_agent(0.5) if self.options.agent else None
        if agent is not None:  # its own command; the connection ends with it
            with contextlib.suppress(StateError, BackendError, OSError):
                agent.run("sync; poweroff -f", timeout=min(timeout, 5.0))
        if not process.wait(0.5):
            with contextlib.suppress(BackendError):
                self._qmp("system_powerdown")
        if not process.wait(timeout):
            why = self.why_silent() or "the guest does not react to its power button"
            raise StateError(f"the guest is not off after {timeout:g} s: {why}; %hdv vm kill pulls the plug")
        self._close_connections()

    def kill(self) -> None:
        """Pull the plug: QEMU is gone on return. What the guest had not written is lost. Again is nothing."""
        self.wanted_off = True
        if self._process is not None:
            self._process.kill()
        self._close_connections()

    def _drop_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()

    def _close_connections(self) -> None:
        with self._guard:
            self._drop_agent()
            monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.close()

    # ---- inside ------------------------------------------------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """hdvlab's agent in the guest.

        Raises
        ------
        StateError
            The VM is off, paused, held at an access, or not up yet.
        """
        self._on()
        if not self.options.agent:
            raise StateError("this guest was booted without hdvlab's agent; its console is what there is")
        agent = self._connected_agent(2.0)
        if agent is None:
            booting = "the guest is booting; " if self.boot_seconds is None else ""
            why = self.why_silent() or f"{booting}console: {self.console_tail(1) or '(nothing)'}"
            raise StateError(f"the guest's agent does not answer; {why}", HResult.ERROR_TIMEOUT)
        return agent

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a shell command in the guest and wait for its end; Ctrl-C ends it there, too.

        Returns
        -------
        Completed
            ``status`` (0 to 255; a signal's number + 128) and ``output`` (bytes, standard output and error in order).
        """
        return self.start_command(command, stdin).wait(timeout, on_output)

    def start_command(self, command: str, stdin: bytes = b"") -> Running:
        """The same without waiting."""
        self._not_silent()
        return self.agent.start(command, stdin=stdin)

    def _not_silent(self) -> None:
        if self._held() or self._paused or not self.running:
            raise StateError(self.why_silent())

    def put(self, source: bytes | str | os.PathLike[str], path: str, mode: int | None = None) -> int:
        """Copy bytes, or a file of this computer, into the guest; how many bytes. A file keeps its mode."""
        data, own_mode = file_to_put(source)
        self._not_silent()
        self.agent.put(data, path, own_mode if mode is None else mode)
        return len(data)

    def get(self, path: str) -> bytes:
        """A file of the guest's."""
        self._not_silent()
        return self.agent.get(path)

    def console(self) -> str:
        """What serial port 1 has said, as text; the last 16 MiB of it."""
        return read_end(self.place.console_log)

    def console_tail(self, lines: int = 20) -> str:
        """The last lines of it."""
        return console_end(read_end(self.place.console_log, 256 << 10), lines)

    def __repr__(self) -> str:
        o = self.options
        what = f"{o.accelerator}, {o.ram >> 20} MiB, {o.cpus} CPU{'s' if o.cpus > 1 else ''}"
        pid = f", QEMU {self._process.pid}" if self._process is not None and self.running else ""
        return f"<VM: {self.state}, {what}{pid}>"


def file_to_put(source: bytes | str | os.PathLike[str]) -> tuple[bytes, int]:
    """What is to be copied into a guest, and the mode that it has."""
    if isinstance(source, bytes):
        return source, 0o644
    file = Path(source).expanduser()
    try:
        return file.read_bytes(), file.stat().st_mode & 0o777
    except OSError as error:
        raise UsageError(f"{error.strerror}: {file}") from None


def console_end(text: str, lines: int) -> str:
    """The last lines of what a console said, without what only a terminal understands."""
    return "\n".join(plain(text).rstrip().splitlines()[-lines:])


def plain(text: str) -> str:
    """What a console said, without what only a terminal understands."""
    return _ESCAPES.sub("", text.replace("\r", ""))
