"""The loopback server's HTTP/1.1: one asyncio protocol a connection, one shared state."""

import asyncio
import base64
import os
import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from tests.servers.faults import Fault

_RANGE = re.compile(rb"(?:^|\r\n)range:[ \t]*bytes=(\d*)-(\d*)[ \t]*(?:\r\n|$)", re.IGNORECASE)
_IF_MATCH = re.compile(rb"(?:^|\r\n)if-match:[ \t]*([^\r\n]*)", re.IGNORECASE)
_MOST_HEAD_BYTES = 65536
_MOST_OPEN_FILES = 256


class Request(NamedTuple):
    """One request as it was answered."""

    method: str
    path: str
    """Without leading slash and query, as it came."""
    query: str
    start: int
    """First byte asked for; -1 where no range was asked."""
    stop: int
    """End of the range, exclusive; -1 where none was asked."""
    status: int
    sent: int
    """Bytes of the body."""


class Stats(NamedTuple):
    """Counts since the start or the last `reset`."""

    requests: int
    bytes_sent: int
    """Bytes of bodies."""
    most_in_flight: int
    refused: int
    """Paths with `//` or `..`."""
    connections: int


class _Opened(NamedTuple):
    descriptor: int
    size: int
    etag: str


class _Asked(NamedTuple):
    method: str
    path: str
    query: str
    range: re.Match[bytes] | None
    condition: re.Match[bytes] | None


