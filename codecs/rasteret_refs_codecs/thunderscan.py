"""ThunderScan (compression 32809): 4-bit greys of a scanner of 1984, as libtiff decodes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rasteret_refs_codecs.libtiff import GreyCodec


@dataclass(frozen=True, kw_only=True)
class ThunderScan(GreyCodec):
    """Decode to one byte a pixel, 0 to 15."""

    codec_id: ClassVar[str] = "rasteret_refs.thunderscan"

    @property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """4 bits a pixel."""
        return {258: (4,), 259: (32809,), 262: (1,)}
