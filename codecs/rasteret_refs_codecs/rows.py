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
    TiffCodec,
    as_bytes,
    checked_shape,
    typed_output,
)

_EXCESS = 8
"""Bytes, less than a row, that a short last strip may have beyond its rows: LZW of Photoshop ends with one too many."""


def ends_short(size: int, short_rows: int, row_bytes: int) -> bool:
    """Whether `size` decoded bytes are those of a short last strip."""
    return 0 <= size - short_rows * row_bytes < min(_EXCESS, row_bytes)


def sample_words(sample_bytes: int) -> np.dtype[Any]:
    """Return a dtype of that many bytes which NumPy copies fast and bit by bit."""
    return np.dtype("<c16" if sample_bytes == 16 else f"<u{sample_bytes}")


@dataclass(frozen=True, kw_only=True)
class RowCodec(TiffCodec):
    """A codec in which each row of a chunk decodes by itself."""

    shape: tuple[int, int, int]
    """Rows, columns and interleaved samples of a whole chunk (1 sample where planes are separate)."""
    short_rows: int = 0
    """Rows of the last strip where that is shorter (TIFF 6.0, RowsPerStrip); 0 where all chunks are whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", checked_shape(self.codec_id, self.shape))
        if not 0 <= self.short_rows < self.shape[0]:
            raise CodecError(f"{self.codec_id}: expected 0 ≤ short_rows < {self.shape[0]}, got {self.short_rows!r}")
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

    def count_rows(self, size: int) -> int:
        """Tell how many rows `size` encoded bytes hold: all of them, or those of a short last strip.

        Bytes beyond a whole chunk are ignored, as libtiff does, and so are a few beyond a short last strip; fewer
        bytes are never taken for a smaller chunk.
        """
        rows = self.shape[0]
        if size >= rows * self.encoded_row_bytes:
            return rows
        if self.short_rows and ends_short(size, self.short_rows, self.encoded_row_bytes):
            return self.short_rows
        short = f" or {self.short_rows * self.encoded_row_bytes} (last strip)" if self.short_rows else ""
        raise CodecError(f"{self.codec_id}: expected {rows * self.encoded_row_bytes} bytes{short}, got {size}")

    def decoded_shape(self, rows: int) -> tuple[int, int, int]:
        """Shape of what `rows` encoded rows decode to."""
        return (rows, self.shape[1], self.shape[2])

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode a chunk to bytes.

        Parameters
        ----------
        buf
            Encoded bytes, as any buffer.
        out
            Where to write: a contiguous buffer of at least the decoded size.

        Returns
        -------
        out, or a new one-dimensional `uint8` array.

        Raises
        ------
        CodecError
            The bytes are fewer than the configuration's shape asks for.
        """
        data = as_bytes(buf)
        rows = self.count_rows(data.size)
        shape = self.decoded_shape(rows)
        target = np.empty(shape, self.decoded_dtype) if out is None else typed_output(out, self.decoded_dtype, shape)
        self.decode_rows(data[: rows * self.encoded_row_bytes], target)
        return target.reshape(-1).view(np.uint8) if out is None else out

    def encode(self, buf: Any) -> Bytes:
        """Encode decoded bytes, of any buffer; the inverse of `decode`."""
        data = as_bytes(buf)
        row_bytes = self.shape[1] * self.shape[2] * self.decoded_dtype.itemsize
        rows, rest = divmod(data.size, row_bytes)
        if rest or rows not in {self.shape[0], self.short_rows} or not rows:
            raise CodecError(f"{self.codec_id}: expected {self.shape[0] * row_bytes} bytes to encode, got {data.size}")
        return self.encode_rows(data.view(self.decoded_dtype).reshape(rows, *self.shape[1:]))
