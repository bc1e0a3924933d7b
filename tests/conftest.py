"""What all tests share: no test may leave threads behind, and in CI none may be skipped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

#: Threads with these names are hdvlab's own; a test that leaves one behind leaks it.
_OURS = ("hdvlab-",)


#: Folders whose tests mostly wait, and long: for a VM, a browser, a kernel process.
_SLOW = ("vm", "browser", "notebooks", "host", "binder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests (pytest -n): the slow ones first, a file's in one process, for its VM is
    one, and those of the browser all in one, for so is the browser."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name not in _SLOW)
        for item in items:
            folder = item.path.parent.name
            item.add_marker(pytest.mark.xdist_group(folder if folder == "browser" else str(item.path)))


@pytest.fixture(autouse=True, scope="session")
def settings_are_the_tests_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody's remembered theme counts in tests, and none is changed; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDVLAB_CONFIG", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [t for t in threading.enumerate() if t not in before and t.name.startswith(_OURS)]:
        assert time.monotonic() < deadline, f"left running: {left}"
        left[0].join(0.1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A test skipped in CI is a test that does not run anywhere."""
    if os.environ.get("CI") != "true" or exitstatus:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI lets no test be skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
