"""A ranged GET whose answer can be looked at: obstore hides the headers of answers that it refuses.

Used only after obstore refused an answer: to obey `Retry-After`, to accept what is right but unusual (chunked 206), and
to say what came instead of a TIFF. Same safety rules as the fast way: only 206 with a fitting Content-Range counts.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from rasteret_refs.errors import ResponseError
from rasteret_refs.objects.failures import REFUSED, UNKNOWN_HOST, Failure, Kind, judge_status, unanswered

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})\Z")
_PARTIAL = 206
_OK = 200
BUFFER = 1024 * 1024
"""Bytes that a connection may have waiting: with aiohttp's 64 KiB, tiles come in many small steps."""
_PEEK = 512
"""Bytes of an unwanted body that are read to say what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    failure: Failure | None
    """None: the answer is right."""
    data: bytes | bytearray = b""
    size: int = 0
    """Bytes of the whole object."""
    etag: str | None = None
    last_modified: datetime | None = None
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


async def ranged_get(url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float) -> Answer:
    """Ask for `[start, stop)` of `url` and judge the answer.

    Parameters
    ----------
    url
        An http(s) URL.
    start, stop
        Bytes; `stop` None: to the end.
    headers
        Sent along (`If-Match`, `Authorization`).
    seconds
        Limit for the whole exchange.
    """
    import aiohttp
    from yarl import URL

    wanted = f"bytes={start}-{'' if stop is None else stop - 1}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.get(
                URL(url, encoded=True),
                headers={**headers, "Range": wanted, "Accept-Encoding": "identity", "User-Agent": "rasteret-refs"},
            ) as response,
        ):
            return await judge_answer(response, start, stop)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: senseless headers
        return failed(error)


def failed(error: Exception) -> Answer:
    """Judge an exchange that broke off."""
    import aiohttp

    detail = "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        detail = UNKNOWN_HOST
    elif isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        detail = REFUSED
    return Answer(failure=unanswered(detail))


async def judge_answer(response: Any, start: int, stop: int | None) -> Answer:
    """Judge an answer to a request for `[start, stop)`; without a range, only 200 and the whole body will do."""
    if response.status == _OK and start == 0 and stop is None:
        return _taken(await response.read(), response, size=None)
    if response.status == _OK:
        return Answer(failure=_contradiction(await _whole_body(response)))
    if response.status != _PARTIAL:
        body = await response.content.read(_PEEK)
        said = "" if _is_html(body) else body[:120].decode("utf-8", "replace").strip().replace("\n", " ")
        return Answer(
            failure=judge_status(response.status, said),
            retry_after=_retry_after(response.headers.get("Retry-After")),
        )
    text = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.match(text)
    if match is None:
        return Answer(failure=_contradiction(f"status 206 with Content-Range {text!r}"))
    first, last, size = (int(number) for number in match.groups())
    end = size if stop is None else min(stop, size)
    if (first, last + 1) != (start, end):
        return Answer(failure=_contradiction(f"Content-Range {text!r}"))
    body = bytearray()
    while len(body) <= end - start and (more := await response.content.read(end - start + 1 - len(body))):
        body += more
    if len(body) != end - start:
        return Answer(failure=_contradiction(f"a body of {len(body)} bytes or more under Content-Range {text!r}"))
    return _taken(body, response, size=size)


def _taken(body: bytes | bytearray, response: Any, *, size: int | None) -> Answer:
    """Accept a body; `size` None: it is the whole object."""
    return Answer(
        failure=None,
        data=body,
        size=len(body) if size is None else size,
        etag=response.headers.get("ETag"),
        last_modified=_date(response.headers.get("Last-Modified")),
    )


async def _whole_body(response: Any) -> str:
    """Say what a 200 brought."""
    head = await response.content.read(_PEEK)
    kind = response.headers.get("Content-Type", "unknown type")
    if _is_html(head):
        return f"status 200 with a web page ({kind}), beginning {head[:60]!r}: a login or error page?"
    length = response.headers.get("Content-Length", "unknown")
    return f"status 200 with the whole object ({length} bytes, {kind}): the server ignores ranges"


def _is_html(body: bytes) -> bool:
    head = body[:256].lstrip().lower()
    return head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _contradiction(detail: str) -> Failure:
    return Failure(kind=Kind.CONTRADICTION, error=ResponseError, detail=detail)


def _retry_after(text: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or a date (RFC 9110 section 10.2.3)."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    date = _date(text)
    return None if date is None else max(0.0, date.timestamp() - time.time())


def _date(text: str | None) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7), with its zone; None where there is none or it is malformed."""
    try:
        found = None if text is None else parsedate_to_datetime(text)
        return None if found is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
