"""Bit unpacking: samples of 1 to 31 bits, packed without gaps along each row, and the 24-bit float."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, Endian, checked_choice
from rasteret_refs_codecs.float24 import float24_bits, widen_float24
from rasteret_refs_codecs.rows import RowCodec


@dataclass(frozen=True, kw_only=True)
class UnpackBits(RowCodec):
    """Unpack samples of odd bit depths into the smallest container (TIFF 6.0, BitsPerSample; GDAL's NBITS).

    Rows start on byte boundaries; the most significant bit comes first, in files of both byte orders. Only 24-bit
    samples, being whole bytes, have a byte order. Signed odd depths are read as unsigned, as GDAL does.
    """

    codec_id: ClassVar[str] = "rasteret_refs.unpack_bits"

    bits: int
    """Of a sample: 1 to 31, but neither 8 nor 16."""
    sample_format: str = "uint"
    """`uint`, or `float` for 24-bit floats."""
    byte_order: Endian = "<"
    """Of 24-bit samples: `<` or `>`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, tuple(n for n in range(1, 32) if n not in {8, 16}))
        checked_choice(self.codec_id, "byte_order", self.byte_order, ("<", ">"))
        formats = ("uint", "float") if self.bits == 24 else ("uint",)
        checked_choice(self.codec_id, "sample_format", self.sample_format, formats)
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one packed row, the last one filled up."""
        return (self.shape[1] * self.shape[2] * self.bits + 7) // 8

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integer that holds a sample, or float32."""
        if self.sample_format == "float":
            return np.dtype("<f4")
        return np.dtype("|u1" if self.bits < 8 else "<u2" if self.bits < 16 else "<u4")

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Unpack into `out`."""
        rows, columns, samples = out.shape
        values = columns * samples
        if self.bits == 1:
            unpacked = np.unpackbits(data.reshape(rows, -1), axis=1, count=values)
        elif self.bits == 24:
            unpacked = self._whole_bytes(data.reshape(rows, values, 3))
        else:
            unpacked = imagecodecs.packints_decode(data, self.decoded_dtype, self.bits, runlen=values)
        np.copyto(
            out, unpacked[: rows * values].reshape(out.shape) if unpacked.ndim == 1 else unpacked.reshape(out.shape)
        )

    def _whole_bytes(self, data: Bytes) -> npt.NDArray[Any]:
        """Return 24-bit samples, shape (rows, values, 3 bytes), as 32-bit ones."""
        wide = np.zeros((*data.shape[:2], 4), np.uint8)
        wide[..., :3] = data if self.byte_order == "<" else data[..., ::-1]
        words = wide.view("<u4")[..., 0]
        return widen_float24(words).view("<f4") if self.sample_format == "float" else words

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Pack; refuse values that need more bits."""
        rows = samples.shape[0]
        values = samples.reshape(rows, -1)
        words = float24_bits(values.view("<u4")) if self.sample_format == "float" else values
        if words.size and int(words.max()) >> self.bits:
            raise CodecError(f"{self.codec_id}: expected values below 2**{self.bits}, got {int(words.max())}")
        if self.bits == 24:
            three = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(rows, -1, 4)[..., :3]
            return np.ascontiguousarray(three if self.byte_order == "<" else three[..., ::-1]).reshape(-1)
        shifts = np.arange(self.bits - 1, -1, -1, dtype=words.dtype)
        planes = ((words[..., None] >> shifts) & words.dtype.type(1)).astype(np.uint8)
        return np.packbits(planes.reshape(rows, -1), axis=1).reshape(-1)
