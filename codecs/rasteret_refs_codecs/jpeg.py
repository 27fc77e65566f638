"""JPEG (compression 7, TIFF Technical Note 2): abbreviated streams, their tables kept in the configuration."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, checked_choice
from rasteret_refs_codecs.images import ImageCodec

_END_OF_IMAGE = b"\xff\xd9"
_MARKER = 0xFF
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15; those left out mean something else."""
_FRAME_HEADER = 7
_AS_THEY_ARE = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}
"""Colour space by samples that keeps libjpeg from guessing one, and hence from transforming; others it never does."""


@dataclass(frozen=True, kw_only=True)
class Jpeg(ImageCodec):
    """Decode JPEG as libtiff does for GDAL: colours follow the TIFF's tags, whatever markers the stream carries.

    libjpeg-turbo's accurate integer DCT and smooth chroma upsampling make the pixels equal to GDAL's, bit by bit.
    """

    codec_id: ClassVar[str] = "rasteret_refs.jpeg"

    bits: int = 8
    """Of a sample: 8, or 12 (in 16-bit words)."""
    ycbcr: bool = False
    """Whether the stream holds YCbCr, which becomes RGB; everything else stays as it is."""
    tables: str = ""
    """JPEGTables (tag 347) in base64."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, (8, 12))
        checked_choice(self.codec_id, "ycbcr", self.ycbcr, (False, True))
        try:
            base64.b64decode(self.tables, validate=True)
        except (binascii.Error, TypeError) as error:
            raise CodecError(f"{self.codec_id}: expected tables in base64: {error}") from error
        super().__post_init__()

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """One byte a sample, or two for 12 bits."""
        return np.dtype("|u1" if self.bits == 8 else "<u2")  # noqa: PLR2004 - a bit depth

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode; the library compares the image's size with that of `out` before it decodes anything."""
        if data.tobytes().rfind(_END_OF_IMAGE) < 0:
            # libjpeg would fill the missing part with grey and only warn.
            raise CodecError("a JPEG stream without its end-of-image marker")
        # A last strip may have a row past the image's end, from writers that want even numbers; libtiff drops it.
        stored = rows + (rows == self.short_rows and frame_height(data) == rows + 1 < self.shape[0])
        out = np.empty((stored, *self.shape[1:]), self.decoded_dtype)
        as_it_is = _AS_THEY_ARE.get(self.shape[2], "UNKNOWN")
        imagecodecs.jpeg8_decode(
            data,
            tables=base64.b64decode(self.tables) or None,
            colorspace="YCBCR" if self.ycbcr else as_it_is,
            outcolorspace="RGB" if self.ycbcr else as_it_is,
            out=out if self.shape[2] > 1 else out[..., 0],
        )
        return out[:rows]


def frame_height(data: Bytes) -> int:
    """Rows that a JPEG stream's frame header gives (ITU-T T.81, B.2.2), or 0 where none is found."""
    stream, at = data.tobytes(), 2
    while at + _FRAME_HEADER <= len(stream) and stream[at] == _MARKER:
        marker = stream[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(stream[at + 5 : at + 7], "big")
        at += 1 if marker == _MARKER else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return 0
