"""Ends a VM whose devices' process is gone and whom nobody has missed for the time of its lease.

A process of its own beside the VM, started by that process with ``python -I -S keeper.py HOST VM LEASE LEASE_FILE
[DIRECTORY]``: it imports next to nothing and holds both processes by descriptors, so that no number that is used again
can mislead it. It ends with the VM.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time


def main(words: list[str]) -> int:
    """Wait for the end of the VM; after the host's, for as long as the lease is."""
    host, vm, lease, lease_file = int(words[0]), int(words[1]), float(words[2]), words[3]
    try:
        vm_end = os.pidfd_open(vm)
    except ProcessLookupError:
        return 0
    try:
        host_end = os.pidfd_open(host)
    except ProcessLookupError:  # it died before we came
        host_end = -1
    began = time.time()
    if host_end >= 0:
        ready = select.select([host_end, vm_end], [], [])[0]
        if vm_end in ready:
            return 0
        began = time.time()
    while True:
        try:
            touched = max(began, os.stat(lease_file).st_mtime)
        except OSError:
            touched = began
        left = touched + lease - time.time()
        if left <= 0:
            break
        if select.select([vm_end], [], [], min(left, 60.0))[0]:
            break
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        signal.pidfd_send_signal(vm_end, signal.SIGKILL)
    for directory in words[4:]:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
