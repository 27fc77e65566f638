"""JPEG XL (compressions 50002 and, in DNG 1.7, 52546)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, checked_choice
from rasteret_refs_codecs.images import ImageCodec

_DTYPES = ("|u1", "<u2", "<f2", "<f4")


@dataclass(frozen=True, kw_only=True)
class JpegXl(ImageCodec):
    """Decode JPEG XL; the samples have to be stored as the TIFF says they are."""

    codec_id: ClassVar[str] = "rasteret_refs.jpegxl"

    dtype: str
    """Of a decoded sample: `|u1`, `<u2`, `<f2` or `<f4`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "dtype", self.dtype, _DTYPES)
        super().__post_init__()

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """As configured."""
        return np.dtype(self.dtype)

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode; the library compares the image's size with that of `out` before it decodes anything."""
        out = np.empty((rows, *self.shape[1:]), self.decoded_dtype)
        imagecodecs.jpegxl_decode(data, out=out if self.shape[2] > 1 else out[..., 0])
        return out
