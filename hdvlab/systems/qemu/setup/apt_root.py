"""An apt of our own: its state, cache and sources are in one folder, the system's are only read.

It needs no root rights, checks signatures against Debian's archive keyring, and takes over what the system's apt was
told about fetching (proxies, certificates, time-outs). Nothing is installed: apt resolves and downloads, no more.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from hdvlab.errors import BackendError, BackendUnavailableError, HResult
from hdvlab.systems.qemu.setup.progress import Progress

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = ("apt-get", "apt-cache", "apt-config", "dpkg-deb")
#: What apt is to take over from the system's configuration, and what it must not.
_TAKEN = re.compile(r"Acquire::")
_LEFT = re.compile(r"Acquire::(Allow\w*|Languages|GzipIndexes|IndexTargets|Changelogs|CompressionTypes|cdrom)\b")
_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")
#: apt sees this one package installed: it stands for what only an installation needs, and unpacked programs do not.
_STATUS = """\
Package: hdvlab
Status: install ok installed
Architecture: all
Version: 1
Maintainer: hdvlab
Description: nothing
Provides: initramfs-tools (= 99), linux-initramfs-tool, linux-base (= 99), kmod, adduser, passwd, systemd, udev
"""
#: So little space for so long means that apt will not go on.
_FULL_BYTES = 64 << 10
_FULL_S = 2.0
_BY_HAND = (
    "or by hand: QEMU 10.1.1 or later (Fedora: dnf install qemu-system-x86; Arch: pacman -S qemu-system-x86; "
    "openSUSE: zypper install qemu-x86), a Linux kernel and a static busybox (Fedora: dnf install busybox; Arch: "
    "pacman -S busybox), and say where: HDVLAB_QEMU=/usr/bin/qemu-system-x86_64 HDVLAB_KERNEL=/boot/vmlinuz-... "
    "HDVLAB_MODULES=/lib/modules/... HDVLAB_BUSYBOX=/usr/bin/busybox"
)


@dataclass(frozen=True)
class Package:
    """One package to be fetched.

    Attributes
    ----------
    name, version : str
        As Debian writes them.
    size : int
        Bytes of the archive file.
    sha256 : str
        Of the archive file, from the signed index.
    file : Path
        Where it is once it was fetched.
    """

    name: str
    version: str
    size: int
    sha256: str
    file: Path

    def is_whole(self) -> bool:
        """Whether the file is there and is what the index says."""
        try:
            with self.file.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def missing_programs() -> str:
    """Why there can be no apt root here, or an empty string."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"no {' and no '.join(lacking)} here"
    if not KEYRING.exists():
        return f"{KEYRING} is missing"
    return ""


def require_programs() -> None:
    """Raise :class:`~hdvlab.errors.BackendUnavailableError` where there can be no apt root, saying what to do."""
    if lacking := missing_programs():
        advice = "apt install debian-archive-keyring" if "keyring" in lacking else "hdvlab fetches with Debian's apt"
        raise BackendUnavailableError(f"QEMU and a kernel cannot be fetched: {lacking}; {advice}; {_BY_HAND}")


