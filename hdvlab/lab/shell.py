"""A shell command in a VM's guest: what it said, how it ended, and its rows."""

from __future__ import annotations

from hdvlab.lab.run import Recorded, Run


class ShellRun(Run):
    """A stretch of the lab's trace while a command ran in the guest.

    Attributes
    ----------
    command : str
        What was run.
    status : int, optional
        Its exit status, 0 to 255; None while it runs, or where its end is not known.
    output : bytes
        What it wrote to standard output and standard error, in order.
    """

    def __init__(self, lab: Recorded, name: str, command: str) -> None:
        super().__init__(lab, name)
        self.command = command
        self.status: int | None = None
        self.output = b""

    @property
    def text(self) -> str:
        """The output as text; bytes that are no UTF-8 are shown as such."""
        return self.output.decode(errors="backslashreplace")

    def __repr__(self) -> str:
        end = "its end is not known" if self.status is None else f"status {self.status}"
        return f"{super().__repr__()[:-1]}; {end}>"
