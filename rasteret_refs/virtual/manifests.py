"""Chunk manifests of arrays that stack many images, put together by NumPy: no Python step per chunk."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rasteret_refs.tiff.values import TiffImage
from rasteret_refs.virtual.values import ChunkManifest


class Entry(NamedTuple):
    """One image in one row of an array."""

    row: int
    """Row along the scene axis, counted from the first that the manifest describes."""
    image: TiffImage
    url: str
    fill: Any
    """Value of sparse chunks and of chunks past the image's edge: nodata, else 0."""


def stack_manifest(
    entries: Sequence[Entry],
    *,
    rows: int,
    grid: tuple[int, int, int],
    hole_fills: Sequence[Any] | Any,
    fill_chunk: Callable[[Any], bytes],
) -> ChunkManifest:
    """Put the chunk references of images together, in C order.

    Parameters
    ----------
    entries
        At most one a row, in order of rows; each image's chunks are planes, then rows, then columns.
    rows
        Rows that the manifest describes; one without an entry is a hole.
    grid
        (planes, down, across): chunks of one row. Where an image has fewer, its fill stands.
    hole_fills
        Fill value of the holes: one for all, or a sequence of `rows` values.
    fill_chunk
        Makes an encoded chunk that decodes to a value everywhere; called once per distinct value that is needed.

    Returns
    -------
    ChunkManifest
        `rows · planes · down · across` references. Nothing is missing: what no byte range backs is inlined.
    """
    shape = (rows, *grid)
    offsets, sizes, owners = _referenced(entries, shape)
    absent = sizes == 0
    urls, owners = _distinct_urls([entry.url for entry in entries], owners)
    if not absent.any():
        return ChunkManifest(urls=urls, url_index=owners, offsets=offsets, sizes=sizes)
    per_row = absent.reshape(rows, -1)
    distinct, of_row = _fills_of_rows(entries, rows, hole_fills)
    needed = np.unique(of_row[per_row.any(axis=1)])
    position = np.full(len(distinct), -1, np.int32)
    position[needed] = np.arange(len(needed), dtype=np.int32)
    inline = np.where(per_row, position[of_row][:, None], np.int32(-1)).ravel()
    offsets[absent] = 0
    owners[absent] = -1
    return ChunkManifest(
        urls=urls,
        url_index=owners,
        offsets=offsets,
        sizes=sizes,
        inlined=[fill_chunk(distinct[k]) for k in needed],
        inline=inline,
    )


def _referenced(
    entries: Sequence[Entry], shape: tuple[int, int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Offsets, sizes (0 where absent) and owning entry of each chunk, flat, in C order."""
    rows, planes, down, across = shape
    by_chunks: dict[tuple[int, int], list[int]] = {}
    known: dict[int, tuple[int, int]] = {}
    for number, entry in enumerate(entries):
        description = entry.image.description
        chunks = known.get(id(description))
        if chunks is None:
            chunks = known[id(description)] = (description.chunks_down, description.chunks_across)
        by_chunks.setdefault(chunks, []).append(number)
    if len(entries) == rows and list(by_chunks) == [(down, across)]:
        return (
            np.concatenate([entry.image.offsets for entry in entries]),
            np.concatenate([entry.image.byte_counts for entry in entries]),
            np.repeat(np.arange(rows, dtype=np.int32), planes * down * across),
        )
    offsets = np.zeros(shape, np.int64)
    sizes = np.zeros(shape, np.int64)
    owners = np.full(shape, -1, np.int32)
    for (high, wide), numbers in by_chunks.items():
        block = (len(numbers), planes, high, wide)
        at = np.array([entries[number].row for number in numbers])
        offsets[at, :, :high, :wide] = np.concatenate([entries[n].image.offsets for n in numbers]).reshape(block)
        sizes[at, :, :high, :wide] = np.concatenate([entries[n].image.byte_counts for n in numbers]).reshape(block)
        owners[at, :, :high, :wide] = np.array(numbers, np.int32)[:, None, None, None]
    return offsets.ravel(), sizes.ravel(), owners.ravel()


def _distinct_urls(urls: list[str], owners: npt.NDArray[np.int32]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """List each object once, where a scene comes twice."""
    position = {url: number for number, url in enumerate(dict.fromkeys(urls))}
    if len(position) == len(urls):
        return urls, owners
    renumbered = np.array([*(position[url] for url in urls), -1], np.int32)
    return list(position), renumbered[owners]


def _fills_of_rows(entries: Sequence[Entry], rows: int, hole_fills: Any) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """Distinct fill values, and which of them each row has. NaN equals itself here, and 0.0 is not -0.0."""
    values = list(hole_fills) if isinstance(hole_fills, (list, tuple)) else [hole_fills] * rows
    for entry in entries:
        values[entry.row] = entry.fill
    distinct: list[Any] = []
    position: dict[str, int] = {}
    of_row = np.empty(rows, np.int64)
    for row, value in enumerate(values):
        text = repr(value)
        if text not in position:
            position[text] = len(distinct)
            distinct.append(value)
        of_row[row] = position[text]
    return distinct, of_row
