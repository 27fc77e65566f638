"""A plan's groups as kerchunk-Parquet's `.zmetadata`: Zarr v2 metadata of groups and arrays, and the record size."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.layout import array_path, check_name
from rasteret_refs.virtual.values import ChunkManifest, CoordinateArray, VirtualArray, VirtualGroup

DIMENSIONS: Final = "_ARRAY_DIMENSIONS"
"""xarray's attribute for dimension names in Zarr v2."""

DECODED_ATTRIBUTES: Final = frozenset({"_FillValue", "missing_value", "scale_factor", "add_offset"})
"""Attributes by which xarray changes an array's dtype; foreign metadata lies nested under `gdal` instead."""

COORDINATE_KINDS: Final = frozenset("biufcUS")
"""NumPy kinds of coordinates; times are int64 with CF units, texts have a fixed width."""


def array_metadata(array: VirtualArray) -> dict[str, Any]:
    """Return the `.zarray` document of a virtual array. `fill_value` is null: every chunk is present."""
    return _zarray(array.shape, array.chunks, array.chain.dtype, array.chain.filters, array.chain.compressor)


def coordinate_metadata(coordinate: CoordinateArray) -> dict[str, Any]:
    """Return the `.zarray` document of a coordinate."""
    values = coordinate.values
    return _zarray(values.shape, chunks_of(coordinate), values.dtype.str, coordinate.filters, coordinate.compressor)


def chunks_of(coordinate: CoordinateArray) -> tuple[int, ...]:
    """Return a coordinate's chunk shape: one chunk where none is given."""
    return coordinate.chunks if coordinate.chunks is not None else tuple(max(n, 1) for n in coordinate.values.shape)


def coordinate_manifest(coordinate: CoordinateArray) -> ChunkManifest:
    """Encode a coordinate's chunks and inline them all, in C order; the last ones padded with zeros as Zarr v2 asks."""
    from numcodecs.registry import get_codec  # type: ignore[import-untyped]

    filters = [get_codec(dict(config)) for config in coordinate.filters]
    compressor = None if coordinate.compressor is None else get_codec(dict(coordinate.compressor))
    encoded = []
    for chunk in _chunks(coordinate.values, chunks_of(coordinate)):
        data: Any = chunk
        for codec in filters:
            data = codec.encode(data)
        if compressor is not None:
            data = compressor.encode(data)
        encoded.append(np.ascontiguousarray(data).tobytes() if isinstance(data, np.ndarray) else bytes(data))
    count = len(encoded)
    return ChunkManifest(
        urls=(),
        url_index=np.full(count, -1, np.int32),
        offsets=np.zeros(count, np.int64),
        sizes=np.zeros(count, np.int64),
        inlined=tuple(encoded),
        inline=np.arange(count, dtype=np.int32),
    )


