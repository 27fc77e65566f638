"""Mask bits: a 1-bit transparency mask becomes 0 and 255."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError
from rasteret_refs_codecs.rows import RowCodec


@dataclass(frozen=True, kw_only=True)
class MaskBits(RowCodec):
    """Unpack a 1-bit mask to 0 (masked) and 255 (valid), as GDAL gives it (TIFF 6.0, NewSubfileType)."""

    codec_id: ClassVar[str] = "rasteret_refs.mask_bits"

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one packed row, the last one filled up."""
        return (self.shape[1] * self.shape[2] + 7) // 8

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """One byte."""
        return np.dtype("|u1")

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Unpack and stretch: the negative of 1 is 255 in unsigned bytes."""
        rows, columns, samples = out.shape
        bits = np.unpackbits(data.reshape(rows, -1), axis=1, count=columns * samples)
        np.negative(bits.reshape(out.shape), out=out)

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Pack; refuse other values than 0 and 255."""
        if not np.isin(samples, (0, 255)).all():
            raise CodecError(f"{self.codec_id}: expected a mask of 0 and 255, got {np.unique(samples)[:5].tolist()}")
        return np.packbits(samples.reshape(samples.shape[0], -1) == 255, axis=1).reshape(-1)