@dataclass(slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes = b""
    length: int = 0
    """Content-Length, which a fault may make untrue."""
    extra: str = ""
    etag: str | None = None
    modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    span: tuple[int, int] = (-1, -1)
    content_type: str = "application/octet-stream"
    cut: bool = False
    """Close the connection after the body."""
    stall: float | None = None
    """Keep the connection open so many seconds after the body, saying nothing."""


class State:
    """What is served, what went wrong on purpose, and what was counted. Used by one event loop only."""

    def __init__(self, directory: Path | str | None, *, delay: float = 0.0, token: str | None = None) -> None:
        self.directory = None if directory is None else os.path.realpath(directory)
        self.delay = delay
        self.token = token
        self.transports: set[asyncio.Transport] = set()
        self._memory: dict[str, tuple[bytes, str]] = {}
        self._files: OrderedDict[str, _Opened] = OrderedDict()
        self._version = 0
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero, forget the requests and the faults."""
        self.faults: list[Fault] = []
        self.log: deque[Request] = deque(maxlen=100_000)
        self.answered = self.bytes_sent = self.most_in_flight = self.refused = self.connections = 0

    def stats(self) -> list[int]:
        """Fields of `Stats`."""
        return [self.answered, self.bytes_sent, self.most_in_flight, self.refused, self.connections]

    def requests(self) -> list[list[Any]]:
        """Rows of `Request`."""
        return [list(row) for row in self.log]

    def set_delay(self, seconds: float) -> None:
        self.delay = seconds

    def put(self, path: str, data: str) -> None:
        self._version += 1
        self._memory[path] = (base64.b64decode(data), f'"memory-{self._version}"')

    def fail(self, fault: dict[str, Any]) -> None:
        self.faults.append(Fault(**fault))

    def mend(self) -> None:
        self.faults.clear()

    def require(self, token: str | None) -> None:
        self.token = token

    def fault(self, method: str, path: str) -> Fault | None:
        """The first fault that hits this request."""
        return next((fault for fault in self.faults if fault.hits(method, path)), None)

    def other_etag(self) -> str:
        """An ETag that no answer had before."""
        self._version += 1
        return f'"changed-{self._version}"'

    def size_and_etag(self, path: str) -> tuple[int, str] | None:
        """Of the object at `path`, or None."""
        if path in self._memory:
            data, etag = self._memory[path]
            return len(data), etag
        opened = self._open(path)
        return None if opened is None else (opened.size, opened.etag)

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Bytes `[start, stop)` of the object at `path`."""
        if path in self._memory:
            return self._memory[path][0][start:stop]
        opened = self._open(path)
        return b"" if opened is None else os.pread(opened.descriptor, max(stop - start, 0), start)

    def _open(self, path: str) -> _Opened | None:
        if self.directory is None:
            return None
        full = os.path.join(self.directory, path)  # noqa: PTH118 - this runs for every request
        try:
            found = os.stat(full)  # noqa: PTH116
        except (OSError, ValueError):
            return None
        etag = f'"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"'
        opened = self._files.get(path)
        if opened is not None and opened.etag == etag:
            return opened
        if not os.path.isfile(full):  # noqa: PTH113
            return None
        if opened is not None:
            os.close(self._files.pop(path).descriptor)
        while len(self._files) >= _MOST_OPEN_FILES:
            os.close(self._files.popitem(last=False)[1].descriptor)
        opened = self._files[path] = _Opened(os.open(full, os.O_RDONLY), found.st_size, etag)
        return opened

    def close(self) -> None:
        """Cut all connections and close all files."""
        for transport in list(self.transports):
            transport.abort()
        for opened in self._files.values():
            os.close(opened.descriptor)
        self._files.clear()


class RangeProtocol(asyncio.Protocol):
    """One connection: requests are answered in order, each after the state's delay."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._state.transports.add(transport)
        self._state.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            if len(self._buffer) > _MOST_HEAD_BYTES:
                self._transport.abort()
            return
        self._buffer = rest
        self._busy = True
        state = self._state
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        if state.delay > 0:
            self._loop.call_later(state.delay, self._answer, head)
        else:
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        state = self._state
        state.in_flight -= 1
        if self._transport.is_closing():
            return
        line, _, headers = head.partition(b"\r\n")
        method, _, rest = line.decode("latin-1").partition(" ")
        raw_path, _, query = rest.partition(" ")[0].partition("?")
        asked = _Asked(method, unquote(raw_path[1:]), query, _RANGE.search(headers), _IF_MATCH.search(headers))
        if method not in ("GET", "HEAD"):
            answer = _Answer(status=405)
        elif "//" in raw_path or ".." in asked.path.split("/") or "\0" in asked.path:
            state.refused += 1
            answer = _Answer(status=400)
        elif state.token is not None and state.token not in query:
            answer = _Answer(status=403)
        else:
            answer = self._object(asked)
        self._send(asked, answer)

    def _object(self, asked: _Asked) -> _Answer:
        state = self._state
        fault = state.fault(asked.method, asked.path)
        kind = None if fault is None else fault.kind
        if fault is not None and kind in ("redirect", "status", "html"):
            return _refusal(fault)
        found = state.size_and_etag(asked.path)
        if found is None:
            return _Answer(status=404)
        size, etag = found
        if kind == "changing_etag":
            etag = state.other_etag()
        elif kind == "weak_etag":
            etag = f"W/{etag}"
        if asked.condition is not None and kind != "no_etag" and not _fits(asked.condition[1], etag):
            return _Answer(status=412, etag=etag)
        span = None if kind == "ignore_range" else _span(asked.range, size)
        if span is None:
            answer = _Answer(status=200, etag=etag)
        elif span[0] >= span[1]:
            return _Answer(status=416, etag=etag, extra=f"Content-Range: bytes */{size}\r\n")
        else:
            answer = _Answer(status=206, etag=etag, span=span)
        if fault is not None and kind == "no_etag":
            answer.etag, answer.modified = None, fault.modified
        start, stop = span or (0, size)
        missing = 0 if fault is None else fault.missing
        if kind == "wrong_content_range":
            start, stop = start + missing, stop + missing
        if span is not None:
            answer.extra = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
        answer.length = stop - start
        if asked.method == "GET":
            answer.body = state.read(asked.path, start, stop)
            _spoil(answer, kind, missing)
        if fault is not None and kind == "stall":
            answer.stall = fault.seconds
        return answer

    def _send(self, asked: _Asked, answer: _Answer) -> None:
        state = self._state
        state.answered += 1
        state.bytes_sent += len(answer.body)
        state.log.append(Request(asked.method, asked.path, asked.query, *answer.span, answer.status, len(answer.body)))
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {answer.length}\r\nAccept-Ranges: bytes\r\n"
            f"Last-Modified: {answer.modified}\r\n"
            + ("" if answer.etag is None else f"ETag: {answer.etag}\r\n")
            + answer.extra
            + "\r\n"
        ).encode("latin-1")
        if len(answer.body) <= _MOST_HEAD_BYTES:
            self._transport.write(head + answer.body)
        else:
            self._transport.write(head)
            self._transport.write(answer.body)
        if answer.stall is not None:
            self._loop.call_later(answer.stall, self._transport.abort)
            return
        if answer.cut:
            self._transport.close()
            return
        self._busy = False
        if self._buffer:
            self._loop.call_soon(self._next)


def _fits(condition: bytes, etag: str) -> bool:
    """Whether If-Match lets a request through: by strong comparison, which no weak tag passes (RFC 9110, 13.1.1)."""
    return condition == b"*" or (not etag.startswith("W/") and etag.encode() in condition)


def _refusal(fault: Fault) -> _Answer:
    """The answer of a fault that gives no byte of the object."""
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        return _Answer(status=status, extra=f"Location: {fault.location}\r\n")
    if fault.kind == "html":
        page = b"<!DOCTYPE html><html><title>Sign in</title><body>Please sign in.</body></html>"
        return _Answer(status=200, body=page, length=len(page), content_type="text/html")
    retry = "" if fault.retry_after is None else f"Retry-After: {fault.retry_after:g}\r\n"
    body = b"refused on purpose"
    return _Answer(status=fault.status, extra=retry, body=body, length=len(body))


def _spoil(answer: _Answer, kind: str | None, missing: int) -> None:
    """Make the body wrong in the way of this kind of fault."""
    if kind == "wrong_content_range":
        answer.body = answer.body.ljust(answer.length, b"\0")
    elif kind == "short_body":
        answer.body = answer.body[: max(len(answer.body) - missing, 0)]
        answer.length = len(answer.body)
    elif kind == "long_body":
        answer.body += bytes(missing)
        answer.length = len(answer.body)
    elif kind in ("drop", "stall"):
        answer.body = answer.body[: len(answer.body) // 2]
        answer.cut = True


def _span(asked: re.Match[bytes] | None, size: int) -> tuple[int, int] | None:
    """The half-open range that a request asks for; None where it asks for the whole object."""
    if asked is None:
        return None
    first, last = asked[1], asked[2]
    if first:
        return int(first), min(int(last) + 1, size) if last else size
    return (max(size - int(last), 0), size) if last else None
