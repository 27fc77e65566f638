"""Searching a STAC API through pystac-client: paged, bounded, with errors that say what the server did."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rasteret_refs.errors import AccessError, NotFoundError, RasteretRefsError, SourceError, UnavailableError
from rasteret_refs.sources.item_filter import ItemFilter, geojson_of

PAGE_ITEMS = 100
"""Items asked for a page: what most servers grant."""
STALE_PAGES = 3
"""Pages in a row without a single new item, after which a server is taken to page for ever."""
MAXIMUM_PAGES = 10_000
"""Pages that one search may take where no limit is set: a server may as well invent new items for ever."""
BEYOND_MATCHED = 10
"""How many times the items that a server says match it may give: some only estimate that number."""
RETRIES = 5
_CONNECTIONS = 2
"""Retries where no server is: most likely the host's name is wrong, or the machine is offline."""
_NOBODY = {
    "NameResolutionError": "the host's name cannot be resolved",
    "Connection refused": "the connection was refused",
}
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between bytes."""
_RETRIED = (408, 429, 500, 502, 503, 504)


def search(
    endpoint: str,
    wanted: ItemFilter,
    *,
    collections: Sequence[str],
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    retries: int = RETRIES,
    backoff: float = 0.5,
) -> Iterator[dict[str, Any]]:
    """Items that an API finds, each once.

    Parameters
    ----------
    endpoint
        The API's landing page.
    wanted
        The search; `query` and `filter` are evaluated by the server.
    collections
        Ids of collections; at least one.
    ids
        Ids of items.
    limit
        Items at most.
    retries, backoff
        Attempts after 408, 429, 500, 502, 503, 504 and dropped connections, fewer where no server is; waits
        `Retry-After`, or `backoff` · 2ⁿ seconds.

    Raises
    ------
    UnavailableError
        429, 5xx or no answer after all retries.
    AccessError, NotFoundError
        401 and 403; 404.
    SourceError
        Other answers, a server that pages without giving anything new, an API without item search, no such collection.
    """
    if not collections:
        raise SourceError(f"{endpoint}: expected at least one collection to search, found none; give collections=[…]")
    with warnings.catch_warnings():
        # What pystac-client warns of (missing conformance classes) either works or ends in an error of the server.
        warnings.simplefilter("ignore")
        try:
            stac_io = _io(retries, backoff)
            pages = _pages(endpoint, wanted, collections=collections, ids=ids, limit=limit, stac_io=stac_io)
            yield from _fresh(pages, endpoint, limit)
        except RasteretRefsError:
            raise
        except Exception as error:
            raise _translated(error, endpoint) from error


def _io(retries: int, backoff: float) -> Any:
    from pystac_client.stac_api_io import StacApiIO
    from urllib3 import Retry

    # `allowed_methods=None`: a search by POST changes nothing on the server, so it may be repeated as well.
    retry = Retry(
        total=retries,
        connect=min(retries, _CONNECTIONS),
        backoff_factor=backoff,
        status_forcelist=_RETRIED,
        allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    return StacApiIO(timeout=TIMEOUT, max_retries=retry)


def _pages(
    endpoint: str,
    wanted: ItemFilter,
    *,
    collections: Sequence[str],
    ids: Sequence[str] | None,
    limit: int | None,
    stac_io: Any,
) -> Iterator[Mapping[str, Any]]:
    from pystac_client import Client

    client = Client.open(endpoint, stac_io=stac_io)
    found = client.search(
        collections=list(collections),
        ids=list(ids) if ids is not None else None,
        bbox=list(wanted.bbox) if wanted.bbox is not None else None,
        intersects=dict(geojson_of(wanted.intersects)) if wanted.intersects is not None else None,
        datetime=wanted.datetime,
        query=_own(wanted.query),
        filter=_own(wanted.filter),
        limit=PAGE_ITEMS if limit is None else max(1, min(limit, PAGE_ITEMS)),
    )
    yield from found.pages_as_dicts()


def _own(value: Any) -> Any:
    # pystac-client asks for exactly these types.
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, str) else list(value)


def _fresh(pages: Iterator[Mapping[str, Any]], endpoint: str, limit: int | None) -> Iterator[dict[str, Any]]:
    seen: set[int] = set()
    stale = given = 0
    for number, page in enumerate(pages, 1):
        before = len(seen)
        for item in page.get("features") or ():
            # A page may repeat the end of the one before when items were added meanwhile; an item that was replaced
            # under its id is another one, and is kept.
            key = hash(json.dumps(_identity(item), sort_keys=True))
            if key in seen:
                continue
            seen.add(key)
            yield item
            given += 1
            if given == limit:
                return
        stale = stale + 1 if len(seen) == before else 0
        reason = _endless(page, number, given, stale, bounded=limit is not None)
        if reason is not None:
            take = f"give limit={given} to take these" if given else "there are none"
            raise SourceError(f"{endpoint}: {reason} ({given} items so far); {take}, or narrow the search")


def _endless(page: Mapping[str, Any], number: int, given: int, stale: int, *, bounded: bool) -> str | None:
    """Say why a server is taken to page for ever, after `number` pages; None as long as it is not.

    How many items match stands in `numberMatched` (OGC API - Features), or in `context` (STAC API before 1.0).
    """
    if stale >= STALE_PAGES:
        return f"the server gave {stale} pages in a row that only repeat earlier items: it would page for ever"
    if bounded:
        return None
    matched = page.get("numberMatched", (page.get("context") or {}).get("matched"))
    if isinstance(matched, int) and given > BEYOND_MATCHED * max(matched, PAGE_ITEMS):
        return f"the server says that {matched} items match, and gives more and more: it would page for ever"
    if number >= MAXIMUM_PAGES:
        return f"the server gave {number} pages and has more: it may page for ever"
    return None


def _identity(item: Mapping[str, Any]) -> list[Any]:
    hrefs = sorted(str(asset.get("href", "")).split("?", 1)[0] for asset in (item.get("assets") or {}).values())
    return [item.get("collection"), item.get("id"), (item.get("properties") or {}).get("updated"), hrefs]


def _translated(error: Exception, endpoint: str) -> RasteretRefsError:
    from pystac_client.exceptions import APIError

    text = " ".join(str(error).split())[:400]
    status = getattr(error, "status_code", None)
    if status in {401, 403}:
        return AccessError(f"{endpoint}: the STAC API refuses access ({status}): {text}")
    if status == 404:  # noqa: PLR2004 - HTTP's number
        return NotFoundError(f"{endpoint}: the STAC API knows no such address or collection (404): {text}")
    if status in _RETRIED:
        return UnavailableError(f"{endpoint}: the STAC API answered {status} after {RETRIES} retries: {text}")
    nobody = next((meaning for mark, meaning in _NOBODY.items() if mark in str(error)), None)
    if status is None and nobody is not None:
        return UnavailableError(f"{endpoint}: expected a STAC API, but {nobody}")
    if isinstance(error, APIError) and status is None:
        # pystac-client wraps what requests and urllib3 raise (time-outs, dropped connections, retries used up).
        return UnavailableError(f"{endpoint}: the STAC API did not answer after {RETRIES} retries: {text}")
    return SourceError(f"{endpoint}: expected a STAC API's answer, found {type(error).__name__}: {text}")
