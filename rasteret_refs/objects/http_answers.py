"""Whether an HTTP answer is right for a ranged GET, and what it says otherwise; whichever client brought it.

Only a 206 whose Content-Range and body fit the request counts: servers and proxies between send whole objects, login
pages and other ranges as well, and any of them taken for the range would be wrong pixels.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Protocol

from rasteret_refs.errors import ResponseError
from rasteret_refs.objects.failures import Failure, Kind, judge_status

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})\Z")
_PARTIAL = 206
_OK = 200
_PEEK = 512
"""Bytes of an unwanted body that are read to say what it is."""
_DATES = 4096
HEADERS = frozenset({"content-length", "content-range", "content-type", "etag", "last-modified", "retry-after"})
"""Headers of answers that matter here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    failure: Failure | None
    """None: the answer is right."""
    data: bytes | bytearray | memoryview = b""
    size: int = 0
    """Bytes of the whole object."""
    etag: str | None = None
    last_modified: datetime | None = None
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


class Get(Protocol):
    """What sends a ranged GET and judges the answer."""

    async def __call__(
        self, url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Ask for bytes `[start, stop)` of `url`; `stop` None: to the end."""


class Head:
    """Status and headers of an answer to a request for bytes `[start, stop)`.

    Parameters
    ----------
    status
        Of HTTP.
    headers
        Those of `HEADERS`, by names in lower case, or whatever their case.
    start, stop
        What was asked for; `stop` None: to the end.
    """

    __slots__ = ("_span", "_wants_all", "headers", "most", "start", "status", "stop")

    def __init__(self, status: int, headers: Mapping[str, str], start: int, stop: int | None) -> None:
        self.status, self.headers, self.start, self.stop = status, headers, start, stop
        self._wants_all = start == 0 and stop is None
        self._span = self._promised()
        self.most: int | None = _PEEK
        """Bytes of the body that are worth reading: one more than fit the request, to tell; None: all there are."""
        if self._span is not None:
            self.most = self._span[0] - start + 1
        elif status == _OK and self._wants_all:
            self.most = None

    @property
    def has_range(self) -> bool:
        """Whether it says that what was asked for follows, and no more."""
        return self._span is not None

    def judged(self, body: bytes | bytearray | memoryview) -> Answer:
        """Judge the whole answer.

        Parameters
        ----------
        body
            At most `most` bytes of it.
        """
        if self.status == _OK:
            return self._taken(body, size=len(body)) if self._wants_all else _contradiction(self._said(body))
        if self.status != _PARTIAL:
            text = bytes(body[:120]).decode("utf-8", "replace").strip().replace("\n", " ")
            said = "" if _is_html(body) else text
            return Answer(
                failure=judge_status(self.status, said), retry_after=_retry_after(self.headers.get("retry-after"))
            )
        text = self.headers.get("content-range", "")
        if self._span is None:
            return _contradiction(
                f"Content-Range {text!r}" if _CONTENT_RANGE.match(text) else f"status 206 with Content-Range {text!r}"
            )
        end, size = self._span
        if len(body) != end - self.start:
            return _contradiction(f"a body of {len(body)} bytes or more under Content-Range {text!r}")
        return self._taken(body, size=size)

    def _promised(self) -> tuple[int, int] | None:
        """Give the end of the range and the object's size, when a 206 says that it has what was asked for."""
        match = _CONTENT_RANGE.match(self.headers.get("content-range", "")) if self.status == _PARTIAL else None
        if match is None:
            return None
        first, last, size = (int(number) for number in match.groups())
        end = size if self.stop is None else min(self.stop, size)
        return (end, size) if (first, last + 1) == (self.start, end) else None

    def _taken(self, body: bytes | bytearray | memoryview, *, size: int) -> Answer:
        modified = _date(self.headers.get("last-modified"))
        return Answer(failure=None, data=body, size=size, etag=self.headers.get("etag"), last_modified=modified)

    def _said(self, body: bytes | bytearray | memoryview) -> str:
        """Say what a 200 brought."""
        kind = self.headers.get("content-type", "unknown type")
        if _is_html(body):
            return f"status 200 with a web page ({kind}), beginning {bytes(body[:60])!r}: a login or error page?"
        length = self.headers.get("content-length", "unknown")
        return f"status 200 with the whole object ({length} bytes, {kind}): the server ignores ranges"


def _is_html(body: bytes | bytearray | memoryview) -> bool:
    head = bytes(body[:256]).lstrip().lower()
    return head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _contradiction(detail: str) -> Answer:
    return Answer(failure=Failure(kind=Kind.CONTRADICTION, error=ResponseError, detail=detail))


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


@lru_cache(maxsize=_DATES)
def _date(text: str | None) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7), with its zone; None where there is none or it is malformed."""
    try:
        found = None if text is None else parsedate_to_datetime(text)
        return None if found is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