class AptRoot:
    """apt with everything of its own under ``folder``.

    Parameters
    ----------
    folder : Path
        Made if it is not there; may be removed at any time, then everything is fetched anew.
    mirror : str
        Address of a Debian mirror, without a slash at the end.
    suites : sequence of str
        What to take from it; the first is the default, of the others only what is asked for by name.
    lock : int
        Descriptor that apt inherits, so that it is not forgotten when this process is killed.
    """

    def __init__(self, folder: Path, mirror: str, suites: Sequence[str], lock: int) -> None:
        self.folder = folder
        self.mirror = mirror
        self.suites = tuple(suites)
        self.archives = folder / "cache" / "archives"
        self._lists = folder / "state" / "lists"
        self._lock = lock
        for needed in ("etc/parts", "state/lists/partial", "cache/archives/partial", "none/partial", "log"):
            (folder / needed).mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").write_text(_STATUS)
        (folder / "etc" / "sources.list").write_text(
            "".join(f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n" for suite in suites)
        )
        (folder / "apt.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        system = _system_configuration()
        root = self.folder
        own = {
            "Dir": f"{root}/",
            "Dir::Etc": f"{root}/etc/",
            "Dir::Etc::parts": "parts",
            "Dir::Etc::sourceparts": "parts",
            "Dir::Etc::preferencesparts": "parts",
            "Dir::Etc::trustedparts": "parts",
            "Dir::State": f"{root}/state/",
            "Dir::State::status": f"{root}/state/status",
            "Dir::Cache": f"{root}/cache/",
            "Dir::Cache::srcpkgcache": "",  # the other one is enough
            "Dir::Log": f"{root}/log",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Default-Release": self.suites[0],
            "APT::Install-Recommends": "false",
            # As root, apt would fetch as the user _apt, whom a home directory does not let in.
            "APT::Sandbox::User": "",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "true",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowWeakRepositories": "false",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "Acquire::Retries": "2",
        }
        return "".join(line + "\n" for line in system) + "".join(f'{name} "{value}";\n' for name, value in own.items())

    def has_lists(self) -> bool:
        """Whether every suite's index was fetched once, from this mirror."""
        stem = re.sub(r"^https?://", "", self.mirror).replace("/", "_")
        held = [unquote(path.name) for path in self._lists.glob("*InRelease")]
        return all(f"{stem}_dists_{suite}_InRelease" in held for suite in self.suites)

    def update(self, progress: Progress) -> None:
        """Fetch the indexes and check their signatures.

        Raises
        ------
        BackendError
            What apt said.
        """
        for rest in (self._lists / "partial").glob("*InRelease*"):
            rest.unlink()  # one that was refused would be asked for again only if it changed since
        self._run(["apt-get", "update"], f"reading what {', '.join(self.suites)} have", 0, progress)

    def resolve(self, names: Sequence[str], *, suite: str) -> list[Package]:
        """Which packages ``names`` need, all counted: nothing is taken from the system."""
        # apt names only what it does not have, so it is shown an empty place.
        nothing = ["-o", f"Dir::Cache::archives={self.folder}/none/", "-o", "Acquire::ForceHash=SHA256"]
        output = self._ask([*_INSTALL, *nothing, "--print-uris", "-qq", "-t", suite, *names])
        found = []
        for line in output.splitlines():
            match = re.match(r"'[^']+' (\S+) (\d+) SHA256:([0-9a-f]{64})$", line)
            if match:
                name, version, _ = match[1].removesuffix(".deb").split("_")
                found.append(Package(name, unquote(version), int(match[2]), match[3], self.archives / match[1]))
        if not found:
            raise BackendError(f"apt finds nothing to fetch for {' '.join(names)} in {suite} of {self.mirror}")
        return found

    def fetch(self, names: Sequence[str], packages: Sequence[Package], *, suite: str, progress: Progress) -> None:
        """Download what ``names`` resolved to and is not there yet, going on where an earlier one stopped."""
        lacking = [one for one in packages if not one.is_whole()]
        if not lacking:
            return
        for one in lacking:
            one.file.unlink(missing_ok=True)
        step = f"fetching {' and '.join(names)}"
        self._run([*_INSTALL, "--download-only", "-t", suite, *names], step, sum(one.size for one in lacking), progress)
        for one in lacking:
            if not one.is_whole():
                one.file.unlink(missing_ok=True)
                raise BackendError(f"{one.file.name} is not what {self.mirror} has signed; try hdvlab vm setup again")

    def close(self) -> None:
        """Remove what is quickly made anew: 60 MB of parsed indexes."""
        (self.folder / "cache" / "pkgcache.bin").unlink(missing_ok=True)

    def _ask(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=self._environment()
        )
        if done.returncode:
            raise self._complaint(command, done.stderr)
        return done.stdout

    def _run(self, command: Sequence[str], step: str, total: int, progress: Progress) -> None:
        progress(step, 0, total)
        log = self.folder / "log" / "apt"
        with log.open("w") as output:
            running = subprocess.Popen(
                [*command, "-q"],
                cwd=self.archives,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lock,),
            )
            try:
                before = self._held()
                full_since: float | None = None
                while True:
                    try:
                        running.wait(0.1)
                        break
                    except subprocess.TimeoutExpired:
                        progress(step, min(self._held() - before, total), total)
                    full_since = (full_since or time.monotonic()) if self._is_full() else None
                    if full_since is not None and time.monotonic() - full_since > _FULL_S:
                        raise self._no_space(command)  # apt's checker of signatures would wait for ever
            except BaseException:
                running.terminate()  # it keeps what it has in partial/
                running.wait()
                raise
        if running.returncode:
            raise self._complaint(command, log.read_text(errors="replace"))
        progress(step, total, total)

    def _held(self) -> int:
        total = 0
        for place in (self.archives, self.archives / "partial"):
            for entry in os.scandir(place):
                try:
                    total += entry.stat().st_size if entry.is_file() else 0
                except FileNotFoundError:  # renamed meanwhile
                    continue
        return total

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "APT_CONFIG": str(self.folder / "apt.conf"),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
        }

    def _complaint(self, command: Sequence[str], output: str) -> BackendError:
        lines = [line for line in output.splitlines() if re.match(r"(E|W|Err|N):?", line)] or output.splitlines()[-3:]
        said = "; ".join(dict.fromkeys(line.strip() for line in lines[:4]))
        if re.search(r"No space left|enough free space", output):
            return self._no_space(command)
        return BackendError(
            f"apt could not use {self.mirror}: {said}; when it is reachable, hdvlab vm setup goes on; another mirror: "
            "hdvlab vm setup --mirror URL",
            operation=" ".join(command[:2]),
        )

    def _is_full(self) -> bool:
        left = os.statvfs(self.folder)
        return left.f_bavail * left.f_frsize < _FULL_BYTES

    def _no_space(self, command: Sequence[str]) -> BackendError:
        return BackendError(
            f"no space left in {self.folder}; make room or set HDVLAB_CACHE to a roomier place, then run hdvlab vm "
            "setup again: what was downloaded is kept",
            HResult.ERROR_DISK_FULL,
            " ".join(command[:2]),
        )


def _system_configuration() -> list[str]:
    """What the system's apt was told about fetching, as lines of configuration."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in done.stdout.splitlines() if _TAKEN.match(line) and not _LEFT.match(line)]
    places = subprocess.run(
        ["apt-config", "shell", "file", "Dir::Etc::netrc/f", "folder", "Dir::Etc::netrcparts/d"],
        capture_output=True, text=True, errors="replace", check=False,
    ).stdout  # fmt: skip
    for name, key in (("file", "netrc"), ("folder", "netrcparts")):
        match = re.search(rf"^{name}='([^']*)'", places, re.MULTILINE)
        if match and os.access(match[1], os.R_OK):  # credentials for proxies and mirrors
            lines.append(f'Dir::Etc::{key} "{match[1]}";')
    return lines
