"""TIFF's LZW (compression 5), read as far as a chunk goes: what comes after it in a stream is nobody's."""

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np

from rasteret_refs_codecs.base import MAXIMUM_CHUNK_BYTES, Bytes, CodecError, TiffCodec, as_bytes, typed_output


@dataclass(frozen=True, kw_only=True)
class Lzw(TiffCodec):
    """Decode LZW until the chunk is full, as libtiff does.

    Some writers' strips run on past their rows, into codes that mean nothing: `imagecodecs_lzw` reads a stream to its
    end and raises. Old-style streams (least significant bit first) are told apart by their first code.
    """

    codec_id: ClassVar[str] = "rasteret_refs.lzw"

    decoded_bytes: int
    """Of a whole chunk; a short last strip has fewer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.decoded_bytes, int) or not 1 <= self.decoded_bytes <= MAXIMUM_CHUNK_BYTES:
            raise CodecError(
                f"{self.codec_id}: expected decoded_bytes of 1 to {MAXIMUM_CHUNK_BYTES}, got {self.decoded_bytes!r}"
            )

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode a chunk to at most `decoded_bytes` bytes.

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
            The stream is damaged within the chunk.
        """
        decoded = decode_lzw(as_bytes(buf), np.empty(self.decoded_bytes, np.uint8))
        if out is None:
            return decoded
        typed_output(out, decoded.dtype, decoded.shape)[:] = decoded
        return out

    def encode(self, buf: Any) -> bytes:
        """Encode decoded bytes, of any buffer."""
        data = as_bytes(buf)
        if data.size > self.decoded_bytes:
            raise CodecError(f"{self.codec_id}: expected at most {self.decoded_bytes} bytes to encode, got {data.size}")
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
