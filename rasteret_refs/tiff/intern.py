"""Equal IFDs share one `ImageDescription`: bounded caches keyed by the raw bytes of the tags."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import lru_cache

from rasteret_refs.tiff.describe import TagValues, describe, describe_geo
from rasteret_refs.tiff.header import Format
from rasteret_refs.tiff.ifd import Entry, Layout, compile_layout
from rasteret_refs.tiff.values import GeoTags, ImageDescription, Limits

_CACHE_COST = 16 * 1024 * 1024
"""Bytes that one cache may keep alive, by estimate: tens of thousands of descriptions."""
_OBJECT_COST = 1024
"""What an entry costs besides its key."""


class BoundedCache[K: Hashable, V]:
    """A mapping that forgets everything once it costs too much: simple, and a rare miss is cheap."""

    __slots__ = ("_cost", "_values", "get")

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._cost = 0
        self.get = self._values.get

    def put(self, key: K, value: V, cost: int) -> V:
        """Keep `value`, unless another thread kept one first; whichever is kept comes back."""
        cost += _OBJECT_COST
        if cost > _CACHE_COST // 16:
            return value
        if self._cost + cost > _CACHE_COST:
            self._values.clear()
            self._cost = 0
        self._cost += cost
        return self._values.setdefault(key, value)


class Interner:
    """Layouts, descriptions and georeferencing of all files parsed with one set of limits."""

    __slots__ = ("_bare", "_descriptions", "_equal", "_geo", "_layouts", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._layouts: BoundedCache[tuple[Format, tuple[bytes, ...]], Layout] = BoundedCache()
        self._descriptions: BoundedCache[Hashable, ImageDescription] = BoundedCache()
        self._bare: BoundedCache[Hashable, ImageDescription] = BoundedCache()
        self._geo: BoundedCache[Hashable, GeoTags] = BoundedCache()
        self._equal: BoundedCache[ImageDescription, ImageDescription] = BoundedCache()

    def layout(self, form: Format, heads: tuple[bytes, ...]) -> Layout:
        """The compiled layout of an IFD, from its entries' heads."""
        key = (form, heads)
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts.put(key, compile_layout(form, heads, self._limits), 512 * len(heads))
        return found

    def description(
        self, layout: Layout, inline: tuple[bytes, ...], outline: Sequence[bytes], geo: Sequence[bytes]
    ) -> ImageDescription:
        """What an IFD says, from the bytes of its values in the layout's order.

        Scenes differ mostly in their georeferencing: it is kept apart, so that only it is interpreted anew.
        """
        bare_key = (layout, inline, *outline)
        key = (bare_key, *geo)
        found = self._descriptions.get(key)
        if found is not None:
            return found
        cost = sum(map(len, outline)) + sum(map(len, geo))
        bare = self._bare.get(bare_key)
        if bare is None:
            tags = _tag_values(layout, (*layout.inline, *layout.outline), (*inline, *outline))
            bare = self._bare.put(bare_key, describe(tags, self._limits), cost)
        if geo or layout.has_rpc:
            bare = replace(bare, geo=self._geo_tags(layout, geo))
        equal = self._equal.get(bare)
        if equal is None:
            equal = self._equal.put(bare, bare, 2 * cost)
        return self._descriptions.put(key, equal, cost)

    def shared(self, description: ImageDescription) -> ImageDescription:
        """Return the one object that stands for all descriptions equal to this one."""
        found = self._equal.get(description)
        if found is None:
            texts = (
                description.gdal_metadata or "",
                description.image_description or "",
                description.jpeg_tables or b"",
            )
            found = self._equal.put(description, description, 2 * _OBJECT_COST + sum(map(len, texts)))
        return found

    def _geo_tags(self, layout: Layout, geo: Sequence[bytes]) -> GeoTags:
        key = (layout, *geo)
        found = self._geo.get(key)
        if found is None:
            tags = _tag_values(layout, layout.geo, geo)
            found = self._geo.put(key, describe_geo(tags, has_rpc=layout.has_rpc), 4 * sum(map(len, geo)))
        return found


def _tag_values(layout: Layout, entries: Sequence[Entry], values: Sequence[bytes]) -> TagValues:
    pairs = {entry.tag: (entry, value) for entry, value in zip(entries, values, strict=True)}
    return TagValues(layout.form.byte_order, pairs)


@lru_cache(maxsize=8)
def interner(limits: Limits) -> Interner:
    """The caches that belong to these limits (which decide what a header may say)."""
    return Interner(limits)


def shared(description: ImageDescription) -> ImageDescription:
    """Return the shared object for a description that was not parsed here, but came from another process."""
    return interner(Limits()).shared(description)
