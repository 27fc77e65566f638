"""Parse the header of a TIFF from the bytes at hand, or say which bytes are missing."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LimitError, TiffError, TruncatedError
from rasteret_refs.tiff.chunks import chunk_table
from rasteret_refs.tiff.header import (
    BIG_HEADER,
    EMPTY_GHOST,
    GHOST_LINE,
    GHOST_PREFIX,
    Format,
    read_ghost,
    read_signature,
)
from rasteret_refs.tiff.ifd import Entry, Layout, splitter
from rasteret_refs.tiff.intern import Interner, interner
from rasteret_refs.tiff.tags import Tag
from rasteret_refs.tiff.values import ByteRange, ImageDescription, Limits, NeedsBytes, TiffFile, TiffImage
from rasteret_refs.tiff.windows import Windows

DEFAULT_LIMITS = Limits()
FIRST_READ = 16 * 1024
"""Bytes to read of an unknown file: holds the header of most COGs."""
READ_AHEAD = 16 * 1024
"""Bytes asked for where an IFD lies outside what is known: its length is unknown, and its arrays mostly follow it."""
COALESCING_GAP = 16 * 1024
"""Missing ranges nearer than this are asked for as one."""
_MEMORY_A_BYTE = 16
"""Memory that a byte of a tag's numbers or text takes as Python values, at worst."""
_LARGEST_OFFSET = 1 << 62
"""Room for the sum of an offset and a byte count in int64."""


def parse(windows: Windows, *, limits: Limits = DEFAULT_LIMITS) -> TiffFile | NeedsBytes:
    """Parse a TIFF's header: classic or BigTIFF, either byte order, the chain of IFDs and their SubIFDs.

    Nothing is read past what `windows` holds. Where bytes are missing, all ranges that can be told so far come back at
    once; add them and parse again. Equal IFDs, of this file or of others, share one `ImageDescription`.

    Parameters
    ----------
    windows : Windows
        The known bytes, and the file's size if known.
    limits : Limits
        Bounds on what the header may ask for.

    Returns
    -------
    TiffFile or NeedsBytes

    Raises
    ------
    NotATiffError
        There is no TIFF signature.
    TruncatedError
        The first IFD or its values lie past the end of the file.
    LimitError
        There are more IFDs, entries or chunks than `limits` allow.
    TiffError, UnsupportedTiffError
        The first IFD describes no image that could be read. Other IFDs that do not are listed in `TiffFile.refused`.
    """
    size = windows.size
    start = windows.view(0, BIG_HEADER if size is None else min(size, BIG_HEADER))
    if size == 0:
        start = memoryview(b"")
    if start is None:
        return NeedsBytes(ranges=(ByteRange(start=0, stop=FIRST_READ if size is None else min(size, FIRST_READ)),))
    form, first = read_signature(bytes(start), size)
    parser = _Parser(windows, form, limits)
    ghost = parser.ghost(first)
    parser.chain(first, page=None)
    parser.sub_chains()
    if parser.missing:
        ranges = coalesce(parser.missing)
        if (total := sum(each.stop - each.start for each in ranges)) > limits.header_bytes:
            raise LimitError(f"the header takes {total} more bytes, allowed are {limits.header_bytes}")
        return NeedsBytes(ranges=ranges)
    parser.images.sort(key=lambda image: (image.page, image.parent is not None))
    return TiffFile(
        images=tuple(parser.images),
        byte_order=form.byte_order,
        big=form.big,
        header_end=parser.end,
        ghost=ghost,
        refused=tuple(parser.refused.items()),
    )


def coalesce(ranges: list[tuple[int, int]]) -> tuple[ByteRange, ...]:
    """Join ranges that overlap or lie near each other, in order of their offsets."""
    joined: list[list[int]] = []
    for start, stop in sorted(ranges):
        if joined and start - joined[-1][1] <= COALESCING_GAP:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([start, stop])
    return tuple(ByteRange(start=start, stop=stop) for start, stop in joined)


