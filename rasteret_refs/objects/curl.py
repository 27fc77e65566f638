"""Ranged GETs through libcurl (extra `fast`), on the event loop that asks: a third of obstore's work for a request.

libcurl tells which sockets it waits for, and the loop tells libcurl when they are ready
(https://curl.se/libcurl/c/libcurl-multi.html, "multi_socket"), so that no other thread takes part: 200 requests cost
30 ms of processor time, with obstore 95 ms, most of it spent handing Python's lock from thread to thread.
"""

import asyncio
import ctypes
import errno
import functools
import importlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pycurl

from rasteret_refs.errors import ResponseError, UnavailableError
from rasteret_refs.objects.failures import REFUSED, UNKNOWN_HOST, Failure, Kind, unanswered
from rasteret_refs.objects.http_answers import HEADERS, Answer, Head
from rasteret_refs.objects.limits import open_connections
from rasteret_refs.objects.room import Room

_BUFFER = 512 * 1024
"""Bytes that libcurl hands over at once, at most."""
_CONNECT_SECONDS = 10
_IDLE_SECONDS = 30
_IDLE_CONNECTIONS = 512
"""Kept for requests to come, at most; fewer where few files may be open."""
_MOST_REDIRECTIONS = 10
_UNVERIFIED = frozenset({pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT, pycurl.E_SSL_CACERT_BADFILE})
"""The server's certificate does not verify, or there are none to verify it by: the same request fails again."""
_HEADERS = {name.encode(): name for name in HEADERS}
_ROUND_SECONDS = 0.001
"""A round of the event loop reads answers for so long, then hands the finished ones on, then goes on reading.

libcurl reads a large body to its end while more of it comes: a round over all sockets read all bodies, and the threads
that decode them waited for the last one.
"""
_SENT_SECONDS = 0.005
"""Seconds without a new request after which those that begin together have left: nothing shall keep them waiting."""
_NAME_SECONDS = 60.0
"""How long a host's addresses are taken as known."""


