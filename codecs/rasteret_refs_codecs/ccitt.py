"""CCITT bi-level coding (TIFF 6.0 sections 10, 11): modified Huffman (2, 32771), Group 3 (3) and Group 4 (4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, checked_choice
from rasteret_refs_codecs.libtiff import GreyCodec

_FEW = 0.01
"""Share of a strip's rows on which decoders disagree where these rows are damaged, rather than one decoder lost."""
_COMPRESSIONS = {"rle": 2, "group3": 3, "group4": 4, "rle_words": 32771}


@dataclass(frozen=True, kw_only=True)
class Ccitt(GreyCodec):
    """Decode to one byte a pixel: 0 for a white run, 1 for a black one, whatever they mean in the image."""

    codec_id: ClassVar[str] = "rasteret_refs.ccitt"

    scheme: str
    """`rle`, `group3`, `group4` or `rle_words`."""
    options: int = 0
    """T4Options (tag 292) or T6Options (293)."""
    fill_order: int = 1
    """FillOrder (tag 266): 2 where the least significant bit comes first; these decoders reverse bits themselves."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "scheme", self.scheme, tuple(_COMPRESSIONS))
        checked_choice(self.codec_id, "fill_order", self.fill_order, (1, 2))
        super().__post_init__()

    @property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """What libtiff's fax decoders ask for."""
        tags = {258: (1,), 259: (_COMPRESSIONS[self.scheme],), 262: (0,)}
        tags |= {266: (self.fill_order,)}
        options = {"group3": 292, "group4": 293}.get(self.scheme)
        return tags if options is None else tags | {options: (self.options,)}

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode a strip of `rows` rows; raises where single rows of Group 4 data are damaged.

        Of a whole strip libtiff passes over such a row with a warning (row by row, as GDAL reads large strips, it
        fails). So a second decoder has to agree. Where the two go apart altogether it is the second that is at a loss
        (extensions, missing end codes), and libtiff counts.
        """
        image = super().decode_rows_of(data, rows)
        if self.scheme == "group4":
            stream = imagecodecs.bitorder_decode(data) if self.fill_order == 2 else data  # noqa: PLR2004 - a tag's value
            second = imagecodecs.ccittfax4_decode(stream, height=rows, width=self.shape[1])
            same = np.asarray(second).reshape(rows, -1).astype(bool) == image.reshape(rows, -1).astype(bool)
            damaged = rows - int(same.all(axis=1).sum())
            if 0 < damaged <= max(1, rows * _FEW):
                raise CodecError(f"{damaged} damaged rows")
        return image
