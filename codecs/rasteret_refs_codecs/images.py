"""Codecs that decode a whole chunk as an image: what they share, and the exact form that they encode to."""

import math
import struct
import zlib
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
    typed_output,
)

STORED = b"\x00rasteret_refs\x00S\x01"
"""Starts a chunk that `encode` wrote: its pixels, as a zlib stream. No image format starts with these 16 bytes."""


@dataclass(frozen=True, kw_only=True)
class ImageCodec(ShapedCodec):
    """A codec that decodes a chunk as one image: JPEG, LERC, WebP and others.

    `encode` is exact, although most of these formats are lossy or have no encoder at hand: it writes the pixels
    deflated, after the 16 bytes of `STORED`, and every `decode` knows that form. It serves for chunks that have to be
    made, such as the constant ones that stand for sparse tiles.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nbytes > MAXIMUM_CHUNK_BYTES:
            raise CodecError(
                f"{self.codec_id}: expected at most {MAXIMUM_CHUNK_BYTES} bytes a chunk, got {self.nbytes}"
            )

    @property
    @abstractmethod
    def decoded_dtype(self) -> np.dtype[Any]:
        """Of one decoded sample; little-endian."""

    @abstractmethod
    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode an image of exactly `rows` rows to the shape (rows, columns, samples), or raise."""

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded chunk."""
        return math.prod(self.shape) * self.decoded_dtype.itemsize

    def decode_image(self, data: Bytes) -> npt.NDArray[Any]:
        """Decode to the shape (rows, columns, samples); a short last strip has fewer rows.

        Raises
        ------
        CodecError
            The data are damaged, or the image has another size than the configuration says.
        """
        if data[: len(STORED)].tobytes() == STORED:
            return self._stored(data[len(STORED) :])
        try:
            return self.decode_rows_of(data, self.shape[0])
        except (RuntimeError, ValueError, IndexError, MemoryError, struct.error) as whole:
            try:
                if self.short_rows:
                    return self.decode_rows_of(data, self.short_rows)
            except (RuntimeError, ValueError, IndexError, MemoryError, struct.error):
                pass  # the message about the whole chunk says more
            rows, columns, samples = self.shape
            raise CodecError(
                f"{self.codec_id}: expected an image of {rows} rows, {columns} columns and {samples} samples of "
                f"{self.decoded_dtype}, got: {str(whole) or 'damaged data'}"
            ) from whole

    def _stored(self, data: Bytes) -> npt.NDArray[Any]:
        stream = zlib.decompressobj()
        try:
            pixels = stream.decompress(data, self.nbytes)
        except zlib.error as error:
            raise CodecError(f"{self.codec_id}: expected a stored chunk, got damaged data: {error}") from error
        if len(pixels) != self.nbytes:
            raise CodecError(f"{self.codec_id}: expected {self.nbytes} bytes of a stored chunk, got {len(pixels)}")
        return np.frombuffer(pixels, self.decoded_dtype).reshape(self.shape)

    def decode_chunk(self, data: Bytes, out: Any) -> npt.NDArray[Any]:
        """Decode to a whole chunk, rows missing from a short last strip being zero."""
        image = self.decode_image(data)
        if out is None and image.shape == self.shape and image.flags.c_contiguous:
            return image
        dtype = self.decoded_dtype
        target = np.empty(self.shape, dtype) if out is None else typed_output(out, dtype, self.shape)
        target[: len(image)] = image
        target[len(image) :] = 0
        return target

    def encode(self, buf: Any) -> bytes:
        """Encode a whole chunk exactly; see the class."""
        data = as_bytes(buf)
        if data.size != self.nbytes:
            raise CodecError(f"{self.codec_id}: expected {self.nbytes} bytes to encode, got {data.size}")
        return STORED + zlib.compress(data, 6)