def chunk_count(shape: Iterable[int], chunks: Iterable[int]) -> int:
    """Return how many chunks an array has."""
    return int(np.prod([-(-n // c) for n, c in zip(shape, chunks, strict=True)], dtype=np.int64))


def hierarchy_metadata(groups: Iterable[VirtualGroup]) -> dict[str, Any]:
    """Return the documents of all groups and arrays, by key, in order of the plan.

    Raises
    ------
    RefsetError
        What a plain reader could not open: an array at the root (fsspec takes its chunk `0.0` for metadata), a group
        without its parent, names that stand twice or mislead, dimensions of two sizes in one group, attributes by which
        xarray would change dtypes.
    """
    documents: dict[str, Any] = {}
    for group in groups:
        _check_group(group, documents)
        prefix = f"{group.path}/" if group.path else ""
        documents[f"{prefix}.zgroup"] = {"zarr_format": 2}
        if group.attributes:
            documents[f"{prefix}.zattrs"] = dict(group.attributes)
        for array in group.arrays:
            documents[f"{prefix}{array.name}/.zarray"] = array_metadata(array)
            documents[f"{prefix}{array.name}/.zattrs"] = {DIMENSIONS: list(array.dims), **array.attributes}
        for coordinate in group.coordinates:
            documents[f"{prefix}{coordinate.name}/.zarray"] = coordinate_metadata(coordinate)
            attributes = {DIMENSIONS: list(coordinate.dims), **coordinate.attributes}
            documents[f"{prefix}{coordinate.name}/.zattrs"] = attributes
    if ".zgroup" not in documents:
        raise RefsetError("root group: expected it in the plan, got none")
    return documents


def zmetadata_bytes(documents: Mapping[str, Any], record_size: int) -> bytes:
    """Serialise `.zmetadata`.

    Raises
    ------
    RefsetError
        An attribute that JSON cannot hold (NaN and infinities included: many readers refuse them).
    """
    try:
        text = json.dumps(
            {"metadata": documents, "record_size": record_size},
            allow_nan=False,
            separators=(",", ":"),
            ensure_ascii=False,
            default=_plain_number,
        )
    except (ValueError, TypeError) as error:
        raise RefsetError(f"Zarr metadata: expected values that JSON holds, got: {error}") from error
    return text.encode()


def _plain_number(value: Any) -> Any:
    """Give NumPy scalars and arrays as Python values."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def _zarray(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    filters: tuple[Mapping[str, Any], ...],
    compressor: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": dtype,
        "compressor": None if compressor is None else dict(compressor),
        "fill_value": None,
        "filters": [dict(config) for config in filters] or None,
        "order": "C",
    }


def _chunks(values: npt.NDArray[Any], chunks: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """Cut an array into full chunks, in C order."""
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(values.shape, chunks, strict=True))):
        part = values[tuple(slice(start, start + c) for start, c in zip(corner, chunks, strict=True))]
        if part.shape != chunks:
            full = np.zeros(chunks, values.dtype)
            full[tuple(slice(n) for n in part.shape)] = part
            part = full
        yield np.ascontiguousarray(part)


def _check_group(group: VirtualGroup, documents: Mapping[str, Any]) -> None:
    owner = f"group {group.path or '/'}"
    if not group.path and (group.arrays or group.coordinates):
        raise RefsetError("root group: expected no arrays (fsspec cannot read them there), got some")
    for segment in group.path.split("/") if group.path else ():
        check_name(segment, owner)
    parent = group.path.rpartition("/")[0]
    if group.path and (f"{parent}/.zgroup" if parent else ".zgroup") not in documents:
        raise RefsetError(f"{owner}: expected its parent before it, got none")
    if (f"{group.path}/.zgroup" if group.path else ".zgroup") in documents:
        raise RefsetError(f"{owner}: expected it once in the plan, got it twice")
    sizes: dict[str, int] = {}
    names: set[str] = set()
    for name, dims, shape, attributes in _members(group):
        path = array_path(group.path, name)
        check_name(name, f"array {path}")
        if name.lower() in names:
            raise RefsetError(f"array {path}: expected names that differ by more than case, got it twice")
        names.add(name.lower())
        if len(dims) != len(shape) or len(set(dims)) != len(dims):
            raise RefsetError(f"array {path}: expected one name for each of {len(shape)} dimensions, got {dims}")
        for dim, size in zip(dims, shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise RefsetError(f"array {path}: expected {sizes[dim]} for dimension {dim} as beside it, got {size}")
        if decoded := DECODED_ATTRIBUTES & attributes.keys():
            raise RefsetError(f"array {path}: expected no attribute that changes the dtype, got {sorted(decoded)}")


def _members(group: VirtualGroup) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], Mapping[str, Any]]]:
    for array in group.arrays:
        expected = chunk_count((array.shape[0] - array.start, *array.shape[1:]), array.chunks)
        if len(array.manifest) != expected:
            path = array_path(group.path, array.name)
            raise RefsetError(f"array {path}: expected {expected} references, got {len(array.manifest)}")
        if array.chain.dtype.startswith(">"):
            raise RefsetError(f"array {array_path(group.path, array.name)}: expected a little-endian dtype")
        yield array.name, array.dims, array.shape, array.attributes
    for coordinate in group.coordinates:
        dtype = coordinate.values.dtype
        if dtype.kind not in COORDINATE_KINDS or dtype.str.startswith(">"):
            path = array_path(group.path, coordinate.name)
            raise RefsetError(f"coordinate {path}: expected little-endian numbers or fixed-width text, got {dtype}")
        yield coordinate.name, coordinate.dims, coordinate.values.shape, coordinate.attributes
