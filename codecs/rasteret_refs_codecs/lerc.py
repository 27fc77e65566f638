"""LERC (compression 34887), plain or inside Deflate or Zstandard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rasteret_refs_codecs.base import CodecError, checked_choice
from rasteret_refs_codecs.libtiff import LibtiffCodec

_FORMATS = {"u": 1, "i": 2, "f": 3}
_DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")


@dataclass(frozen=True, kw_only=True)
class Lerc(LibtiffCodec):
    """Decode LERC with the masks that it carries: NaN where a float is invalid, or the alpha sample.

    Both are libtiff's conventions (tif_lerc.c), which is why libtiff decodes.
    """

    codec_id: ClassVar[str] = "rasteret_refs.lerc"

    dtype: str
    """Of a decoded sample: 8, 16 or 32-bit integers, float32 or float64."""
    parameters: tuple[int, int] = (4, 0)
    """LercParameters (tag 50674): LERC's version and the additional compression (0 none, 1 Deflate, 2 Zstandard)."""
    extra_samples: tuple[int, ...] = ()
    """ExtraSamples (tag 338), which tells alpha."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "dtype", self.dtype, _DTYPES)
        object.__setattr__(self, "parameters", tuple(int(value) for value in self.parameters))
        if len(self.parameters) != 2 or not all(0 <= value < 1 << 32 for value in self.parameters):  # noqa: PLR2004
            raise CodecError(f"{self.codec_id}: expected two LercParameters of 32 bits, got {self.parameters}")
        object.__setattr__(self, "extra_samples", tuple(int(value) for value in self.extra_samples))
        super().__post_init__()

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """As configured."""
        return np.dtype(self.dtype)

    @property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """What libtiff's LERC decoder asks for."""
        dtype, samples = self.decoded_dtype, self.shape[2]
        tags = {
            258: (8 * dtype.itemsize,) * samples,
            259: (34887,),
            262: (1,),
            339: (_FORMATS[dtype.kind],) * samples,
            50674: self.parameters,
        }
        if not self.extra_samples:
            return tags
        # Grey is one sample and all others are extra: libtiff replaces a shorter list, and with it the alpha.
        unspecified = (0,) * (samples - 1 - len(self.extra_samples))
        return tags | {338: unspecified + self.extra_samples}
