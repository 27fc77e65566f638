"""A loopback HTTP server with ranges for the demo: no listings, no `//`, every request counted."""

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")


class Served:
    """A running server.

    Parameters
    ----------
    directory
        What is served.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.requests: Counter[str] = Counter()
        """Requests by kind of file: `tif`, `parq`, …"""
        self.bytes = 0
        """Bytes of bodies."""
        self.url = ""
        self._lock = threading.Lock()

    def count(self, path: str, size: int) -> None:
        """Note one answered request."""
        with self._lock:
            self.requests[path.rpartition(".")[2]] += 1
            self.bytes += size

    def take(self) -> tuple[int, int]:
        """Return requests and bytes since the last call."""
        with self._lock:
            taken = sum(self.requests.values()), self.bytes
            self.requests.clear()
            self.bytes = 0
        return taken


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Served]:
    """Serve a directory on a free port of the loopback until the block ends."""
    served = Served(directory)

    class Handler(_Handler):
        state = served

    server = _Server(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """A thread a connection."""

    request_queue_size = 128
    """Connections that may wait. With the standard library's 5, Linux drops those that come at once to a busy machine,
    and they are tried again after 1, 3, 7, … seconds."""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, whole or by range (RFC 9110 section 14)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Head and body are sent one after the other: the body would wait for the head's acknowledgement."""
    state: Served

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without one."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: the demo prints counts."""

    def _answer(self, *, with_body: bool) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        path = self.state.directory / name
        if "//" in self.path or ".." in name.split("/") or not path.is_file():
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        start, stop = 0, size
        asked = _RANGE.match(self.headers.get("Range", ""))
        if asked is not None:
            start = int(asked[1])
            stop = min(size, int(asked[2]) + 1) if asked[2] else size
            if start >= stop:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
        self.send_response(HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT)
        if asked is not None:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size:x}-{path.stat().st_mtime_ns:x}"')
        self.end_headers()
        self.state.count(name, stop - start if with_body else 0)
        if with_body:
            with path.open("rb") as file:
                file.seek(start)
                self.wfile.write(file.read(stop - start))

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.state.count(self.path, 0)
