"""Which version of each object a set refers to: ETag, size and time as they came with the header that was parsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from rasteret_refs.errors import ChangedError
from rasteret_refs.refset.opened import OpenedRefset


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What an object must still be."""

    etag: str | None
    """As the server gave it, quotes included; None where it gives none."""
    size: int | None
    """Bytes."""
    last_modified: str | None
    """ISO 8601 in UTC; decides only where there is no ETag."""


class SourceVersions:
    """Looks versions up by URL; the scene table is read once, when the first pixels are. Picklable.

    Parameters
    ----------
    refset
        The opened set.
    """

    def __init__(self, refset: OpenedRefset) -> None:
        self._refset = refset
        self._known: Mapping[str, Version | None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._refset,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceVersions) and self._refset == other._refset

    def __hash__(self) -> int:
        return hash((type(self), self._refset))

    @property
    def is_loaded(self) -> bool:
        """Whether looking up needs no file."""
        return self._known is not None

    def load(self) -> Mapping[str, Version | None]:
        """Read the scene table, if that was not done yet. Two threads may do it at once, to the same effect.

        Raises
        ------
        DamagedError, ObjectError
            The scene table is not what was sealed, or storage did not give it.
        """
        if self._known is None:
            self._known = versions_of(self._refset.all_scenes)
        return self._known

    def get(self, url: str) -> Version | None:
        """Give the version of an object; None where the scene table has no such object.

        Raises
        ------
        ChangedError
            The set holds references to two versions of the object, of which one at least is gone.
        """
        known = self.load()
        found = known.get(url)
        if found is None and url in known:
            raise ChangedError(
                f"{url}: expected one version of the object, got two that were indexed at different times"
            )
        return found


def versions_of(scenes: pa.Table) -> dict[str, Version | None]:
    """Collect the versions of all assets of a scene table; None for objects that were indexed in two versions."""
    found: dict[str, Version | None] = {}
    if "assets" not in scenes.column_names:
        return found
    assets = scenes["assets"].combine_chunks()
    if not isinstance(assets, pa.StructArray):
        return found
    for asset in assets.flatten():
        names = [field.name for field in asset.type]
        if "href" not in names:
            continue
        columns = dict(zip(names, asset.flatten(), strict=True))
        empty = [None] * len(asset)
        rows = [
            columns[name].to_pylist() if name in columns else empty
            for name in ("href", "refs:etag", "refs:size", "refs:last_modified")
        ]
        for url, etag, size, modified in zip(*rows, strict=True):
            if url is None:
                continue
            version = Version(etag=etag, size=size, last_modified=modified)
            found[url] = version if url not in found else _joined(found[url], version)
    return found


def _joined(one: Version | None, other: Version) -> Version | None:
    """Return the version that two entries tell of together, or None where they contradict each other.

    An entry may say less: relocation forgets ETags, and headers that a source held come without a size.
    """
    if one is None or one == other:
        return one
    pairs = ((one.etag, other.etag), (one.size, other.size), (one.last_modified, other.last_modified))
    if any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs):
        return None
    etag, size, modified = (mine if mine is not None else theirs for mine, theirs in pairs)
    return Version(etag=etag, size=size, last_modified=modified)  # type: ignore[arg-type] # pairs of one type each