class _Parser:
    """What is known while one file is parsed."""

    __slots__ = (
        "_described", "_entries", "_form", "_interner", "_limits", "_memory", "_pending", "_size", "_view", "_visited",
        "end", "images", "missing", "refused",
    )  # fmt: skip

    def __init__(self, windows: Windows, form: Format, limits: Limits) -> None:
        self._form = form
        self._limits = limits
        self._size = windows.size
        self._view = windows.view
        self._interner: Interner = interner(limits)
        self._visited: set[int] = set()
        self._described: set[int] = set()
        """Descriptions (by `id`) whose memory is accounted for."""
        self._entries = 0
        self._memory = 0
        self._pending: list[tuple[int, int]] = []
        """SubIFDs still to be read: (offset, page)."""
        self.images: list[TiffImage] = []
        self.refused: dict[int, str] = {}
        self.missing: list[tuple[int, int]] = []
        self.end = BIG_HEADER if form.big else BIG_HEADER // 2

    def ghost(self, first: int) -> Mapping[str, str]:
        """GDAL's structural metadata, which stand right after the header of a COG."""
        start = self.end
        if first < start + GHOST_LINE or (self._size is not None and self._size < start + GHOST_LINE):
            return EMPTY_GHOST
        line = self._view(start, start + GHOST_LINE)
        if line is None:
            self.missing.append((start, start + GHOST_LINE))
            return EMPTY_GHOST
        digits = bytes(line[len(GHOST_PREFIX) : len(GHOST_PREFIX) + 6])
        if line[: len(GHOST_PREFIX)] != GHOST_PREFIX or not digits.isdigit():
            return EMPTY_GHOST
        stop = start + GHOST_LINE + int(digits)
        if self._size is not None and stop > self._size:
            return EMPTY_GHOST
        body = self._fetch(start + GHOST_LINE, stop)
        return EMPTY_GHOST if body is None else read_ghost(bytes(body))

    def chain(self, offset: int, page: int | None) -> None:
        """Read IFDs from `offset` on, each of which points to the next; `page` is None for the main chain.

        What is wrong with the very first IFD is raised; what is wrong later is noted, and the images before it stand.
        """
        number = 0
        while offset:
            if offset in self._visited:
                self.refused.setdefault(offset, "another IFD points to it too: the chain forms a loop")
                return
            self._visited.add(offset)
            if len(self._visited) > self._limits.ifds:
                raise LimitError(f"more than {self._limits.ifds} IFDs")
            try:
                body = self._body(offset)
            except TiffError as error:
                if len(self._visited) == 1:
                    raise
                self.refused[offset] = str(error)
                return
            if body is None:
                return
            entries, following = body
            try:
                self._image(entries, offset, number if page is None else page, None if page is None else page)
            except TiffError as error:
                if len(self._visited) == 1:
                    raise
                self.refused[offset] = str(error)
            offset = following
            number += 1

    def sub_chains(self) -> None:
        """Read the SubIFDs that the IFDs read so far point to, and what follows them."""
        while self._pending:
            offset, page = self._pending.pop(0)
            self.chain(offset, page)

    def _fetch(self, start: int, stop: int) -> memoryview | None:
        """Bytes `[start, stop)`, or None after noting that they are missing."""
        if self._size is not None and stop > self._size:
            raise TruncatedError(f"bytes {start} to {stop} are needed, the file has {self._size}")
        view = self._view(start, stop)
        if view is None:
            self.missing.append((start, stop))
        elif stop > self.end:
            self.end = stop
        return view

    def _body(self, offset: int) -> tuple[tuple[bytes, ...], int] | None:
        """Heads and values of an IFD's entries in turn, and the offset of the next IFD."""
        form = self._form
        start = offset + form.count_size
        view = self._view(offset, start)
        if view is None:
            if self._size is None:
                self.missing.append((offset, offset + READ_AHEAD))
                return None
            self._fetch(offset, max(start, min(offset + READ_AHEAD, self._size)))
            return None
        count = int.from_bytes(view, form.order_name)  # type: ignore[arg-type]
        if not 0 < count <= self._limits.entries:
            raise LimitError(f"the IFD at {offset} has {count} entries, allowed are 1 to {self._limits.entries}")
        self._entries += count
        if self._entries > self._limits.all_entries:
            raise LimitError(f"the IFDs have more than {self._limits.all_entries} entries together")
        stop = start + count * form.entry_size
        body = self._fetch(start, stop)
        if body is None:
            return None
        following = self._following(stop)
        if following is None:
            return None
        return splitter(form, count).unpack(body), following

    def _following(self, start: int) -> int | None:
        """Offset of the next IFD, 0 where the file ends before it: libtiff takes that as the chain's end."""
        stop = start + self._form.offset_size
        if self._size is not None and stop > self._size:
            return 0
        view = self._fetch(start, stop)
        return None if view is None else int.from_bytes(view, self._form.order_name)  # type: ignore[arg-type]

    def _image(self, entries: tuple[bytes, ...], offset: int, page: int, parent: int | None) -> None:
        self._account(0)
        layout = self._interner.layout(self._form, entries[0::2])
        values = entries[1::2]
        already_missing = len(self.missing)
        self._queue_sub_ifds(layout, values, page)
        outline = [self._outline(entry, values) for entry in layout.outline]
        geo = [values[entry.index] if entry.inline else self._outline(entry, values) for entry in layout.geo]
        chunks = layout.chunks
        tiled, striped = chunks.get(Tag.TileOffsets), chunks.get(Tag.StripOffsets)
        where = tiled or striped
        if where is None:
            raise TiffError(f"neither TileOffsets nor StripOffsets in the IFD at {offset}")
        offsets = self._array(where, values)
        how_long = chunks.get(Tag.TileByteCounts) or chunks.get(Tag.StripByteCounts)
        byte_counts = None if how_long is None else self._array(how_long, values)
        if len(self.missing) > already_missing or offsets is None:
            return
        description: ImageDescription = self._interner.description(layout, layout.pick(values), outline, geo)
        if id(description) not in self._described:
            self._described.add(id(description))
            self._account(_MEMORY_A_BYTE * (sum(map(len, outline)) + sum(map(len, geo))))
        offsets, byte_counts = chunk_table(description, offsets, byte_counts, self._size, where.tag)
        self._account(offsets.nbytes + byte_counts.nbytes)
        self.images.append(
            TiffImage(
                description=description,
                offsets=offsets,
                byte_counts=byte_counts,
                ifd_offset=offset,
                page=page,
                parent=parent,
            )
        )

    def _account(self, cost: int) -> None:
        """Refuse IFDs, each within its limits, that would fill the memory together: from the first such one on."""
        self._memory += cost
        if self._memory > self._limits.header_bytes:
            raise LimitError(f"the values of all IFDs take more than {self._limits.header_bytes} bytes of memory")

    def _outline(self, entry: Entry, values: tuple[bytes, ...]) -> bytes:
        """Bytes of a value that stands elsewhere in the file; empty after noting that they are missing."""
        start = int.from_bytes(values[entry.index], self._form.order_name)  # type: ignore[arg-type]
        view = self._fetch(start, start + entry.nbytes)
        return b"" if view is None else bytes(view)

    def _array(self, entry: Entry, values: tuple[bytes, ...]) -> npt.NDArray[np.int64] | None:
        """Values of an integer array in one step; None after noting that they are missing."""
        kind = entry.field_type
        if kind.items != 1 or kind.dtype[0] == "f":
            raise TiffError(f"{Tag(entry.tag).name}: expected integers, found type {kind.name}")
        data: bytes | memoryview | None
        if entry.inline:
            data = values[entry.index]
        else:
            start = int.from_bytes(values[entry.index], self._form.order_name)  # type: ignore[arg-type]
            data = self._fetch(start, start + entry.nbytes)
            if data is None:
                return None
        array = np.frombuffer(data, self._form.byte_order + kind.dtype, entry.count)
        fits = kind.dtype in {"u1", "u2", "u4"}
        if not fits and (array.max() > _LARGEST_OFFSET or array.min() < 0):
            raise TruncatedError(f"{Tag(entry.tag).name}: an offset or byte count beyond 2**62")
        return array.astype(np.int64)

    def _queue_sub_ifds(self, layout: Layout, values: tuple[bytes, ...], page: int) -> None:
        entry = layout.chunks.get(Tag.SubIFDs)
        if entry is None:
            return
        if entry.count + len(self._pending) > self._limits.ifds:
            raise LimitError(f"{entry.count + len(self._pending)} SubIFDs, allowed are {self._limits.ifds}")
        offsets = self._array(entry, values)
        if offsets is not None:
            self._pending.extend((offset, page) for offset in offsets.tolist() if offset)
