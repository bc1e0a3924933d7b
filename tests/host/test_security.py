"""Nobody but the user gets in, and nothing that comes over the socket ends a host."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hdvlab.errors import BackendError
from hdvlab.host import RemoteLab, attach, hosts, start
from hdvlab.host.places import runtime_directory, state_directory

from .conftest import wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def connected(lab: RemoteLab) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(Path(lab.host.socket).parent)  # the directory's name may be too long for a socket's path
    try:
        one.connect(Path(lab.host.socket).name)
    finally:
        os.chdir(here)
    one.settimeout(20)
    return one


def framed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def until_end(one: socket.socket) -> bytes:
    data = b""
    try:
        while part := one.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def test_directories_and_socket_are_the_users_alone(remote: RemoteLab) -> None:
    for path, mode in (
        (runtime_directory(), 0o700),
        (state_directory(), 0o700),
        (Path(remote.host.directory), 0o700),
        (Path(remote.host.socket), 0o600),
        (Path(remote.host.log), 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


@as_root
def test_another_user_is_not_let_in(remote: RemoteLab, places: Path) -> None:
    # Even where every directory and the socket are opened up by mistake, the peer's user decides.
    for path in (places / "run", runtime_directory()):
        path.chmod(0o755)
    Path(remote.host.socket).chmod(0o666)
    for parent in places.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o001)
    places.chmod(0o755)
    program = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('lab.sock'); s.settimeout(20)\n"
        "try: s.sendall(bytes([2, 0, 0, 0]) + b'{}'); print(len(s.recv(1)))\n"
        "except (ConnectionResetError, BrokenPipeError): print(0)\n"
    )
    words = [sys.executable, "-I", "-S", "-c", program, str(runtime_directory_unchecked(remote))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr
    wait_until(lambda: "of user 65534 was not let in" in Path(remote.host.log).read_text(), "the log says so")
    runtime_directory_unchecked(remote).chmod(0o700)
    remote.mark("goes on")


def runtime_directory_unchecked(lab: RemoteLab) -> Path:
    return Path(lab.host.socket).parent


@as_root
def test_a_runtime_directory_of_somebody_else_is_refused(places: Path) -> None:
    theirs = places / "run" / "hdvlab"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    with pytest.raises(BackendError, match="belongs to user 65534"):
        start("lab")
    assert list(theirs.iterdir()) == []


def test_a_runtime_directory_that_others_may_enter_is_refused(places: Path) -> None:
    (places / "run" / "hdvlab").mkdir()
    (places / "run" / "hdvlab").chmod(0o755)
    with pytest.raises(BackendError, match="others may enter it"):
        start("lab")


def test_a_link_in_the_runtime_directorys_place_is_refused(places: Path) -> None:
    (places / "elsewhere").mkdir(mode=0o700)
    (places / "run" / "hdvlab").symlink_to(places / "elsewhere")
    with pytest.raises(BackendError, match="it is a link"):
        start("lab")
    assert list((places / "elsewhere").iterdir()) == []


def test_a_link_in_the_state_directorys_place_is_refused(places: Path) -> None:
    (places / "elsewhere").mkdir(mode=0o700)
    (places / "state" / "hdvlab").symlink_to(places / "elsewhere")
    with pytest.raises(BackendError, match="it is a link"):
        hosts()
    (places / "state" / "hdvlab").unlink()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff" + b"x" * 100,
        struct.pack("<I", (64 << 20) + 1),
        struct.pack("<I", 0),
        framed(b"\x80\x04N."),
        framed(b"{" * 100000),
        framed(b"[1, 2]"),
        framed(b'{"id": 1, "request": "hello"'),
        framed(b"\xff\xfe{}"),
    ],
)
def test_garbage_cuts_off_who_sent_it_and_nobody_else(remote: RemoteLab, data: bytes) -> None:
    with connected(remote) as one:
        one.sendall(data)
        answer = until_end(one)
    assert b"error" in answer
    assert remote.mark("goes on") >= 0


def test_half_a_message_is_waited_for_and_its_end_is_the_end(remote: RemoteLab) -> None:
    with connected(remote) as one:
        one.sendall(struct.pack("<I", 1000) + b"{")
        assert remote.mark("goes on") >= 0
    assert remote.mark("goes on") >= 0


@pytest.mark.parametrize(
    "message",
    [
        b'{"id": 1}',
        b'{"id": 1, "request": 5}',
        b'{"id": [1], "request": "mark", "with": {"text": "x"}}',
        b'{"id": 1, "request": "hello", "with": {"version": 99}}',
        b'{"id": 1, "request": "hello", "with": {"version": "x", "pid": []}}',
        b'{"id": 1, "request": "__class__"}',
    ],
)
def test_what_is_no_request_is_answered_with_an_error(remote: RemoteLab, message: bytes) -> None:
    with connected(remote) as one:
        one.sendall(framed(message))
        answer = one.recv(65536)
    assert b'"error"' in answer
    assert remote.mark("goes on") >= 0


def test_requests_with_wrong_arguments_are_errors_and_the_host_goes_on(remote: RemoteLab) -> None:
    call = remote.connection.call
    for request, given in (
        ("nothing", {}),
        ("mark", {}),
        ("mark", {"text": 5}),
        ("plug", {"device": {}}),
        ("plug", {"device": {"kind": "source", "name": "X", "program": {}}}),
        ("plug", {"device": {"kind": "module", "name": "os:system"}}),
        ("plug", {"device": {"kind": "compiled", "path": "/etc/passwd"}}),
        ("peek", {"device": "x", "bar": 0, "offset": 0, "size": 4}),
        ("read", {"address": -1, "size": 4, "origin": 99, "pc": 0}),
        ("ram_read", {"address": 0, "size": 1 << 60}),
        ("vm_action", {"action": "__init__"}),
    ):
        with pytest.raises(Exception, match="."):
            call(request, **given)
    assert remote.mark("goes on") >= 0


def test_random_bytes_do_not_end_a_host(remote: RemoteLab) -> None:
    dice = random.Random(7)
    for _ in range(50):
        with connected(remote) as one:
            body = dice.randbytes(dice.randrange(40))
            one.sendall(framed(body) if dice.random() < 0.5 else body)
    assert remote.mark("goes on") >= 0
    with attach("lab") as other:
        assert other.mark("too") >= 0
