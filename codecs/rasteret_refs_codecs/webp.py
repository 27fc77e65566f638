"""WebP (compression 50001)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError
from rasteret_refs_codecs.images import ImageCodec


@dataclass(frozen=True, kw_only=True)
class Webp(ImageCodec):
    """Decode WebP to 3 (RGB) or 4 samples (RGBA), as the TIFF says; an opaque alpha left out comes back as 255."""

    codec_id: ClassVar[str] = "rasteret_refs.webp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[2] not in {3, 4}:
            raise CodecError(f"{self.codec_id}: expected 3 or 4 samples, got {self.shape[2]}")

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """One byte a sample."""
        return np.dtype("|u1")

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode; the library compares the image's size with that of `out` before it decodes anything."""
        out = np.empty((rows, *self.shape[1:]), np.uint8)
        imagecodecs.webp_decode(data, hasalpha=self.shape[2] == 4, out=out)  # noqa: PLR2004 - RGBA
        return out