class CurlHttp:
    """Ranged requests through libcurl: one set of connections for each event loop."""

    def __init__(self) -> None:
        self._engines: dict[asyncio.AbstractEventLoop, tuple[_Engine, AsyncIterator[None]]] = {}

    async def get(
        self, url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Ask for bytes `[start, stop)` of `url` and judge the answer; see `plain_http.ranged_get`."""
        engine = await self._engine()
        name, port = _host_of(url[: (url + "/").index("/", len("https://"))])
        try:
            pinned = await engine.addresses(name, port)
        except (OSError, UnicodeError):  # UnicodeError: no such name can be
            return Answer(failure=unanswered(UNKNOWN_HOST))
        transfer = _Transfer(url, start, stop, headers=headers, seconds=seconds, room=engine.room)
        if pinned is not None:
            transfer.handle.setopt(pycurl.RESOLVE, [pinned])
        try:
            code, text = await engine.perform(transfer)
            if code == pycurl.E_COULDNT_CONNECT:
                engine.forget(name, port)  # it may have moved
            return transfer.answer(code, text)
        finally:
            del transfer.handle  # it refers to the transfer, whose body would wait for the garbage collector

    async def _engine(self) -> "_Engine":
        loop = asyncio.get_running_loop()
        found = self._engines.get(loop)
        if found is None:
            engine = _Engine(loop)
            closing = _close_with_loop(self._engines, loop, engine)
            self._engines[loop] = engine, closing
            await anext(closing)
            return engine
        return found[0]


async def _close_with_loop(
    engines: dict[asyncio.AbstractEventLoop, Any], loop: asyncio.AbstractEventLoop, engine: "_Engine"
) -> AsyncIterator[None]:
    """Close the connections when their loop shuts down: `asyncio.run` closes asynchronous generators just before."""
    try:
        yield
    finally:
        engines.pop(loop, None)
        engine.close()


class _Engine:
    """A libcurl multi handle that an event loop drives.

    It holds a reference to itself until it is closed: a forked child, or an interpreter that goes while the loop's
    thread still stands in it, would otherwise tear connections down that are not its own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._multi = multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        multi.setopt(pycurl.M_MAXCONNECTS, min(_IDLE_CONNECTIONS, open_connections()))
        self._timer: asyncio.Handle | None = None
        self._round_ends: float | None = None
        self._reading: set[int] = set()
        self._writing: set[int] = set()
        self._names: dict[tuple[str, int], asyncio.Future[str | None]] = {}
        self._running: dict[Any, asyncio.Future[tuple[int, str]]] = {}
        self._process = os.getpid()
        self.room = Room()
        self._announced = 0
        self._preparing = False
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(multi))

    async def addresses(self, host: str, port: int) -> str | None:
        """Look a name up once for all requests: libcurl would do so for each that begins before the first answer.

        Returns
        -------
        str or None
            An entry of CURLOPT_RESOLVE; None for what is an address already.

        Raises
        ------
        OSError
            The name is unknown.
        """
        if ":" in host or host.replace(".", "").isdecimal():
            return None
        found = self._names.get((host, port))
        if found is None:
            found = self._names[host, port] = asyncio.ensure_future(self._look_up(host, port))
            self._loop.call_later(_NAME_SECONDS, self.forget, host, port)
        return await asyncio.shield(found)

    def forget(self, host: str, port: int) -> None:
        """Look a name up anew for the next request."""
        self._names.pop((host, port), None)

    async def _look_up(self, host: str, port: int) -> str | None:
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except BaseException:
            self.forget(host, port)
            raise
        found = dict.fromkeys(f"[{where[0]}]" if ":" in str(where[0]) else str(where[0]) for *_, where in infos)
        return f"+{host}:{port}:{','.join(found)}"

    async def perform(self, transfer: "_Transfer") -> tuple[int, str]:
        """Run a transfer; give libcurl's code and what it says."""
        handle = transfer.handle
        self._announce(transfer.nbytes)
        done: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._running[handle] = done
        self._multi.add_handle(handle)
        self._act(pycurl.SOCKET_TIMEOUT, 0)  # now: hundreds that begin together would all wait for the last of them
        try:
            return await done
        finally:
            # In a forked child, removing it would end the parent's connection; after `close` it is removed already.
            if self._process == os.getpid() and self._running.pop(handle, None) is not None:
                self._multi.remove_handle(handle)

    def _announce(self, nbytes: int) -> None:
        """Have memory for a body made ready when its request, and those that begin with it, have left."""
        if not self.room.holds(nbytes):
            return
        self._announced += nbytes
        if not self._preparing:
            self._preparing = True
            self._loop.call_later(_SENT_SECONDS, self._prepare_room, self._announced)

    def _prepare_room(self, announced: int) -> None:
        if announced != self._announced:  # others have begun meanwhile, and more may follow
            self._loop.call_later(_SENT_SECONDS, self._prepare_room, self._announced)
            return
        self._announced = 0
        self._touch(self.room.preparing(announced))

    def _touch(self, pages: Iterator[None]) -> None:
        """Touch a page; the next one after the answers that have come meanwhile."""
        for _ in pages:
            self._loop.call_soon(self._touch, pages)
            return
        self._preparing = False

    def close(self) -> None:
        """Close all connections."""
        if self._process != os.getpid():
            return
        for name in list(self._names.values()):
            name.cancel()
        for done in self._running.values():
            done.cancel()
        for handle in self._running:
            self._multi.remove_handle(handle)
        self._running.clear()
        self._multi.close()
        if self._timer is not None:
            self._timer.cancel()
        for descriptor in self._reading:
            self._loop.remove_reader(descriptor)
        for descriptor in self._writing:
            self._loop.remove_writer(descriptor)
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self._multi))

    def _watch(self, what: int, descriptor: int, _multi: Any, _data: Any) -> None:
        """Do what libcurl asks: watch a socket, or no longer."""
        loop = self._loop
        wants_in = what in {pycurl.POLL_IN, pycurl.POLL_INOUT}
        wants_out = what in {pycurl.POLL_OUT, pycurl.POLL_INOUT}
        if wants_in and descriptor not in self._reading:
            self._reading.add(descriptor)
            loop.add_reader(descriptor, self._on_ready, descriptor, pycurl.CSELECT_IN)
        elif not wants_in and descriptor in self._reading:
            self._reading.discard(descriptor)
            loop.remove_reader(descriptor)
        if wants_out and descriptor not in self._writing:
            self._writing.add(descriptor)
            loop.add_writer(descriptor, self._on_ready, descriptor, pycurl.CSELECT_OUT)
        elif not wants_out and descriptor in self._writing:
            self._writing.discard(descriptor)
            loop.remove_writer(descriptor)

    def _set_timer(self, milliseconds: int) -> None:
        """Do what libcurl asks: call it at a time; a negative one: no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self._loop.call_soon(self._act, pycurl.SOCKET_TIMEOUT, 0)
        elif milliseconds > 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._act, pycurl.SOCKET_TIMEOUT, 0)

    def _on_ready(self, descriptor: int, events: int) -> None:
        """Let libcurl read or write, unless this round of the loop is over: then the next one tells again."""
        now = self._loop.time()
        if self._round_ends is None:
            self._round_ends = now + _ROUND_SECONDS
            self._loop.call_soon(self._end_round)  # behind those who wait for what has been finished until then
        elif now > self._round_ends:
            return
        self._act(descriptor, events)

    def _end_round(self) -> None:
        self._round_ends = None

    def _act(self, descriptor: int, events: int) -> None:
        """Tell libcurl what has happened, and hand on what is finished."""
        self._multi.socket_action(descriptor, events)
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for handle in good:
                self._finish(handle, 0, "")
            for handle, code, text in bad:
                self._finish(handle, code, text)

    def _finish(self, handle: Any, code: int, text: str) -> None:
        done = self._running.get(handle)
        if done is not None and not done.done():
            done.set_result((code, text))


class _Transfer:
    """One request and what has come of its answer."""

    __slots__ = ("_beginning", "_body", "_got", "_head", "_lines", "_most", "_room", "_start", "_stop", "handle")

    def __init__(
        self, url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float, room: Room
    ) -> None:
        self._start, self._stop, self._room = start, stop, room
        self._lines: list[bytes] = []
        self._head: Head | None = None
        self._body: memoryview | None = None
        """Where the bytes of a range go that the server says it sends."""
        self._beginning = bytearray()
        """Of any other body, as far as it is worth reading."""
        self._got = 0
        self._most: int | None = 0
        lines = ["Accept-Encoding: identity", *(f"{name}: {value}" for name, value in headers.items())]
        if start or stop is not None:
            lines.append(f"Range: bytes={start}-{'' if stop is None else stop - 1}")
        self.handle = handle = pycurl.Curl()
        for option, value in _constant_options(secure=url.lower().startswith("https:")):
            handle.setopt(option, value)
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.HTTPHEADER, lines)
        handle.setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        handle.setopt(pycurl.WRITEFUNCTION, self._write)

    @property
    def nbytes(self) -> int:
        """Bytes of the range; 0 where only the server knows them."""
        return 0 if self._stop is None else self._stop - self._start

    def answer(self, code: int, text: str) -> Answer:
        """Judge what came.

        Parameters
        ----------
        code, text
            libcurl's code and what it says.
        """
        stopped = code == pycurl.E_WRITE_ERROR and self._got == self._most
        if code == pycurl.E_OK or stopped:
            head = self._headed()
            return head.judged(self._beginning if self._body is None else self._body[: self._got])
        if code == pycurl.E_TOO_MANY_REDIRECTS:
            detail = f"more than {_MOST_REDIRECTIONS} redirections"
            return Answer(failure=Failure(kind=Kind.FINAL, error=ResponseError, detail=detail))
        if code in _UNVERIFIED:
            detail = f"a certificate that cannot be verified ({text.partition('?')[0]})"
            return Answer(failure=Failure(kind=Kind.FINAL, error=UnavailableError, detail=detail))
        if code == pycurl.E_UNSUPPORTED_PROTOCOL and self._headed().status:
            detail = "a redirection to what is no HTTP, or from https to http"
            return Answer(failure=Failure(kind=Kind.FINAL, error=ResponseError, detail=detail))
        return Answer(failure=unanswered(self._cause(code, text)))

    def _cause(self, code: int, text: str) -> str:
        """Say why a transfer broke off."""
        if code == pycurl.E_COULDNT_CONNECT and self.handle.getinfo(pycurl.OS_ERRNO) == errno.ECONNREFUSED:
            return REFUSED
        known = {
            pycurl.E_COULDNT_RESOLVE_HOST: UNKNOWN_HOST,
            pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
            pycurl.E_PARTIAL_FILE: "the connection was closed in the middle of the body",
            pycurl.E_GOT_NOTHING: "the connection was closed before an answer",
            pycurl.E_UNSUPPORTED_PROTOCOL: "an answer that is no HTTP",
            pycurl.E_FTP_WEIRD_SERVER_REPLY: "an answer that is no HTTP",
            pycurl.E_RECV_ERROR: "the connection was reset",
            pycurl.E_SEND_ERROR: "the connection was reset",
        }
        return known.get(code) or f"libcurl's error {code}: {text.partition('?')[0]}"

    def _headed(self) -> Head:
        """Give the head of the answer: of the last one, where redirections or a `100 Continue` came before it."""
        if self._head is None:
            status, headers = 0, dict[str, str]()
            for line in self._lines:
                name, colon, value = line.partition(b":")
                if line.startswith(b"HTTP/"):
                    words = line.split()
                    status, headers = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, {}
                elif colon and (known := _HEADERS.get(name.lower())):
                    headers.setdefault(known, value.strip().decode("latin-1"))
            self._head = Head(status, headers, self._start, self._stop)
            self._most = self._head.most
            # Of a range without an end, only the server says how long it is: such a body grows with what comes.
            if self._stop is not None and self._head.has_range and self._most is not None:
                self._body = self._room.take(self._most)
        return self._head

    def _write(self, data: bytes) -> int | None:
        """Take a piece of the body; -1 ends the transfer when there is more than is worth reading."""
        if self._head is None:
            self._headed()
        if self._most is not None and self._got + len(data) > self._most:
            data = data[: self._most - self._got]
        if self._body is None:
            self._beginning += data
        else:
            self._body[self._got : self._got + len(data)] = data
        self._got += len(data)
        return -1 if self._got == self._most else None


@functools.lru_cache
def _host_of(root: str) -> tuple[str, int]:
    """Give name and port of a URL's host."""
    parts = urlsplit(root)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@functools.cache
def _constant_options(*, secure: bool) -> tuple[tuple[int, Any], ...]:
    """Give what all requests have in common; from https, redirections to http are not followed."""
    options: list[tuple[int, Any]] = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),  # as obstore: HTTP/2 puts all tiles into one connection
        (pycurl.USERAGENT, "rasteret-refs"),
        (pycurl.PROXY, ""),  # hosts behind proxies are obstore's
        (pycurl.BUFFERSIZE, _BUFFER),
        (pycurl.CONNECTTIMEOUT, _CONNECT_SECONDS),
        (pycurl.MAXAGE_CONN, _IDLE_SECONDS),
        (pycurl.FOLLOWLOCATION, 1),
        (pycurl.MAXREDIRS, _MOST_REDIRECTIONS),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS if secure else pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    ]
    if secure:
        paths = ssl.get_default_verify_paths()
        if not (paths.cafile or paths.capath):  # a Python that was built elsewhere
            options.append((pycurl.CAINFO, importlib.import_module("certifi").where()))
        if paths.cafile:
            options.append((pycurl.CAINFO, paths.cafile))
        if paths.capath:
            options.append((pycurl.CAPATH, paths.capath))
    return tuple(options)
