"""An opened set as a reader: what it may ask for, with which options, and of which versions of its objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_refs.objects.client import Objects
from rasteret_refs.read.reader import REQUESTS_IN_FLIGHT, Reader
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.trust import authority_of, storage_of
from rasteret_refs.refset.versions import SourceVersions


def reader_of(
    refset: OpenedRefset,
    storage: Mapping[str, Any] | None = None,
    *,
    allow: str | Sequence[str] = (),
    check_sources: bool = True,
    **options: Any,
) -> Reader:
    """Give what reads a set's pixels.

    Parameters
    ----------
    refset
        The opened set.
    storage
        Prefix → obstore options, over the hints that the set itself carries.
    allow
        Prefixes of URLs, or directories, that may be read beyond what `objects.authority` grants a set.
    check_sources
        Raise `ChangedError` where an object is no longer the one that was indexed (ETag, size; the time where there is
        no ETag). False: take objects as they are.
    **options
        Of `Reader`: `tile_cache`, `disk_cache`.

    Raises
    ------
    UnauthorisedSourceError
        `allow` is no list of prefixes.
    """
    authority = authority_of(refset.seal, refset.sha256, refset.location, allow=allow)
    options_of_sources = storage_of(refset.seal, refset.sha256, storage)
    objects = Objects(options_of_sources, authorise=authority, concurrency=REQUESTS_IN_FLIGHT)
    return Reader(refset, objects, versions=SourceVersions(refset) if check_sources else None, **options)
