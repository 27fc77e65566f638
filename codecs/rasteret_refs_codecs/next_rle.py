"""NeXT's 2-bit grey run lengths (compression 32766), as libtiff decodes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rasteret_refs_codecs.libtiff import GreyCodec


@dataclass(frozen=True, kw_only=True)
class NextRle(GreyCodec):
    """Decode to one byte a pixel, 0 to 3."""

    codec_id: ClassVar[str] = "rasteret_refs.next_rle"

    @property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """2 bits a pixel."""
        return {258: (2,), 259: (32766,), 262: (1,)}
