"""Coordinates of a set as they are stored: decoded from the set's own files, without opening it through Zarr."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import DamagedError
from rasteret_refs.refset.metadata import DIMENSIONS
from rasteret_refs.refset.sealed import SealedSet
from rasteret_refs.virtual.values import CoordinateArray


def stored_coordinate(sealed: SealedSet, path: str) -> CoordinateArray:
    """Return a coordinate of a set: values as they are stored, and all that is needed to write it again.

    Parameters
    ----------
    sealed
        The set.
    path
        Path of an array whose chunks are all inlined.

    Raises
    ------
    DamagedError
        A file is not what the seal says, or a chunk is not inlined.
    """
    document: Mapping[str, Any] = sealed.documents[f"{path}/.zarray"]
    attributes = dict(sealed.documents.get(f"{path}/.zattrs", {}))
    dims = tuple(attributes.pop(DIMENSIONS, ()))
    shape, chunks = tuple(document["shape"]), tuple(document["chunks"])
    return CoordinateArray(
        name=path.rpartition("/")[2],
        values=_values(sealed, path, document),
        dims=dims,
        attributes=attributes,
        chunks=None if chunks == tuple(max(size, 1) for size in shape) else chunks,
        compressor=document["compressor"],
        filters=tuple(document["filters"] or ()),
    )


def stored_values(sealed: SealedSet, path: str) -> npt.NDArray[Any]:
    """Return a coordinate's stored values; times as the int64 that are stored."""
    return _values(sealed, path, sealed.documents[f"{path}/.zarray"])


def _values(sealed: SealedSet, path: str, document: Mapping[str, Any]) -> npt.NDArray[Any]:
    from numcodecs.registry import get_codec  # type: ignore[import-untyped]

    shape, chunks, dtype = tuple(document["shape"]), tuple(document["chunks"]), np.dtype(document["dtype"])
    decoders = [get_codec(dict(config)) for config in (document["compressor"], *reversed(document["filters"] or ()))
                if config is not None]  # fmt: skip
    grid = [range(-(-size // chunk)) for size, chunk in zip(shape, chunks, strict=True)]
    count = int(np.prod([len(axis) for axis in grid], dtype=np.int64))
    encoded = _inlined(sealed, path, count)
    values = np.empty(shape, dtype)
    for corner, data in zip(product(*grid), encoded, strict=True):
        decoded: Any = data
        for codec in decoders:
            decoded = codec.decode(decoded)
        chunk_values = np.frombuffer(memoryview(decoded).cast("B"), dtype).reshape(chunks)
        place = tuple(slice(k * c, min((k + 1) * c, n)) for k, c, n in zip(corner, chunks, shape, strict=True))
        values[place] = chunk_values[tuple(slice(s.stop - s.start) for s in place)]
    return values


def _inlined(sealed: SealedSet, path: str, count: int) -> list[bytes]:
    size = sealed.record_size
    tables = [sealed.table(path, number) for number in range(-(-count // size))]
    raw = (
        pa.concat_tables([table.select(["raw"]) for table in tables])["raw"]
        if tables
        else pa.chunked_array([], pa.binary())
    )
    found = [None if value is None else bytes(value) for value in raw.to_pylist()[:count]]
    if len(found) != count or None in found:
        raise DamagedError(
            f"{sealed.files.location}: expected {count} inlined chunks of the coordinate {path}, got fewer"
        )
    return [value for value in found if value is not None]
