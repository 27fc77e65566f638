"""Byte order: samples of a big-endian file become little-endian."""

# ruff: noqa: PLR2004 - bit depths say what they are

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, checked_choice
from rasteret_refs_codecs.rows import RowCodec


@dataclass(frozen=True, kw_only=True)
class ByteOrder(RowCodec):
    """Swap the bytes of each sample (TIFF 6.0 section 2, "MM" files)."""

    codec_id: ClassVar[str] = "rasteret_refs.byte_order"

    bits: int
    """Of what is swapped: 16, 32 or 64; for a complex sample that is one of its two parts."""
    parts: int = 1
    """2 for complex samples."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, (16, 32, 64))
        checked_choice(self.codec_id, "parts", self.parts, (1, 2) if self.bits > 16 else (1,))
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one encoded row."""
        return self.shape[1] * self.shape[2] * self.parts * self.bits // 8

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """Unsigned words; complex samples keep their parts side by side."""
        return np.dtype(f"<u{self.bits // 8}") if self.parts == 1 else np.dtype(f"<c{2 * self.bits // 8}")

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Swap into `out`; NumPy copies between byte orders at the speed of memory."""
        np.copyto(out, data.view(self.decoded_dtype.newbyteorder(">")).reshape(out.shape))

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Swap back."""
        return samples.astype(self.decoded_dtype.newbyteorder(">")).reshape(-1).view(np.uint8)
