"""Padding: a short last strip becomes a whole chunk, its missing rows zero."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes
from rasteret_refs_codecs.rows import SampleRowCodec


@dataclass(frozen=True, kw_only=True)
class Pad(SampleRowCodec):
    """Extend a short last strip to the rows that every chunk of a Zarr array has.

    The rows added lie past the image's edge, so that Zarr never shows them. Bytes past a whole chunk are dropped.
    """

    codec_id: ClassVar[str] = "rasteret_refs.pad"

    def decoded_shape(self, rows: int) -> tuple[int, int, int]:
        """Return the whole chunk's shape."""
        del rows
        return self.shape

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Copy the rows that came and clear the rest."""
        rows = data.size // self.encoded_row_bytes
        np.copyto(out[:rows], data.view(self.decoded_dtype).reshape(rows, *self.shape[1:]))
        out[rows:] = 0

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Keep the whole chunk: only the last strip of a file may be short."""
        return samples.reshape(-1).view(np.uint8)
