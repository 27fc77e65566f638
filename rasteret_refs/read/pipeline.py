"""Zarr's codec pipeline for arrays of a reference set: a whole selection read as one batch.

Zarr hands a pipeline all chunks of a selection at once. Its own pipelines then ask the store chunk by chunk; this one
gives them to `Reader` together, which looks references up in bulk, merges neighbours into ranged requests and decodes
in threads into the output. It is speed only: the pixels are those of the store under any pipeline.

Which pipeline an array uses is Zarr's global configuration at the time the array is opened. That belongs to the user,
so it is left alone: `with_bulk_reads` gives one array its own pipeline. Whoever wants it for all arrays may say
`zarr.config.set({"codec_pipeline.path": "rasteret_refs.read.pipeline.BulkReadPipeline"})`; arrays of other stores are
then read by Zarr's own code.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.core.array import AsyncArray
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import StorePath

from rasteret_refs.read import tiles
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.selection import Piece
from rasteret_refs.read.store import ReferenceStore


class BulkReadPipeline(BatchedCodecPipeline):
    """Reads selections of a `ReferenceStore` in one batch, and everything else as Zarr does."""

    async def read(self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()) -> Any:
        """Read chunks into `out`.

        Parameters
        ----------
        batch_info
            For each chunk: its store path, its specification, the selection inside it, the selection of `out` that it
            fills, and whether that is the whole chunk.
        out
            `zarr.core.buffer.NDBuffer` of the selection's shape.
        drop_axes
            Dimensions of the chunks' parts that `out` lacks.
        """
        batch = list(batch_info)
        located = _located([item[0] for item in batch])
        target = out.as_ndarray_like()
        if located is None or not isinstance(target, np.ndarray):
            return await super().read(batch, out, drop_axes)
        reader, array, numbers = located
        pieces = [
            _piece(array, number, inside, outside)
            for number, (_, _, inside, outside, *_) in zip(numbers, batch, strict=True)
        ]
        await reader.run_jobs(tiles.gather_jobs([(array, target, pieces, None)], drop_axes))
        return ({"status": "present"},) * len(batch)


register_pipeline(BulkReadPipeline)


def with_bulk_reads(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    """Give the same array of a `ReferenceStore` with `BulkReadPipeline`; configuration stays as it is."""
    asynchronous: Any = AsyncArray(array.metadata, array.store_path, array.async_array.config)
    pipeline = BulkReadPipeline.from_codecs(asynchronous.codec_pipeline)
    object.__setattr__(asynchronous, "codec_pipeline", pipeline)  # frozen; Zarr's constructor sets it in this way too
    return zarr.Array(asynchronous)


def open_array(store: ReferenceStore, path: str) -> "zarr.Array[Any]":
    """Open an array of a reference set with fast reads."""
    array = zarr.open_array(store, path=path, mode="r", zarr_format=2)
    return with_bulk_reads(array)


def _located(getters: Sequence[Any]) -> tuple[Reader, ReferencedArray, list[int]] | None:
    """Find the one array that all chunks belong to and their numbers; None when they are not a `ReferenceStore`'s."""
    if not getters or not isinstance(getters[0], StorePath) or not isinstance(getters[0].store, ReferenceStore):
        return None
    reader = getters[0].store.reader
    path = getters[0].path.rpartition("/")[0]
    array = reader.array(path)
    start = len(path) + 1 if path else 0
    numbers = [array.chunk_number(getter.path[start:]) for getter in getters]
    if any(number is None for number in numbers):
        return None
    return reader, array, [number for number in numbers if number is not None]


def _piece(array: ReferencedArray, number: int, inside: Any, outside: Any) -> Piece:
    inside = inside if isinstance(inside, tuple) else (inside,)
    row_axis = max(len(array.shape) - 2, 0)
    rows = _stop(inside[row_axis], array.chunks[row_axis]) if len(inside) > row_axis else array.chunks[row_axis]
    plain = (
        isinstance(outside, tuple)
        and len(inside) == len(outside) == len(array.shape)
        and all(isinstance(key, slice) and key.step in {None, 1} for key in (*inside, *outside))
    )
    return Piece(number, rows, inside, outside, plain)


def _stop(selector: Any, size: int) -> int:
    """Give one past the last position that a selector of a chunk's rows takes."""
    if isinstance(selector, (int, np.integer)):
        return int(selector) + 1
    if isinstance(selector, slice):
        start, stop, step = selector.indices(size)
        return max(stop, start + 1) if step > 0 else start + 1
    positions = np.asarray(selector)
    if positions.dtype == bool:
        positions = np.flatnonzero(positions)
    return int(positions.max()) + 1 if positions.size else 1
