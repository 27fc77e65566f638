"""NeXT's 2-bit grey run lengths (compression 32766), as libtiff decodes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.libtiff import LibtiffCodec


@dataclass(frozen=True, kw_only=True)
class NextRle(LibtiffCodec):
    """Decode to one byte a pixel, 0 to 3."""

    codec_id: ClassVar[str] = "rasteret_refs.next_rle"

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
        """2 bits a pixel."""
        return {258: (2,), 259: (32766,), 262: (1,)}
