"""Set-ups of busybox and the guest's tools from a mirror on this computer; QEMU and kernel are named by hand."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab.errors import BackendError, HResult
from hdvlab.systems.qemu.setup import Installation, find, set_up

from ...vm.conftest import installation as installation
from .local_mirror import LocalMirror

pytestmark = pytest.mark.vm

SCRIPT = """
import os, signal, sys
from pathlib import Path
from hdvlab.errors import HdvError
from hdvlab.systems.qemu.setup import set_up
mirror, cache, die = sys.argv[1:]
told = ""
def progress(step, done, total):
    global told
    if step != told:
        told = step
        print(step, flush=True)
        if die and step.startswith(die):
            os.kill(os.getpid(), signal.SIGKILL)
try:
    set_up(progress=progress, mirror=mirror, cache=Path(cache))
except HdvError as error:
    print("error", error.symbol, error)
    sys.exit(1)
"""


@pytest.fixture
def mirror(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMirror]:
    qemu = ["env", *(f"{name}={value}" for name, value in installation.environment.items()), *installation.qemu]
    monkeypatch.setenv("HDVLAB_QEMU", shlex.join(qemu))
    monkeypatch.setenv("HDVLAB_KERNEL", str(installation.kernel))
    if not (installation.cache / "apt" / "state" / "lists").is_dir():
        set_up(cache=installation.cache)
    local = LocalMirror(installation.cache / "apt")
    yield local
    local.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Where nothing is."""
    return tmp_path / "cache"


@pytest.fixture
def cache(fresh: Path, mirror: LocalMirror, installation: Installation) -> Path:
    """A cache that has only the mirror's indexes, which apt takes ten times as long for as for all the rest."""
    lists = fresh / "apt" / "state" / "lists"
    lists.mkdir(parents=True)
    for path in (installation.cache / "apt" / "state" / "lists").glob("*_dists_*"):
        stem = mirror.address.removeprefix("http://").replace("/", "_")
        shutil.copy2(path, lists / f"{stem}_dists_{path.name.partition('_dists_')[2]}")
    return fresh


def start(mirror: str, cache: Path, *, die: str = "", before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", SCRIPT, mirror, str(cache), die]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def runs(found: Installation) -> bool:
    said = subprocess.run([str(found.busybox), "echo", "here"], capture_output=True, text=True, check=True).stdout
    return said == "here\n"


def files(cache: Path) -> set[str]:
    return {path.name for path in (cache / "trees").iterdir()}


def test_a_fresh_cache_is_filled_and_a_second_set_up_asks_nobody(mirror: LocalMirror, fresh: Path) -> None:
    assert find(fresh) is None
    found = set_up(mirror=mirror.address, cache=fresh)
    assert runs(found)
    assert found.extra("pciutils")["/usr/bin/lspci"].exists()
    asked = len(mirror.requested)
    assert set_up(mirror=mirror.address, cache=fresh) == found == find(fresh)
    assert len(mirror.requested) == asked


def test_a_download_that_was_killed_goes_on_where_it_stopped(mirror: LocalMirror, cache: Path) -> None:
    mirror.hold = "libc6_"
    first = start(mirror.address, cache)
    assert mirror.held.wait(60)
    archives = cache / "apt" / "cache" / "archives"
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size for path in archives.glob("**/libc6_*")):
        assert time.monotonic() < deadline, "apt wrote nothing of what it was sent"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    mirror.release.set()
    assert find(cache) is None
    assert runs(set_up(mirror=mirror.address, cache=cache))
    ranges = [wanted for path, wanted in mirror.requested if "libc6_" in path]
    assert ranges[0] == ""
    assert ranges[-1].startswith("bytes=")
    assert ranges[-1] != "bytes=0-"


def test_an_apt_whose_set_up_was_killed_is_waited_for(mirror: LocalMirror, cache: Path) -> None:
    mirror.hold = "libc6_"
    first = start(mirror.address, cache)
    assert mirror.held.wait(60)
    first.kill()
    first.wait()
    second = start(mirror.address, cache)
    assert second.stdout is not None
    assert second.stdout.readline().startswith("waiting for another set-up")
    mirror.release.set()
    second.communicate()
    assert second.returncode == 0
    assert first.stdout is not None
    first.stdout.close()
    assert len(mirror.debs()) == len(set(mirror.debs()))


