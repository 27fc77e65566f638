"""One TIFF's header: fetched in one request mostly, parsed, and checked against what the very answer says."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Buffer, Callable
from dataclasses import dataclass, field

from rasteret_refs.build.journal import Journal
from rasteret_refs.errors import LimitError, NotATiffError, NotFoundError, TiffError, TruncatedError
from rasteret_refs.objects.client import Objects
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import ByteRange, NeedsBytes, TiffFile
from rasteret_refs.tiff.windows import Windows

LARGEST_HEADER = 256 * 1024 * 1024
"""Bytes that one file's header may take: far beyond any real one (hostile files)."""
_LEAST_FIRST = 16 * 1024
_MOST_FIRST = 32 * 1024
_STEP = 4 * 1024
_LEARN_FROM = 16
_REMEMBERED = 256
_SHARE = 0.97
"""Of the files seen, so many must fit into the first request: a second one costs a whole round trip."""
_OWN_THREAD = 1024 * 1024
"""Bytes of header from which on parsing leaves the event loop's thread."""


@dataclass(slots=True)
class FirstRead:
    """How many bytes the first request of a file asks for: learnt from the headers seen so far."""

    size: int = _MOST_FIRST
    _ends: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _count: int = 0

    def learn(self, header_end: int) -> None:
        """Take note of where a file's header ended.

        Headers that no first request could hold (IFDs at the end of the file) say nothing about the others.
        """
        if header_end > _MOST_FIRST:
            return
        self._ends.append(header_end)
        self._count += 1
        if len(self._ends) >= _LEARN_FROM and self._count % _LEARN_FROM == 0:
            ends = sorted(self._ends)
            wanted = ends[min(len(ends) - 1, int(_SHARE * len(ends)))]
            self.size = max(_LEAST_FIRST, min(_MOST_FIRST, -(-wanted // _STEP) * _STEP))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """A parsed header, and what the very response that brought it says about the object."""

    file: TiffFile
    url: str
    size: int | None
    """Bytes of the object; None where the source held the header and did not say."""
    etag: str | None
    last_modified: str | None
    windows: tuple[tuple[int, Buffer], ...] = ()
    """(start, bytes) of what was read, as a journal keeps it; empty where nobody asked for it."""


type ReadHeader = Callable[[str], Awaitable[Header]]
"""Reads the header of a URL; raises `TiffError` or `ObjectError`, whose message begins with it."""


async def read_header(url: str, objects: Objects, first: FirstRead) -> Header:
    """Fetch and parse the header of one TIFF: one request mostly, more only where parsing asks for them.

    Raises
    ------
    TiffError, ObjectError
        The message begins with the URL.
    """
    try:
        start = await objects.fetch(url, 0, first.size)
    except NotFoundError as error:
        if os.path.isdir(url):  # noqa: ASYNC240, PTH112 - only after a failure
            raise NotATiffError(f"{url}: expected a TIFF, got a directory") from error
        raise
    windows = Windows(start.size)
    windows.add(0, start.data)
    read: list[tuple[int, Buffer]] = []
    budget = LARGEST_HEADER
    with naming(url):
        while True:
            parsed = (
                await asyncio.to_thread(parse, windows) if budget < LARGEST_HEADER - _OWN_THREAD else parse(windows)
            )
            if isinstance(parsed, TiffFile):
                break
            ranges = _inside(parsed, start.size)
            budget -= sum(r.stop - r.start for r in ranges)
            if budget < 0:
                raise LimitError(f"expected a header of at most {LARGEST_HEADER} bytes, got a longer one")
            for wanted, data in zip(
                ranges, await objects.ranges(url, ranges, etag=start.etag, size=start.size), strict=True
            ):
                windows.add(wanted.start, data)
                read.append((wanted.start, data))
    first.learn(parsed.header_end)
    # What follows the header in the first answer is not needed again.
    kept = ((0, start.data[: parsed.header_end]), *read)
    return Header(
        file=parsed, url=url, size=start.size, etag=start.etag, last_modified=start.last_modified, windows=kept
    )


def kept_header(url: str, journal: Journal) -> Header | None:
    """Parse a header that an earlier scan fetched; None where there is none, or it does not do."""
    kept = journal.find(url)
    if kept is None:
        return None
    windows = Windows(kept.size)
    for start, data in kept.windows:
        windows.add(start, data)
    with naming(url):
        parsed = parse(windows)
    if not isinstance(parsed, TiffFile):
        return None
    return Header(file=parsed, url=url, size=kept.size, etag=kept.etag, last_modified=kept.last_modified)


def _inside(needs: NeedsBytes, size: int) -> tuple[ByteRange, ...]:
    ranges = tuple(ByteRange(start=r.start, stop=min(r.stop, size)) for r in needs.ranges)
    for wanted in ranges:
        if wanted.start >= wanted.stop:
            raise TruncatedError(f"the header goes on at byte {wanted.start}, but the file has only {size} bytes")
    return ranges


class naming:  # noqa: N801 - used like a function
    """Put the file's name before the message of a `TiffError`: parsing does not know it."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TiffError):
            raise type(error)(f"{self._url}: {error}") from error
