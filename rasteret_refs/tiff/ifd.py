"""One IFD as it stands: its entries' layout, compiled once for all IFDs that share it, and its values as bytes.

IFDs of a dataset mostly differ in a few values only. What their entries *are* (tags, field types, counts) is compiled
into a `Layout` and kept; reading another IFD of that layout then takes a few slices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from struct import Struct

from rasteret_refs.errors import LimitError
from rasteret_refs.tiff.header import Format
from rasteret_refs.tiff.tags import BLOB_TAGS, CHUNK_TAGS, FIELD_TYPES, GEO_TAGS, TEXT_TAGS, FieldType, Tag, tag_name
from rasteret_refs.tiff.values import Limits

_KNOWN = frozenset(map(int, Tag)) - {int(Tag.RPCCoefficient)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """An entry of an IFD without its value."""

    index: int
    """Position in the IFD."""
    tag: int
    field_type: FieldType
    count: int
    nbytes: int
    """Bytes of the whole value."""
    inline: bool
    """The value stands in the entry itself; else the entry holds its offset."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """What the entries of an IFD are, for all IFDs whose tags, types and counts are equal."""

    form: Format
    inline: tuple[Entry, ...]
    """Entries with inline values that tell what the image is."""
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    """Selects the values of `inline` from those of all entries."""
    outline: tuple[Entry, ...]
    """Likewise, with values elsewhere in the file."""
    geo: tuple[Entry, ...]
    """Entries of the georeferencing tags."""
    has_rpc: bool
    chunks: dict[int, Entry]
    """Entries that say where chunks and SubIFDs lie, by tag."""


def _pick_none(_values: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return ()


def _picker(indexes: tuple[int, ...]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    if not indexes:
        return _pick_none
    if len(indexes) == 1:
        return lambda values: (values[indexes[0]],)
    return itemgetter(*indexes)


def _bound(tag: int, limits: Limits) -> int:
    if tag in CHUNK_TAGS:
        return limits.array_bytes
    return limits.text_bytes if tag in BLOB_TAGS | TEXT_TAGS else limits.list_bytes


def compile_layout(form: Format, heads: tuple[bytes, ...], limits: Limits) -> Layout:
    """Compile what comes before the values: tag, type and count of each entry.

    The first of several entries of one tag counts, unknown tags and field types are skipped: both as libtiff does
    (`TIFFReadDirectory`, tif_dirread.c).

    Raises
    ------
    LimitError
        A value is larger than `limits` allow.
    """
    inline: list[Entry] = []
    outline: list[Entry] = []
    geo: list[Entry] = []
    chunks: dict[int, Entry] = {}
    seen: set[int] = set()
    for index, head in enumerate(heads):
        tag, type_number, count = form.head.unpack(head)
        field_type = FIELD_TYPES.get(type_number)
        if tag in seen or field_type is None or count == 0:
            continue
        seen.add(tag)
        if tag not in _KNOWN:
            continue
        nbytes = count * field_type.size
        if tag in TEXT_TAGS and nbytes > limits.note_bytes:
            continue
        bound = _bound(tag, limits)
        if nbytes > bound:
            raise LimitError(
                f"{tag_name(tag)} has {count} values of type {field_type.name}: {nbytes} bytes, allowed are {bound}"
            )
        entry = Entry(
            index=index,
            tag=tag,
            field_type=field_type,
            count=count,
            nbytes=nbytes,
            inline=nbytes <= form.offset_size,
        )
        if tag in CHUNK_TAGS:
            chunks[tag] = entry
        elif tag in GEO_TAGS:
            geo.append(entry)
        elif entry.inline:
            inline.append(entry)
        else:
            outline.append(entry)
    return Layout(
        form=form,
        inline=tuple(inline),
        pick=_picker(tuple(entry.index for entry in inline)),
        outline=tuple(outline),
        geo=tuple(geo),
        has_rpc=Tag.RPCCoefficient in seen,
        chunks=chunks,
    )


@lru_cache(maxsize=256)
def _common_splitter(head: int, value: int, entries: int) -> Struct:
    return Struct(f"{head}s{value}s" * entries)


_COMMON_ENTRIES = 256
"""IFDs with more entries than this are too rare to keep anything for."""


def splitter(form: Format, entries: int) -> Struct:
    """Splits an IFD's body into head and value of each entry, in turn."""
    head, value = form.entry_size - form.offset_size, form.offset_size
    if entries <= _COMMON_ENTRIES:
        return _common_splitter(head, value, entries)
    return _common_splitter.__wrapped__(head, value, entries)
