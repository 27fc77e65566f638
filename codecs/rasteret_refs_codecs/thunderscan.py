"""ThunderScan (compression 32809): 4-bit greys of a scanner of 1984, as libtiff decodes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.libtiff import LibtiffCodec


@dataclass(frozen=True, kw_only=True)
class ThunderScan(LibtiffCodec):
    """Decode to one byte a pixel, 0 to 15."""

    codec_id: ClassVar[str] = "rasteret_refs.thunderscan"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[2] != 1:
            raise CodecError(f"{self.codec_id}: expected 1 sample, got {self.shape[2]}")

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """One byte a pixel."""
        return np.dtype("|u1")

    @property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """4 bits a pixel."""
        return {258: (4,), 259: (32809,), 262: (1,)}
