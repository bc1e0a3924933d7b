"""A real IPython shell, and a real kernel, with hdvlab loaded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from hdvlab import commands

BLINK = """
from hdvlab import Bar, Device, Register
class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001
    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
    @bar0.CTRL.on_write
    def ctrl(self, value):
        self.bar0.COUNT += value & 1
"""


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """A shell that has run ``%load_ext hdvlab``, and unloads it at the end."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    one = InteractiveShell.instance(config=config)
    one.run_cell("%load_ext hdvlab").raise_error()
    yield one
    one.run_cell("%unload_ext hdvlab")
    commands.close_lab()
    one.reset(new_session=False)
    InteractiveShell.clear_instance()


@pytest.fixture
def blinking(shell: InteractiveShell) -> InteractiveShell:
    """The shell with a device plugged in."""
    shell.run_cell(BLINK).raise_error()
    shell.run_cell("%hdv plug Blink").raise_error()
    return shell
