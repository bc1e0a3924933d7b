"""The system's apt reads sources of ours; without apt there is nothing to ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hdvlab.errors import BackendUnavailableError, UsageError
from hdvlab.systems.qemu.setup import set_up
from hdvlab.systems.qemu.setup.mirror import debian_mirrors, the_mirror


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here; on Debian it is always there")
    for folder in ("sources.list.d", "lists", "cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / "status").touch()
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "{tmp_path}/sources.list.d";\n'
        f'Dir::State::lists "{tmp_path}/lists";\nDir::State::status "{tmp_path}/status";\n'
        f'Dir::Cache "{tmp_path}/cache";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    return tmp_path


def test_one_line_sources_are_read(sources: Path) -> None:
    (sources / "sources.list").write_text(
        "# deb http://commented.example/debian trixie main\n"
        "deb https://other.example/apt nodistro main\n"
        "deb http://security.example/debian-security trixie-security main\n"
        "deb [arch=amd64] http://one.example/debian/ bookworm main contrib\n"
        "deb http://one.example/debian bookworm-updates main\n"
        "deb https://two.example/debian sid main\n"
    )
    assert debian_mirrors() == ["http://one.example/debian", "https://two.example/debian"]
    assert the_mirror(None) == "http://one.example/debian"


def test_deb822_sources_are_read(sources: Path) -> None:
    (sources / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\nEnabled: no\n\n"
        "Types: deb deb-src\nURIs: https://on.example/debian/\nSuites: trixie trixie-updates\nComponents: main\n"
    )
    assert debian_mirrors() == ["https://on.example/debian"]


def test_a_file_of_mirrors_is_followed_and_what_is_no_web_address_is_not_taken(sources: Path) -> None:
    (sources / "mirrors").write_text("# first\nhttps://listed.example/debian/ priority:1\n")
    (sources / "sources.list").write_text(
        f"deb mirror+file:{sources}/mirrors trixie main\n"
        "deb cdrom:[Debian]/ trixie main\ndeb file:/srv/debian trixie main\n"
    )
    assert debian_mirrors() == ["https://listed.example/debian"]


def test_without_a_mirror_it_says_how_to_name_one(sources: Path) -> None:
    (sources / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    with pytest.raises(BackendUnavailableError, match="--mirror URL"):
        the_mirror(None)
    assert the_mirror("https://named.example/debian/") == "https://named.example/debian"


@pytest.mark.parametrize("address", ["ftp://a/debian", "debian", 'http://a/"; x "', "http://a/ b"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no mirror"):
        the_mirror(address)


def test_without_apt_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailableError, match=r"no apt-get .*dnf install qemu-system-x86.*HDVLAB_KERNEL"):
        set_up(cache=tmp_path / "cache")
