"""Deinterleaving: chunky samples (pixel by pixel) become bands, one after the other."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, as_bytes, checked_choice
from rasteret_refs_codecs.rows import SampleRowCodec


@dataclass(frozen=True, kw_only=True)
class BandFirst(SampleRowCodec):
    """Turn (rows, columns, samples) into (samples, rows, columns) (TIFF 6.0, PlanarConfiguration 1)."""

    codec_id: ClassVar[str] = "rasteret_refs.band_first"

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "short_rows", self.short_rows, (0,))
        super().__post_init__()

    def decoded_shape(self, rows: int) -> tuple[int, int, int]:
        """Bands first."""
        return (self.shape[2], rows, self.shape[1])

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Copy each sample to its band; here `out` has the shape (samples, rows, columns)."""
        interleaved = data.view(self.decoded_dtype).reshape(out.shape[1], out.shape[2], out.shape[0])
        np.copyto(out, interleaved.transpose(2, 0, 1))

    def encode(self, buf: Any) -> Bytes:
        """Interleave."""
        data = as_bytes(buf)
        rows, columns, samples = self.shape
        if data.size != rows * self.encoded_row_bytes:
            raise CodecError(
                f"{self.codec_id}: expected {rows * self.encoded_row_bytes} bytes to encode, got {data.size}"
            )
        return self.encode_rows(data.view(self.decoded_dtype).reshape(samples, rows, columns))

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Interleave an array of shape (samples, rows, columns)."""
        return np.ascontiguousarray(samples.transpose(1, 2, 0)).reshape(-1).view(np.uint8)
