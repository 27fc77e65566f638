"""Complex integers (sample format 5) become complex floats, which NumPy has."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, Endian, checked_choice
from rasteret_refs_codecs.rows import RowCodec


@dataclass(frozen=True, kw_only=True)
class ComplexInt(RowCodec):
    """Widen pairs of signed integers to complex64, the dtype that rasterio gives for CInt16 and CInt32.

    Parts beyond 2**24 of a CInt32 are rounded to float32, as there.
    """

    codec_id: ClassVar[str] = "rasteret_refs.complex_int"

    bits: int
    """Of one part: 16 or 32."""
    byte_order: Endian = "<"
    """`<` or `>`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, (16, 32))
        checked_choice(self.codec_id, "byte_order", self.byte_order, ("<", ">"))
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one encoded row: two parts a sample."""
        return self.shape[1] * self.shape[2] * self.bits // 4

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """complex64."""
        return np.dtype("<c8")

    @property
    def _part(self) -> np.dtype[Any]:
        return np.dtype(f"{self.byte_order}i{self.bits // 8}")

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Convert both parts into `out`."""
        parts = data.view(self._part).reshape(*out.shape, 2)
        out.real = parts[..., 0]
        out.imag = parts[..., 1]

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Convert back; refuse values that are no integers of that size."""
        parts = np.stack([samples.real, samples.imag], axis=-1).astype(np.float64)
        limit = 1 << (self.bits - 1)
        if not ((parts == np.rint(parts)) & (parts >= -limit) & (parts < limit)).all():
            raise CodecError(f"{self.codec_id}: expected integers of {self.bits} bits in both parts, got others")
        return parts.astype(self._part).reshape(-1).view(np.uint8)
