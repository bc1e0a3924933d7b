"""``python -m hdvlab.host``: what :func:`hdvlab.host.start` starts, in a session of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve, as a process that nobody waits for; whoever started it reads one line that says how it went."""
    parser = argparse.ArgumentParser(prog="python -m hdvlab.host")
    parser.add_argument("--name", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True, help="descriptor that is told when clients may come")
    parser.add_argument("--machine", default="embedded")
    parser.add_argument("--ram", type=int)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--lease", type=float, default=600.0)
    options = parser.parse_args()
    if os.fork():  # the child belongs to nobody: whoever started us need not outlive it, nor wait for it
        os._exit(0)
    ready = options.ready
    try:
        from hdvlab.host.process import Host

        host = Host(
            options.name,
            machine=options.machine,
            ram=options.ram,
            trace=options.trace,
            lease=options.lease,
            directory=options.directory,
        )
    except BaseException as error:
        from hdvlab.host.wire import described_error

        _tell(ready, {"error": described_error(error)})
        return 1

    def tell_ready() -> None:
        if not _tell(ready, {"pid": os.getpid()}):
            host.end("its start was given up")

    host.serve(tell_ready)
    return 0


def _tell(descriptor: int, what: dict[str, Any]) -> bool:
    """Whether somebody is there to read it."""
    try:
        os.write(descriptor, json.dumps(what).encode() + b"\n")
        os.close(descriptor)
    except OSError:  # whoever started us is gone already, or wants us no more
        return False
    return True


if __name__ == "__main__":
    # What is still at work in a device's threads does not keep the process: the lab is closed, the trace whole.
    status = main()
    sys.stdout.flush()
    os._exit(status)
