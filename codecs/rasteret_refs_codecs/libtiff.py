"""Chunks that only libtiff reads as GDAL does: each becomes the one strip of a TIFF in memory."""

import struct
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, Endian, checked_choice
from rasteret_refs_codecs.images import ImageCodec

_SHORT, _LONG = 3, 4
_HEADER_BYTES = 8
_INLINE = 4
"""Bytes of a value that fit into its entry."""


@dataclass(frozen=True, kw_only=True)
class LibtiffCodec(ImageCodec):
    """Decode by libtiff itself, which imagecodecs carries: the decoder, and the tolerance for odd data, are GDAL's.

    libtiff allocates what the tags say, which come from the configuration, never from the data.
    """

    byte_order: Endian = "<"
    """Of the file: `<` or `>`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "byte_order", self.byte_order, ("<", ">"))
        super().__post_init__()

    @property
    @abstractmethod
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """Tags beside those of the image's shape: compression, bits, sample format, photometric, options."""

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode a strip of `rows` rows."""
        columns, samples = self.shape[1:]
        shape_tags = {256: (columns,), 257: (rows,), 277: (samples,), 278: (rows,), 284: (1,)}
        decoded = imagecodecs.tiff_decode(single_strip(data, shape_tags | dict(self.tags), self.byte_order))
        native = decoded.reshape(rows, columns, samples)
        return native.view(np.uint8) if native.dtype == bool else native.astype(self.decoded_dtype, copy=False)


@dataclass(frozen=True, kw_only=True)
class GreyCodec(LibtiffCodec):
    """Decode images of one sample a pixel to one byte each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[2] != 1:
            raise CodecError(f"{self.codec_id}: expected 1 sample, got {self.shape[2]}")

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """One byte a pixel."""
        return np.dtype("|u1")


def single_strip(data: Bytes, tags: Mapping[int, tuple[int, ...]], byte_order: str) -> bytes:
    """Return a classic TIFF (TIFF 6.0 section 2) with these tags, whose only strip is `data`.

    Parameters
    ----------
    data
        The strip.
    tags
        Values by tag, but for StripOffsets and StripByteCounts. Those of 32 bits are written as LONG, others as SHORT.
    byte_order
        `<` or `>`.
    """
    complete = dict(tags) | {273: (0,), 279: (len(data),)}
    encoded = {tag: _encode(complete[tag], tag, byte_order) for tag in sorted(complete)}
    start = _HEADER_BYTES + 2 + 12 * len(complete) + 4
    encoded[273] = _encode((start + sum(len(e) for e in encoded.values() if len(e) > _INLINE),), 273, byte_order)
    entries, values = b"", b""
    for tag, value in encoded.items():
        inline = value.ljust(_INLINE, b"\0")
        if len(value) > _INLINE:
            inline = struct.pack(f"{byte_order}I", start + len(values))
            values += value
        entries += struct.pack(f"{byte_order}HHI", tag, _type(tag), len(complete[tag])) + inline
    header = struct.pack(f"{byte_order}2sHI", b"II" if byte_order == "<" else b"MM", 42, _HEADER_BYTES)
    count = struct.pack(f"{byte_order}H", len(complete))
    return b"".join([header, count, entries, bytes(4), values, data.tobytes()])


_LONGS = frozenset({256, 257, 273, 278, 279, 292, 293, 50674})
"""ImageWidth, ImageLength, StripOffsets, RowsPerStrip, StripByteCounts, T4Options, T6Options, LercParameters."""


def _type(tag: int) -> int:
    return _LONG if tag in _LONGS else _SHORT


def _encode(values: tuple[int, ...], tag: int, byte_order: str) -> bytes:
    return struct.pack(f"{byte_order}{len(values)}{'I' if _type(tag) == _LONG else 'H'}", *values)
