"""JSON documents and lists, local or remote, read in batches."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import batched
from pathlib import Path
from typing import Any

from rasteret_refs.errors import NotFoundError, ObjectError, RasteretRefsError, SourceError
from rasteret_refs.sources.hrefs import is_url

BATCH = 64
"""Documents of a static catalog that are requested at once."""
DOCUMENT_BYTES = 1 << 30
"""Largest document that is read."""


def read_bytes(location: str, storage: Mapping[str, Any] | None = None) -> bytes:
    """Content of a path or URL.

    Raises
    ------
    NotFoundError, AccessError, UnavailableError, …
        The tree of `ObjectError`, with the location.
    """
    [content] = read_all([location], storage)
    if isinstance(content, RasteretRefsError):
        raise content
    return content


def read_all(locations: Iterable[str], storage: Mapping[str, Any] | None = None) -> list[bytes | RasteretRefsError]:
    """Contents of paths and URLs, all requested at once; an error takes the place of a content that cannot be had."""
    names = list(locations)
    remote = [name for name in names if is_url(name)]
    fetched: dict[str, bytes | RasteretRefsError] = {}
    if remote:
        from rasteret_refs.sources.fetching import fetch_all

        fetched = dict(zip(remote, fetch_all(remote, storage), strict=True))
    return [fetched[name] if name in fetched else _read_local(name) for name in names]


def read_json(location: str, storage: Mapping[str, Any] | None = None) -> Any:
    """The JSON value in a path or URL.

    Raises
    ------
    SourceError
        Not JSON.
    ObjectError
        It cannot be read.
    """
    return parse_json(read_bytes(location, storage), location)


def read_json_all(
    locations: Iterable[str], storage: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Any | RasteretRefsError]]:
    """(location, JSON value or error) in the order given, `BATCH` documents in flight."""
    for batch in batched(locations, BATCH):
        for location, content in zip(batch, read_all(batch, storage), strict=True):
            if isinstance(content, RasteretRefsError):
                yield location, content
                continue
            try:
                yield location, parse_json(content, location)
            except SourceError as error:
                yield location, error


def parse_json(content: bytes, location: str) -> Any:
    """The JSON value of `content`; lines of JSON objects give a list.

    Raises
    ------
    SourceError
        Not JSON; the message shows how the content starts.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{location}: expected JSON, found bytes that are not UTF-8 ({content[:16]!r}…)") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines[:2]):
            try:
                return [json.loads(line) for line in lines]
            except (ValueError, RecursionError):
                pass
        raise SourceError(f"{location}: expected JSON, found {text[:60]!r} ({error})") from error


def _read_local(name: str) -> bytes | RasteretRefsError:
    path = Path(name)
    try:
        if path.stat().st_size > DOCUMENT_BYTES:
            return SourceError(f"{name}: expected a document of at most {DOCUMENT_BYTES} bytes, found a larger one")
        return path.read_bytes()
    except FileNotFoundError:
        return NotFoundError(f"{name}: no such file")
    except OSError as error:
        return ObjectError(f"{name}: cannot be read: {error.strerror or error}")
