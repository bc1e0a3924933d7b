"""A JupyterLab of its own: nothing of the person who runs it is read or written."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupyterlab
from jupyter_client.blocking.client import BlockingKernelClient

#: Longest wait for something that the server or the browser does, in seconds.
PATIENCE = 60.0

#: The kernel's name: this interpreter.
KERNEL = "hdvlab"

_PLACES = ("config", "data", "runtime", "ipython", "settings", "workspaces")


@dataclass
class Server:
    """A server that runs; ``root`` holds its notebooks."""

    base: str
    token: str
    root: Path
    runtime: Path

    def ask(self, path: str, method: str = "GET") -> Any:
        """The JSON that a path of the server's own interface answers."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.base + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def kernel_of(self, notebook: str) -> str:
        """The id of a notebook's kernel."""
        return str(next(one["kernel"]["id"] for one in self.ask("/api/sessions") if one["path"] == notebook))

    def end_kernels(self) -> None:
        """Shut down every kernel."""
        for session in self.ask("/api/sessions"):
            self.ask(f"/api/sessions/{session['id']}", "DELETE")

    @contextlib.contextmanager
    def client(self, notebook: str) -> Iterator[BlockingKernelClient]:
        """A line to a notebook's kernel beside the browser's."""
        client = BlockingKernelClient(connection_file=str(self.runtime / f"kernel-{self.kernel_of(notebook)}.json"))
        client.load_connection_file()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield client
        finally:
            client.stop_channels()


@contextlib.contextmanager
def jupyter_lab(root: Path, python_path: str = "") -> Iterator[Server]:
    """Start JupyterLab on a free port of the loopback interface; it and its kernels end with the block.

    Parameters
    ----------
    root : Path
        An empty folder, for the notebooks and everything that JupyterLab writes.
    python_path : str
        Where kernels find modules beside the installed ones.
    """
    home = root / "home"
    for name in _PLACES:
        (home / name).mkdir(parents=True)
    _write_settings(home)
    token, port = secrets.token_hex(16), _free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"),
        *("--expose-app-in-browser", "--JupyterNotebookApp.expose_app_in_browser=True"),
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    libc = ctypes.CDLL(None)
    log = root / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=_environment(home, python_path),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it is signalled with its kernels, and nothing else is
            preexec_fn=lambda: libc.prctl(1, signal.SIGTERM),  # PR_SET_PDEATHSIG: it dies with whoever was killed
        )
    server = Server(f"http://127.0.0.1:{port}", token, root, home / "runtime")
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab does not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(server: Server) -> bool:
    try:
        server.ask("/api/status")
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(home: Path, python_path: str) -> dict[str, str]:
    # Where JupyterLab is installed its widgets' front end is, which need not be this interpreter's prefix.
    prefix = Path(jupyterlab.__file__).parents[4]
    return {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PATH": str(prefix / "share/jupyter"),
        "JUPYTER_CONFIG_PATH": str(prefix / "etc/jupyter"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_PLATFORM_DIRS": "0",
        "PYTHONPATH": python_path,
    }


def _write_settings(home: Path) -> None:
    settings = home / "settings/@jupyterlab"
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "apputils-extension").mkdir(parents=True)
    (settings / "apputils-extension/notification.jupyterlab-settings").write_text(json.dumps(quiet))
    kernel = home / f"data/kernels/{KERNEL}"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "hdvlab", "language": "python"}))
