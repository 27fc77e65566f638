"""What the reader knows of one Zarr v2 array: shape, chunks, dtype and how a chunk decodes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import DamagedError, FormatVersionError
from rasteret_refs.refset.documents import check_codecs
from rasteret_refs_codecs.fast import Decoder, compile_decoder

ATTRIBUTE_DIMENSIONS = "_ARRAY_DIMENSIONS"
SEPARATOR = "."
"""Between the chunk indices of a key: the only one that kerchunk-Parquet readers understand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencedArray:
    """One array of a reference set, from its `.zarray` and `.zattrs`. Immutable; equal only to itself."""

    path: str
    """Path in the store, without leading slash."""
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    filters: tuple[Mapping[str, Any], ...] = ()
    """numcodecs configurations in encoding order."""
    compressor: Mapping[str, Any] | None = None
    order: str = "C"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_metadata(cls, path: str, zarray: Mapping[str, Any], attributes: Mapping[str, Any]) -> "ReferencedArray":
        """Take over Zarr v2 metadata.

        Raises
        ------
        FormatVersionError
            `.zarray` is not of Zarr version 2.
        DamagedError
            `.zarray` lacks a field or holds nonsense.
        """
        if zarray.get("zarr_format") != 2:  # noqa: PLR2004 - the version of the format, in the specification's own words
            raise FormatVersionError(f"expected Zarr version 2, found {zarray.get('zarr_format')!r}: {path}/.zarray")
        check_codecs(zarray, path)
        try:
            shape, chunks = tuple(map(int, zarray["shape"])), tuple(map(int, zarray["chunks"]))
            dtype, order = np.dtype(zarray["dtype"]), str(zarray["order"])
            filters, compressor = tuple(zarray["filters"] or ()), zarray["compressor"]
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"expected Zarr v2 array metadata, found {error!r}: {path}/.zarray") from error
        if zarray.get("dimension_separator") not in {None, SEPARATOR}:
            raise DamagedError(f"expected chunk keys like 0.0, found {zarray['dimension_separator']!r}: {path}/.zarray")
        if len(shape) != len(chunks) or any(size < 1 for size in chunks) or any(size < 0 for size in shape):
            raise DamagedError(f"expected one chunk size per dimension, found {shape} and {chunks}: {path}/.zarray")
        return cls(
            path=path,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            filters=filters,
            compressor=compressor,
            order=order,
            attributes=attributes,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Chunks along each dimension."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """What one step along each dimension of the chunk grid adds to a chunk's number (C order)."""
        return tuple(math.prod(self.grid[axis + 1 :]) for axis in range(len(self.grid)))

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions, as xarray keeps them in the attributes of Zarr v2."""
        return tuple(self.attributes.get(ATTRIBUTE_DIMENSIONS, ()))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

    def chunk_number(self, key: str) -> int | None:
        """Give the number of the chunk that a key (`0.3.1`) names; None where it names none.

        A zero-dimensional array has one chunk with the key `0`.
        """
        parts = key.split(SEPARATOR)
        if not self.shape:
            return 0 if key == "0" else None
        if len(parts) != len(self.grid):
            return None
        number = 0
        for part, count, stride in zip(parts, self.grid, self.strides, strict=True):
            if not (part.isascii() and part.isdecimal()) or str(int(part)) != part or int(part) >= count:
                return None
            number += int(part) * stride
        return number

    def chunk_key(self, number: int) -> str:
        """Give the key of a chunk, the inverse of `chunk_number`."""
        if not self.shape:
            return "0"
        return SEPARATOR.join(str(i) for i in np.unravel_index(number, self.grid))

    def inside(self, number: int) -> tuple[int, ...]:
        """Give how much of a chunk lies inside the array, along each dimension."""
        return tuple(
            min(chunk, size - number // stride % count * chunk)
            for size, chunk, stride, count in zip(self.shape, self.chunks, self.strides, self.grid, strict=True)
        )

    @cached_property
    def decoder(self) -> Decoder:
        """How chunks decode, compiled once; it sees chunks as `plane` shapes them.

        Raises
        ------
        DamagedError
            The metadata names a codec that is unknown here, or configures one wrongly.
        """
        shape = plane(np.broadcast_to(np.empty((), dtype=self.dtype), self.chunks)).shape
        try:
            return compile_decoder(self.filters, self.compressor, self.dtype, shape)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(f"expected codecs that are known here, found {error}: {self.path}/.zarray") from error


def plane(chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """View a chunk as decoders do: (rows, columns) or (bands, rows, columns), without the scene dimension."""
    if chunk.ndim < 2:  # noqa: PLR2004 - coordinates: one row
        return chunk[(np.newaxis,) * (2 - chunk.ndim)]
    return chunk[0] if chunk.ndim > 2 and chunk.shape[0] == 1 else chunk  # noqa: PLR2004 - rows and columns


def unplaned(rows: npt.NDArray[Any], dimensions: int) -> npt.NDArray[Any]:
    """View what `plane` shapes, or some rows of it, as the chunk that it is: the inverse."""
    return rows[(np.newaxis,) * (dimensions - rows.ndim) + (0,) * (rows.ndim - dimensions)]
