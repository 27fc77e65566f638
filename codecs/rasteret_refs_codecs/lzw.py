"""TIFF's LZW (compression 5), read as far as a chunk goes: what comes after it in a stream is nobody's."""

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np

from rasteret_refs_codecs.base import (
    MAXIMUM_CHUNK_BYTES,
    Bytes,
    CodecError,
    TiffCodec,
    as_bytes,
    check_short_rows,
    typed_output,
)
from rasteret_refs_codecs.rows import rows_present


@dataclass(frozen=True, kw_only=True)
class Lzw(TiffCodec):
    """Decode LZW until the chunk is full, as libtiff does; a stream that ends before is damaged.

    Some writers' strips run on past their rows, into codes that mean nothing: `imagecodecs_lzw` reads a stream to its
    end and raises. Old-style streams (least significant bit first) are told apart by their first code.
    """

    codec_id: ClassVar[str] = "rasteret_refs.lzw"

    decoded_bytes: int
    """Of a whole chunk."""
    rows: int | None = None
    """Of a whole chunk, all equally long. None: of a set from before rows were counted here, whose last strips may be
    short. There any stream is decoded that gives anything; the codecs of rows that follow in such sets count."""
    short_rows: int = 0
    """Rows of the last strip where that is shorter (TIFF 6.0, RowsPerStrip); 0 where all chunks are whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.decoded_bytes, int) or not 1 <= self.decoded_bytes <= MAXIMUM_CHUNK_BYTES:
            raise CodecError(
                f"{self.codec_id}: expected decoded_bytes of 1 to {MAXIMUM_CHUNK_BYTES}, got {self.decoded_bytes!r}"
            )
        rows: Any = self.rows
        if rows is not None and (not isinstance(rows, int) or rows < 1 or self.decoded_bytes % rows):
            raise CodecError(
                f"{self.codec_id}: expected rows of equal size in {self.decoded_bytes} bytes, got {rows!r} rows"
            )
        check_short_rows(self.codec_id, self.short_rows, rows or 1)

    def decode_chunk(self, data: Bytes, out: Any) -> Bytes:
        """Decode to exactly `decoded_bytes` bytes, or to those of the short last strip."""
        decoded = self._present(decode_lzw(data, np.empty(self.decoded_bytes, np.uint8)))
        if out is None:
            return decoded
        target = typed_output(out, decoded.dtype, decoded.shape)
        target[:] = decoded
        return target

    def _present(self, decoded: Bytes) -> Bytes:
        """Cut what was decoded to whole rows, or raise where the stream ended early."""
        if self.rows is None:
            if not decoded.size:
                raise CodecError(f"{self.codec_id}: expected a stream of {self.decoded_bytes} bytes, got an empty one")
            return decoded
        row_bytes = self.decoded_bytes // self.rows
        try:
            return decoded[: rows_present(decoded.size, self.rows, self.short_rows, row_bytes) * row_bytes]
        except CodecError as error:
            raise CodecError(f"{self.codec_id}: {error}: the stream ends early") from error

    def encode(self, buf: Any) -> bytes:
        """Encode decoded bytes, of any buffer: a whole chunk, or a short last strip."""
        data = as_bytes(buf)
        if data.size > self.decoded_bytes or self._present(data).size != data.size:
            raise CodecError(f"{self.codec_id}: expected {self.decoded_bytes} bytes to encode, got {data.size}")
        return bytes(imagecodecs.lzw_encode(data))


def decode_lzw(data: Bytes, out: Bytes) -> Bytes:
    """Decode into `out` until it is full or the stream ends; return what was decoded.

    Raises
    ------
    CodecError
        The stream is damaged.
    """
    try:
        return as_bytes(imagecodecs.lzw_decode(data, out=memoryview(out)))
    except RuntimeError as error:  # all errors of imagecodecs are
        raise CodecError(f"expected an LZW stream of {out.size} bytes, got damaged data: {error}") from error
