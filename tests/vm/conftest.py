"""What tests with a virtual machine share. The cache is ``$HDVLAB_CACHE``, else the user's, so it is filled once."""

from __future__ import annotations

import pytest

from hdvlab.systems.qemu.setup import Installation, find, set_up


@pytest.fixture(scope="session")
def installation() -> Installation:
    """QEMU, kernel and busybox; fetched where they are not there yet."""
    return find() or set_up()
