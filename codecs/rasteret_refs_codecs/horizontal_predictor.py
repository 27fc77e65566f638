"""Predictor 2, horizontal differencing (TIFF 6.0 section 14): running sums along each row, sample by sample."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, Endian, checked_choice
from rasteret_refs_codecs.rows import RowCodec


@dataclass(frozen=True, kw_only=True)
class HorizontalPredictor(RowCodec):
    """Undo horizontal differencing; sums are modulo 2**bits on the bit patterns, whatever the sample format.

    Decoded samples are little-endian: data of a big-endian file are swapped before they are summed, because the
    differences were taken between values, not between bytes.
    """

    codec_id: ClassVar[str] = "rasteret_refs.horizontal_predictor"

    bits: int
    """Of a sample: 8, 16, 32 or 64 (those that libtiff knows)."""
    byte_order: Endian = "<"
    """Of the encoded differences: `<` or `>`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, (8, 16, 32, 64))
        checked_choice(self.codec_id, "byte_order", self.byte_order, ("<", ">"))
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one encoded row."""
        return self.shape[1] * self.shape[2] * self.bits // 8

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """Unsigned: the bit patterns."""
        return np.dtype(f"<u{self.bits // 8}")

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Sum along the columns, into `out`."""
        differences = data.view(self.decoded_dtype).reshape(out.shape)
        if self.byte_order == ">" and self.bits > 8:
            # One pass more, at the speed of a memory copy; afterwards the sums run in place.
            np.copyto(out, data.view(self.decoded_dtype.newbyteorder(">")).reshape(out.shape))
            differences = out
        if self.shape[2] == 1:
            imagecodecs.delta_decode(differences[..., 0], axis=-1, out=out[..., 0])
        elif out.strides[2] > out.strides[1]:
            # Band-first memory: walk it in its own order.
            imagecodecs.delta_decode(differences.transpose(2, 0, 1), axis=-1, out=out.transpose(2, 0, 1))
        else:
            imagecodecs.delta_decode(differences, axis=1, out=out)

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Take differences along the columns."""
        differences = samples.copy()
        np.subtract(samples[:, 1:], samples[:, :-1], out=differences[:, 1:])
        return differences.astype(self.decoded_dtype.newbyteorder(self.byte_order)).reshape(-1).view(np.uint8)
