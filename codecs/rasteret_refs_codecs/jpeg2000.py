"""JPEG 2000 (compression 34712)."""

import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, CodecError, checked_choice
from rasteret_refs_codecs.images import ImageCodec

_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a codestream and its SIZ marker (ISO/IEC 15444-1, A.4.1 and A.5.1)."""
_SIZ = struct.Struct(">HHIIIIIIIIH")


@dataclass(frozen=True, kw_only=True)
class Jpeg2000(ImageCodec):
    """Decode JPEG 2000 codestreams, raw or in a JP2 file."""

    codec_id: ClassVar[str] = "rasteret_refs.jpeg2000"

    dtype: str
    """Of a decoded sample: `|u1`, `|i1`, `<u2` or `<i2`."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "dtype", self.dtype, ("|u1", "|i1", "<u2", "<i2"))
        super().__post_init__()

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """As configured."""
        return np.dtype(self.dtype)

    def decode_rows_of(self, data: Bytes, rows: int) -> npt.NDArray[Any]:
        """Decode once the size that the codestream announces is known to be the right one."""
        encoded = data.tobytes()
        start = encoded.find(_CODESTREAM)
        if start < 0 or len(encoded) < start + len(_CODESTREAM) + _SIZ.size:
            raise CodecError("no JPEG 2000 codestream")
        _, _, right, bottom, left, top, *_, samples = _SIZ.unpack_from(encoded, start + len(_CODESTREAM))
        size = (bottom - top, right - left, samples)
        if size != (rows, *self.shape[1:]):
            raise CodecError(f"an image of {size[0]} rows, {size[1]} columns and {size[2]} samples")
        out = np.empty(size, self.decoded_dtype)
        imagecodecs.jpeg2k_decode(encoded, planar=False, out=out if samples > 1 else out[..., 0])
        return out
