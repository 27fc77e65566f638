"""A bucket on the loopback: enough of S3's REST interface to write objects, list them and read ranges of them."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Bucket:
    """Objects by `bucket/key`, and what was written in which order."""

    objects: dict[str, bytes] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    refuse: str | None = None
    """Writing keys that hold this is answered with 403."""
    url: str = ""

    @property
    def storage(self) -> dict[str, Any]:
        """Options that lead any `s3://` URL here."""
        return {
            "s3://": {
                "endpoint": self.url,
                "access_key_id": "test",
                "secret_access_key": "test",
                "region": "us-east-1",
                "client_options": {"allow_http": True},
            }
        }

    def listing(self, bucket: str, prefix: str) -> bytes:
        """Answer of ListObjectsV2."""
        keys = sorted(name.partition("/")[2] for name in self.objects if name.startswith(f"{bucket}/{prefix}"))
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[f'{bucket}/{key}'])}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
            for key in keys
        )
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(keys)}</KeyCount>"
            f"<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ).encode()


@contextmanager
def serve_bucket() -> Iterator[Bucket]:
    """Serve an empty bucket of any name until the block ends."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Keep quiet."""

        def do_PUT(self) -> None:
            name = unquote(urlsplit(self.path).path).lstrip("/")
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if bucket.refuse is not None and bucket.refuse in name:
                self._reply(403, b"<Error><Code>AccessDenied</Code></Error>")
                return
            bucket.objects[name] = content
            bucket.written.append(name)
            self._reply(200, b"", {"ETag": _etag(content)})

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            name, query = unquote(parts.path).strip("/"), parse_qs(parts.query)
            if "list-type" in query:
                self._reply(200, bucket.listing(name, query.get("prefix", [""])[0]))
                return
            content = bucket.objects.get(name)
            if content is None:
                self._reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            headers = {"ETag": _etag(content), "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
            if found is None:
                self._reply(200, content, headers)
                return
            start = int(found[1])
            stop = min(int(found[2]) + 1 if found[2] else len(content), len(content))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            self._reply(206, content[start:stop], headers)

        def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bucket.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
