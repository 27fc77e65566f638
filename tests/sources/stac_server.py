"""A tiny STAC API on the loopback: pages, and misbehaves on request; it never answers more than 300 requests."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
]
MOST_REQUESTS = 300


@dataclass
class Api:
    """What the server has, what it was asked, and how it misbehaves."""

    items: list[dict[str, Any]]
    documents: dict[str, bytes] = field(default_factory=dict)
    page: int = 10
    searches: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Answered first, one a search; then it behaves."""
    always: int | None = None
    repeat: bool = False
    """Gives its first page again and again, always with a link to a next one."""
    body: Callable[[dict[str, Any]], bytes] | None = None
    url: str = ""

    def answer(self, path: str, query: dict[str, Any]) -> tuple[int, bytes]:
        self.paths.append(path)
        if len(self.paths) > MOST_REQUESTS:
            return 410, b"too many requests in a test"
        if path.lstrip("/") in self.documents:
            return 200, self.documents[path.lstrip("/")]
        if path in {"/v1", "/v1/"}:
            return 200, json.dumps(self.landing()).encode()
        if path == "/v1/collections/things":
            return 200, json.dumps(self.collection()).encode()
        if path == "/v1/search":
            return self.search(query)
        return 404, b'{"code": "NotFound", "description": "no such thing"}'

    def landing(self) -> dict[str, Any]:
        links = [
            {"rel": "self", "href": self.url},
            {"rel": "root", "href": self.url},
            {"rel": "search", "href": self.url + "/search", "type": "application/geo+json", "method": "GET"},
            {"rel": "search", "href": self.url + "/search", "type": "application/geo+json", "method": "POST"},
        ]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "tiny",
            "description": "tiny",
            "conformsTo": CONFORMS,
            "links": links,
        }

    def collection(self) -> dict[str, Any]:
        return {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "things",
            "description": "things",
            "license": "CC-BY-4.0",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [
                {"rel": "root", "href": self.url},
                {"rel": "items", "href": self.url + "/collections/things/items"},
            ],
        }

    def search(self, query: dict[str, Any]) -> tuple[int, bytes]:
        self.searches.append(query)
        if self.always is not None:
            return self.always, b'{"description": "busy"}'
        if self.statuses:
            return self.statuses.pop(0), b'{"description": "busy"}'
        if self.body is not None:
            return 200, self.body(query)
        start = 0 if self.repeat else int(query.get("token", 0))
        features = self.items[start : start + self.page]
        links = []
        if self.repeat or start + self.page < len(self.items):
            token = str(start + self.page) if not self.repeat else str(len(self.searches))
            body = {**query, "token": token}
            links.append({"rel": "next", "href": self.url + "/search", "method": "POST", "body": body})
        return 200, json.dumps({"type": "FeatureCollection", "features": features, "links": links}).encode()


@contextmanager
def serve(api: Api) -> Iterator[Api]:
    """Serve `api` until the block ends; its `url` is the landing page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            self._send(*api.answer(parts.path, query))

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._send(*api.answer(urlsplit(self.path).path, json.loads(content)))

        def _send(self, status: int, body: bytes) -> None:
            total = len(body)
            extra = {}
            asked = self.headers.get("Range")
            if status == 200 and asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, stop = int(first), min(int(last) + 1 if last else total, total)
                body, status = body[start:stop], 206
                extra["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            if status in {429, 503}:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
