"""Codecs that work on whole rows: what they need to know, and the check of how many rows came."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import (
    MAXIMUM_CHUNK_BYTES,
    Bytes,
    CodecError,
    ShapedCodec,
    as_bytes,
    checked_choice,
    typed_output,
)

_EXCESS = 8
"""Bytes, less than a row, that a short last strip may have beyond its rows: LZW of Photoshop ends with one too many."""


def rows_present(size: int, rows: int, short_rows: int, row_bytes: int) -> int:
    """Tell how many rows `size` bytes hold: all `rows`, or those of a short last strip (0: none is allowed).

    Bytes beyond the rows are ignored, as libtiff does, and so are a few beyond a short last strip; fewer bytes are
    never taken for a smaller chunk.

    Raises
    ------
    CodecError
        The bytes are neither.
    """
    if size >= rows * row_bytes:
        return rows
    if short_rows and 0 <= size - short_rows * row_bytes < min(_EXCESS, row_bytes):
        return short_rows
    short = f" or {short_rows * row_bytes} (last strip)" if short_rows else ""
    raise CodecError(f"expected {rows * row_bytes} bytes for {rows} rows{short}, got {size}")


@dataclass(frozen=True, kw_only=True)
class RowCodec(ShapedCodec):
    """A codec in which each row of a chunk decodes by itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for row_bytes in (self.encoded_row_bytes, self.decoded_dtype.itemsize * self.shape[1] * self.shape[2]):
            if row_bytes * self.shape[0] > MAXIMUM_CHUNK_BYTES:
                raise CodecError(
                    f"{self.codec_id}: expected at most {MAXIMUM_CHUNK_BYTES} bytes a chunk, "
                    f"got {row_bytes * self.shape[0]}"
                )

    @property
    @abstractmethod
    def encoded_row_bytes(self) -> int:
        """Bytes of one encoded row."""

    @property
    @abstractmethod
    def decoded_dtype(self) -> np.dtype[Any]:
        """Of one decoded sample; little-endian."""

    @abstractmethod
    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Decode contiguous encoded rows into `out`.

        Parameters
        ----------
        data
            `rows × encoded_row_bytes` bytes.
        out
            Shape (rows, columns, samples), of `decoded_dtype`; any strides. Its memory may be that of `data`.
        """

    @abstractmethod
    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Encode an array of shape (rows, columns, samples) and `decoded_dtype`."""

    def decoded_shape(self, rows: int) -> tuple[int, int, int]:
        """Shape of what `rows` encoded rows decode to."""
        return (rows, self.shape[1], self.shape[2])

    def decode_chunk(self, data: Bytes, out: Any) -> npt.NDArray[Any]:
        """Decode the rows that came: all of them, or those of a short last strip."""
        try:
            rows = rows_present(data.size, self.shape[0], self.short_rows, self.encoded_row_bytes)
        except CodecError as error:
            raise CodecError(f"{self.codec_id}: {error}") from error
        shape = self.decoded_shape(rows)
        target = np.empty(shape, self.decoded_dtype) if out is None else typed_output(out, self.decoded_dtype, shape)
        self.decode_rows(data[: rows * self.encoded_row_bytes], target)
        return target

    def encode(self, buf: Any) -> Bytes:
        """Encode decoded bytes, of any buffer; the inverse of `decode`."""
        data = as_bytes(buf)
        row_bytes = self.shape[1] * self.shape[2] * self.decoded_dtype.itemsize
        rows, rest = divmod(data.size, row_bytes)
        if rest or rows not in {self.shape[0], self.short_rows} or not rows:
            raise CodecError(f"{self.codec_id}: expected {self.shape[0] * row_bytes} bytes to encode, got {data.size}")
        return self.encode_rows(data.view(self.decoded_dtype).reshape(rows, *self.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class SampleRowCodec(RowCodec):
    """A row codec that moves whole samples, whatever they hold."""

    sample_bytes: int
    """Bytes of a decoded sample: 1, 2, 4, 8 or 16."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "sample_bytes", self.sample_bytes, (1, 2, 4, 8, 16))
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one row, before and after."""
        return self.shape[1] * self.shape[2] * self.sample_bytes

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """Words of a sample's size, which NumPy copies fast and bit by bit."""
        return np.dtype("<c16" if self.sample_bytes == 16 else f"<u{self.sample_bytes}")
