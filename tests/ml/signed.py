"""A loopback cloud whose tokens expire after some requests: files of a directory as blobs, signed or 403."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

BLOBS = "https://account.blob.core.windows.net/container/"


class SignedFiles:
    """What the cloud gave, and when it lets tokens expire."""

    def __init__(self, directory: Path, every: int) -> None:
        self.directory, self.every = directory, every
        self.tokens = self.valid_from = self.refused = self.given = 0
        self.lock = threading.Lock()
        self.url = ""

    @property
    def storage(self) -> dict:
        """Options that lead to this cloud and its signer."""
        options = {"planetary-computer": True, "sas_url": f"{self.url}/token", "endpoint": f"{self.url}/account"}
        return {"https://account.blob.core.windows.net/": options}

    def sign(self) -> bytes:
        """Give a new token, which claims to last an hour."""
        with self.lock:
            self.tokens += 1
            expiry = datetime.now(UTC) + timedelta(hours=1)
            token = {"msft:expiry": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"), "token": f"sv=2024&sig=secret{self.tokens}"}
            return json.dumps(token).encode()

    def admits(self, query: str) -> bool:
        """Look at a request's token; every so many requests, all tokens given so far expire."""
        signature = re.search(r"secret(\d+)", query)
        with self.lock:
            if signature is None or int(signature[1]) < self.valid_from:
                self.refused += 1
                return False
            self.given += 1
            if self.given % self.every == 0:
                self.valid_from = self.tokens + 1
            return True


@contextmanager
def serve_signed(directory: Path, *, every: int) -> Iterator[SignedFiles]:
    """Serve until the block ends."""
    files = SignedFiles(directory, every)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            path, _, query = self.path.partition("?")
            if path.startswith("/token"):
                self.reply(200, files.sign())
            elif not files.admits(query):
                self.reply(403, b"signature expired")
            else:
                data = (directory / unquote(path).rsplit("/", 1)[1]).read_bytes()
                start, stop = map(int, re.findall(r"\d+", self.headers["Range"]))
                stop = min(stop + 1, len(data))
                self.reply(206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

        def reply(self, status, body, headers=()):
            self.send_response(status)
            fixed = {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
            for name, value in {"Content-Length": str(len(body)), **fixed, **dict(headers)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
