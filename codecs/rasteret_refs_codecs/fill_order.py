"""FillOrder 2: the bits of each byte run from the least significant one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rasteret_refs_codecs.base import Bytes, TiffCodec, as_bytes, typed_output

_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little"))
"""Each byte with its bits reversed."""


@dataclass(frozen=True, kw_only=True)
class FillOrder(TiffCodec):
    """Reverse the bits of each byte (TIFF 6.0, FillOrder 2), before anything else is decoded.

    The output is as long as the input, so that no shape is needed to bound it.
    """

    codec_id: ClassVar[str] = "rasteret_refs.fill_order"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Reverse; returns `out`, or a new one-dimensional `uint8` array."""
        data = as_bytes(buf)
        if out is None:
            return _REVERSED[data]
        np.take(_REVERSED, data, out=typed_output(out, data.dtype, data.shape))
        return out

    def encode(self, buf: Any) -> Bytes:
        """Reverse, likewise."""
        return np.asarray(self.decode(buf))
