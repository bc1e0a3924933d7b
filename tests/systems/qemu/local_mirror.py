"""A Debian mirror on this computer, made of what the session's cache fetched: real packages, real signatures."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class LocalMirror:
    """Serves ``dists`` and ``pool``; may hold an answer in the middle, spoil one, and knows what was asked for.

    Attributes
    ----------
    requested : list of tuple
        Path and ``Range`` header of every request.
    hold : str
        Answers for paths that contain it stop half-way until ``release`` is set; ``held`` says that one did.
    spoil : str
        Answers for paths that contain it have one byte changed.
    """

    def __init__(self, apt: Path) -> None:
        self.requested: list[tuple[str, str]] = []
        self.hold = self.spoil = ""
        self.held, self.release = threading.Event(), threading.Event()
        self._files: dict[str, Path | bytes] = {}
        for path in (apt / "state" / "lists").iterdir():
            match = re.search(r"_dists_([\w.-]+?)_(?:InRelease$|main_binary-amd64_Packages)", unquote(path.name))
            if match and path.name.endswith("InRelease"):
                self._files[f"/dists/{match[1]}/InRelease"] = path.read_bytes()
            elif match:
                helper = ["/usr/lib/apt/apt-helper", "cat-file", str(path)]
                index = subprocess.run(helper, capture_output=True, check=True).stdout
                folder = f"/dists/{match[1]}/main/binary-amd64"
                self._files[f"{folder}/Packages"] = index
                self._files[f"{folder}/by-hash/SHA256/{hashlib.sha256(index).hexdigest()}"] = index
        for path in (apt / "cache" / "archives").glob("*.deb"):
            name, version, architecture = path.name.split("_")
            self._files[f"{name}_{unquote(version).rpartition(':')[2]}_{architecture}"] = path
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mirror", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/debian"

    def debs(self) -> list[str]:
        """Names of the packages that were asked for, in order."""
        return [path.rpartition("/")[2] for path, _ in self.requested if path.endswith(".deb")]

    def close(self) -> None:
        """From now on nobody answers."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _find(self, path: str) -> bytes | None:
        place = path.partition("/debian")[2]
        found = self._files.get(place.rpartition("/")[2] if place.startswith("/pool/") else place)
        data = found.read_bytes() if isinstance(found, Path) else found
        if data is not None and self.spoil and self.spoil in path:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        return data

    def _handler(mirror) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)  # a proxy's request has the whole address
                wanted = self.headers.get("Range", "")
                mirror.requested.append((path, wanted))
                data = mirror._find(path)
                if data is None:
                    self.send_error(404)
                    return
                if self.headers.get("If-Modified-Since") and not wanted:
                    self.send_response(304)
                    self.end_headers()
                    return
                start = int(match[1]) if (match := re.match(r"bytes=(\d+)-", wanted)) else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data) - start))
                self.send_header("Last-Modified", "Sat, 01 Aug 2026 00:00:00 GMT")
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                try:
                    if mirror.hold and mirror.hold in path and not mirror.release.is_set():
                        half = start + (len(data) - start) // 2
                        self.wfile.write(data[start:half])
                        mirror.held.set()
                        mirror.release.wait()
                        start = half
                    self.wfile.write(data[start:])
                except OSError:  # whoever asked was killed
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler
