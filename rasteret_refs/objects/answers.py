"""What is asked of storage, what comes back, and whether the one fits the other."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from rasteret_refs.errors import ChangedError, ResponseError
from rasteret_refs.objects.failures import Failure, Kind
from rasteret_refs.objects.location import Location


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fetched:
    """Bytes of an object, and what the very same response says about it."""

    data: memoryview
    """The bytes from `start`; fewer than asked for where the object ends."""
    start: int
    size: int
    """Bytes of the whole object."""
    etag: str | None
    """As the server gives it, quotes included."""
    last_modified: str | None
    """ISO 8601 in UTC."""
    url: str


@dataclass(slots=True, kw_only=True)
class Traffic:
    """What a client has done so far."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    hosts: dict[str, int] = field(default_factory=dict)
    """Requests a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One ranged request, ready to be sent."""

    url: str
    location: Location
    start: int
    stop: int | None
    etag: str | None
    size: int | None
    modified: str | None = None
    """ISO 8601 in UTC; decides only where neither the request nor the answer has an ETag."""


def checked(
    wanted: Wanted,
    data: memoryview,
    span: tuple[int, int],
    *,
    size: int,
    etag: str | None,
    modified: datetime | None,
) -> Fetched | Failure:
    """Hold an answer against the request: obstore does not compare the body's length with the range."""
    stop = size if wanted.stop is None else min(wanted.stop, size)
    if span != (wanted.start, stop) or len(data) != stop - wanted.start:
        detail = f"{len(data)} bytes as [{span[0]}, {span[1]}) of {size}"
        return Failure(kind=Kind.CONTRADICTION, error=ResponseError, detail=detail)
    if wanted.size is not None and size != wanted.size:
        detail = f"an object of {size} bytes instead of {wanted.size}: it has changed since it was indexed"
        return Failure(kind=Kind.FINAL, error=ChangedError, detail=detail)
    if wanted.etag is not None and etag != wanted.etag:
        came = "no ETag" if etag is None else f"ETag {etag}"
        detail = f"{came} instead of {wanted.etag}: it has changed since it was indexed"
        return Failure(kind=Kind.FINAL, error=ChangedError, detail=detail)
    when = None if modified is None else modified.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if wanted.etag is None and wanted.modified is not None and when is not None and when != wanted.modified:
        detail = f"an object of {when} instead of {wanted.modified}: it has changed since it was indexed"
        return Failure(kind=Kind.FINAL, error=ChangedError, detail=detail)
    return Fetched(
        data=data, start=wanted.start, size=size, etag=etag, url=wanted.url, last_modified=when,
    )  # fmt: skip


def empty(wanted: Wanted) -> Fetched:
    """Return the answer of an object without bytes: servers refuse any range of it."""
    return Fetched(data=memoryview(b""), start=0, size=0, etag=None, last_modified=None, url=wanted.url)


def asked(wanted: Wanted) -> str:
    """Say in words what a request expects."""
    if wanted.stop is None and wanted.start == 0:
        return "the object"
    return f"bytes [{wanted.start}, {'end' if wanted.stop is None else wanted.stop})"


def may_be_sent(etag: str | None) -> bool:
    """Tell whether a tag may stand in If-Match; what is not sent is compared with the answer's all the same.

    A weak one never fits there (RFC 9110 section 13.1.1), and letters that no header has make obstore panic.
    """
    return etag is not None and not etag.startswith("W/") and etag.isascii() and etag.isprintable()
