"""Which Debian mirror to use: the one that the system's apt uses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hdvlab.errors import BackendUnavailableError, UsageError

#: Suites of Debian, by code name and by state; security archives are not mirrors of the main one.
_DEBIAN = re.compile(
    r"(stretch|buster|bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable)"
    r"(-updates|-proposed-updates|-backports(-sloppy)?)?/?"
)


def debian_mirrors() -> list[str]:
    """Mirrors of Debian in the sources of the system's apt, in their order, without a slash at the end.

    apt itself reads its sources, one-line or deb822. Only ``http`` and ``https`` count; ``mirror+file`` is followed.
    """
    lines = _apt_targets().splitlines()
    found: list[str] = []
    for line in lines:
        address, _, suite = line.partition("|")
        if not _DEBIAN.fullmatch(suite.strip()):
            continue
        for one in _followed(address.strip()):
            if one not in found:
                found.append(one)
    return found


def checked_mirror(address: str) -> str:
    """A mirror that a person gave, without a slash at the end.

    Raises
    ------
    UsageError
        It is no ``http`` or ``https`` address.
    """
    if not re.fullmatch(r"https?://[^\s\[\]\"']+", address):
        raise UsageError(f"{address!r} is no mirror; give the http or https address whose dists/ has Debian's suites")
    return address.rstrip("/")


def the_mirror(given: str | None) -> str:
    """``given``, else the first of :func:`debian_mirrors`.

    Raises
    ------
    BackendUnavailableError
        The system's apt knows no mirror of Debian.
    """
    if given is not None:
        return checked_mirror(given)
    known = debian_mirrors()
    if not known:
        raise BackendUnavailableError(
            "this system's apt uses no Debian mirror that could be taken; name one: hdvlab vm setup --mirror URL, "
            "where URL/dists/trixie is Debian's"
        )
    return known[0]


def _apt_targets() -> str:
    # Without release information it answers where the lists were never fetched, or were removed.
    wanted = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)|$(RELEASE)"]
    done = subprocess.run(wanted, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout


def _followed(address: str) -> Iterator[str]:
    if re.match(r"https?://", address):
        yield address.rstrip("/")
    elif address.startswith("mirror+file:"):
        path = Path("/" + address.removeprefix("mirror+file:").strip("/"))
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            if match := re.match(r"https?://\S+", line.strip()):
                yield match[0].rstrip("/")
