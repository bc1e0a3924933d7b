from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab import cli


def test_an_empty_cache_is_said_with_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["vm", "--cache", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"guest kernel   not in {tmp_path}" in printed
    assert "hdvlab vm setup brings what is missing" in printed


def test_a_mirror_without_setup_and_what_is_no_mirror_are_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["vm", "--mirror", "http://one.example/debian"]) == 2
    assert "hdvlab vm setup --mirror URL" in capsys.readouterr().err
    assert cli.main(["vm", "status", "extra"]) == 2