@pytest.mark.parametrize("step", ["reading", "fetching", "unpacking busybox", "unpacking tools"])
def test_a_set_up_that_was_killed_at_a_step_is_finished_by_the_next(
    mirror: LocalMirror, cache: Path, step: str
) -> None:
    first = start(mirror.address, cache, die=step)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert find(cache) is None or step == "unpacking tools"  # a guest boots without its tools
    assert runs(set_up(mirror=mirror.address, cache=cache))
    assert {name.partition("-")[0] for name in files(cache)} == {"busybox", "tools"}
    assert len(mirror.debs()) == len(set(mirror.debs()))


def test_of_two_set_ups_at_once_the_second_waits_and_says_so(mirror: LocalMirror, cache: Path) -> None:
    mirror.hold = "busybox-static_"
    first = start(mirror.address, cache)
    assert mirror.held.wait(60)
    second = start(mirror.address, cache)
    assert second.stdout is not None
    assert second.stdout.readline() == f"waiting for another set-up to end (process {first.pid})\n"
    mirror.release.set()
    assert (first.communicate(timeout=120)[1], first.returncode) == (None, 0)
    assert second.communicate(timeout=120)[0] == ""
    assert second.returncode == 0
    assert len(mirror.debs()) == len(set(mirror.debs()))


def test_offline_what_was_fetched_before_is_used(mirror: LocalMirror, cache: Path) -> None:
    set_up(mirror=mirror.address, cache=cache)
    shutil.rmtree(cache / "trees")
    mirror.close()
    told: list[str] = []
    assert runs(set_up(mirror=mirror.address, cache=cache, progress=lambda step, *_: told.append(step)))
    assert f"{mirror.address} cannot be reached: going on with what was fetched before" in told


def test_offline_with_nothing_fetched_the_error_says_what_to_do(mirror: LocalMirror, fresh: Path) -> None:
    mirror.close()
    with pytest.raises(BackendError, match=r"apt could not use .*when it is reachable.*--mirror URL"):
        set_up(mirror=mirror.address, cache=fresh)


def test_a_damaged_tree_is_not_used_and_is_made_anew(mirror: LocalMirror, cache: Path) -> None:
    found = set_up(mirror=mirror.address, cache=cache)
    found.busybox.write_bytes(b"")
    asked = len(mirror.debs())
    assert find(cache) is None
    assert runs(set_up(mirror=mirror.address, cache=cache))
    assert len(mirror.debs()) == asked


def test_a_changed_byte_is_found_by_the_next_set_up(mirror: LocalMirror, cache: Path) -> None:
    found = set_up(mirror=mirror.address, cache=cache)
    good = found.busybox.read_bytes()
    found.busybox.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    set_up(mirror=mirror.address, cache=cache)
    assert found.busybox.read_bytes() == good


@pytest.mark.parametrize("what", ["InRelease", "Packages", "busybox-static_"])
def test_what_was_changed_on_its_way_is_refused(mirror: LocalMirror, fresh: Path, what: str) -> None:
    mirror.spoil = "by-hash" if what == "Packages" else what
    with pytest.raises(BackendError, match="apt could not use"):
        set_up(mirror=mirror.address, cache=fresh)
    assert find(fresh) is None
    mirror.spoil = ""
    assert runs(set_up(mirror=mirror.address, cache=fresh))


def test_the_proxy_of_the_systems_apt_is_used(
    mirror: LocalMirror, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Acquire::http::Proxy "{mirror.address.removesuffix("debian")}";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    monkeypatch.delenv("http_proxy", raising=False)
    assert runs(set_up(mirror="http://mirror.invalid/debian", cache=fresh))


def test_a_full_disk_is_said_and_leaves_no_half_tree(mirror: LocalMirror, fresh: Path) -> None:
    ways = [("unshare", "-rm"), ("unshare", "-m"), ("sudo", "-n", "unshare", "-m")]
    probe = ["mount", "-t", "tmpfs", "none", str(fresh)]
    fresh.mkdir()
    works = [way for way in ways if shutil.which(way[0])]
    works = [way for way in works if subprocess.run([*way, *probe], capture_output=True, check=False).returncode == 0]
    if not works:
        pytest.skip("no file system can be mounted here: neither as root nor with user namespaces")
    mount = f'mount -t tmpfs -o size=3M none "{fresh}" && exec "$@"'
    done = start(mirror.address, fresh, before=(*works[0], "sh", "-c", mount, "sh"))
    said = done.communicate()[0].splitlines()[-1]
    assert said.startswith(f"error {HResult.ERROR_DISK_FULL.name} ")
    assert "set HDVLAB_CACHE to a roomier place" in said
