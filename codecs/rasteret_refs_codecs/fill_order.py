"""FillOrder 2: the bits of each byte run from the least significant one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rasteret_refs_codecs.base import Bytes, TiffCodec, typed_output

_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little"))
"""Each byte with its bits reversed."""


@dataclass(frozen=True, kw_only=True)
class FillOrder(TiffCodec):
    """Reverse the bits of each byte (TIFF 6.0, FillOrder 2), before anything else is decoded.

    The output is as long as the input, so that no shape is needed to bound it.
    """

    codec_id: ClassVar[str] = "rasteret_refs.fill_order"

    def decode_chunk(self, data: Bytes, out: Any) -> Bytes:
        """Reverse the bits of each byte."""
        if out is None:
            return _REVERSED[data]
        target = typed_output(out, data.dtype, data.shape)
        np.take(_REVERSED, data, out=target)
        return target

    def encode(self, buf: Any) -> Bytes:
        """Reverse, likewise."""
        return np.asarray(self.decode(buf))
