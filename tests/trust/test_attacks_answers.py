"""Answers that no sound server gives: whatever they say, errors of ours or the bytes that were asked for."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import rasteret_refs as rr
from rasteret_refs.errors import ChangedError, DecodeError, RasteretRefsError, UnauthorisedSourceError
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from tests.servers.range_server import Server
from tests.trust.forge import IMAGE, forged

DIGITS = "9" * 6000
RANGE = "Content-Range: bytes 0-9/10"
LOCATIONS = (
    "http://[::1/x", "http://[bad]/x", "http://a:99999999/x", "http://a:b/x", "", "http://a\u2100b/x", "javascript:x",
    "http://u:p@127.0.0.1/x", "  http://127.0.0.1:1/x y", "http://x/" + "a" * 7000, "//127.0.0.1:1/x",
    "\\\\127.0.0.1\\x",
    "http://\u0661\u0662\u0667.0.0.1:1/x", "http://127\u30020.0.1:1/x", "http://[::ffff:0:7f00:1]:1/x",
    "http://[64:ff9b:1::7f00:1]:1/x", "http://[fec0::1]/x", "http://0/x", "http://127.0.0.1.:1/x",
)  # fmt: skip
HEADERS = (
    f"Content-Range: bytes {DIGITS}-{DIGITS}/{DIGITS}", "Content-Range: bytes \u0660-\u0669/10",
    "Content-Range: bytes 0-9/5", f"Content-Range: bytes 0-9/{2**64}", f"Content-Range: bytes 0-9/{2**63}",
    f"{RANGE}\r\nLast-Modified: Mon, 01 Jan 0001 00:00:00 +2359", f"{RANGE}\r\nLast-Modified: {'(' * 3000}",
    f"{RANGE}\r\nLast-Modified: Mon, 01 Jan 99999 00:00:00 GMT", f"{RANGE}\r\nLast-Modified: 0",
    f"{RANGE}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 -0000", f'{RANGE}\r\nETag: "\x01\xff"',
    f'{RANGE}\r\nETag: "{"e" * 7000}"', f"{RANGE}\r\nContent-Encoding: gzip", f"{RANGE}\r\nX: {'a' * 100_000}",
    f"{RANGE}\r\nContent-Length: 5", f"{RANGE}\r\nContent-Length: -5",
    f"{RANGE}\r\nTransfer-Encoding: chunked", f"{RANGE}\r\nSet-Cookie: a=b",
)  # fmt: skip
WAITS = (
    "nan",
    "inf",
    "1e999",
    "-5",
    DIGITS,
    "Mon, 01 Jan 0001 00:00:00 -0000",
    "Mon, 01 Jan 99999 00:00:00 GMT",
    "(((",
)
STARTS = ("HTTP/1.1 099 X", "HTTP/1.1 1000 X", "HTTP/1.1 -1 X", "HTTP/9.9 206 X", "hello", "")


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Answer each request with these bytes, the last of them again and again, and close the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    waiting = list(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.recv(65536)  # small requests come whole
                connection.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def answer(start: str, *headers: str) -> bytes:
    lines = [start, *headers, *([] if "Content-Length" in str(headers) else ["Content-Length: 10"]), "", ""]
    return "\r\n".join(lines).encode() + b"0123456789"


def fetched(url: str, *, guarded: bool) -> bytes | None:
    """Ask twice, the second time for the version that came first; the bytes, None for an error of ours."""
    objects = Objects(retries=1, authorise=Authority((), (url,)) if guarded else None)
    try:
        found = run(objects.fetch(f"{url}a.tif", 0, 10))
        with contextlib.suppress(ChangedError):
            run(objects.fetch(f"{url}a.tif", 0, 10, etag=found.etag, size=found.size, modified=found.last_modified))
    except RasteretRefsError:
        return None
    return bytes(found.data)


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_senseless_headers(number: int, guarded: bool) -> None:
    """Digits without end, years that there are not and control characters in ETags were `ValueError`s."""
    with answering(answer("HTTP/1.1 206 X", HEADERS[number])) as url:
        assert fetched(url, guarded=guarded) in {None, b"0123456789"}


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("start", STARTS)
def test_senseless_beginnings(start: str, guarded: bool) -> None:
    with answering(answer(start, RANGE)) as url:
        assert fetched(url, guarded=guarded) in {None, b"0123456789"}


@pytest.mark.parametrize("wait", WAITS)
def test_senseless_times_to_wait(wait: str) -> None:
    with answering(answer("HTTP/1.1 503 X", f"Retry-After: {wait}")) as url:
        assert fetched(url, guarded=True) is None


@pytest.mark.parametrize("number", range(len(LOCATIONS)))
def test_redirections_to_what_is_no_url_or_no_public_host(number: int) -> None:
    """Unbalanced brackets and letters that become slashes were `ValueError`s."""
    redirection = answer("HTTP/1.1 302 X", f"Location: {LOCATIONS[number]}")
    with answering(redirection) as url, pytest.raises(UnauthorisedSourceError):
        run(Objects(retries=0, authorise=Authority((), (url,))).fetch(f"{url}a.tif", 0, 10))


def test_etags_of_a_set_add_no_headers() -> None:
    """A set may say what it likes of its objects; a line end in an ETag would begin another header."""
    with answering(answer("HTTP/1.1 206 X", RANGE)) as url:
        objects = Objects(retries=0, authorise=Authority((), (url,)))
        for etag in ('"a"\r\nX-Evil: 1', '"\0"', '"\ud800"', '"\u20ac"'):
            with pytest.raises(RasteretRefsError):
                run(objects.fetch(f"{url}a.tif", 0, 10, etag=etag))


@pytest.mark.parametrize("size", [2**62, 2**31, 65 * 1024 * 1024])
def test_a_tile_without_end_is_not_asked_for(local_refs: Path, tmp_path: Path, canary: Server, size: int) -> None:
    """Whatever a hostile server sent would have been kept in memory."""
    url = f"{canary.url}s0.tif"
    out = forged(
        local_refs, tmp_path / "x.refs", url=url, sources=(canary.url,),
        columns=lambda c: c | {"path": [p and url for p in c["path"]], "size": [size] * len(c["size"])},
    )  # fmt: skip
    with pytest.raises(DecodeError, match="encoded bytes at most"):
        rr.open(out, allow=canary.url, check_sources=False).reader.read(IMAGE)
    assert canary.stats().requests == 0
