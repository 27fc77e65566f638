"""The 24-bit float of TIFF Technical Note 3 (1 bit of sign, 7 of exponent, 16 of mantissa) to float32 and back."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import CodecError

_SUBNORMAL = np.float32(2.0**-78)
"""Worth of one unit of mantissa where the exponent is 0: 2**(1 - 63 - 16)."""


def widen_float24(words: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return the float32 bit patterns of 24-bit floats.

    Exact for all of them, NaN payloads included: equal to GDAL's on all 2**24 values (imagecodecs replaces NaNs).

    Parameters
    ----------
    words
        `uint32` with the 24 bits in the low ones; any shape.
    """
    bits = words.astype(np.uint32, copy=False)
    sign = (bits >> 23) << 31
    exponent = (bits >> 16) & 0x7F
    mantissa = bits & 0xFFFF
    biased = np.where(exponent == 0x7F, np.uint32(0xFF), exponent + np.uint32(64))
    normal = biased << 23 | mantissa << 7
    subnormal = (mantissa.astype(np.float32) * _SUBNORMAL).view(np.uint32)
    return np.asarray(sign | np.where(exponent == 0, subnormal, normal), dtype=np.uint32)


def float24_bits(words: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return the 24-bit floats of float32 bit patterns; refuse values that 24 bits cannot hold exactly."""
    bits = words.astype(np.uint32, copy=False)
    sign = (bits >> 31) << 23
    exponent = ((bits >> 23) & 0xFF).astype(np.int64)
    normal = (np.clip(exponent - 64, 0, 0x7E).astype(np.uint32) << 16) | ((bits >> 7) & 0xFFFF)
    special = np.uint32(0x7F0000) | ((bits >> 7) & 0xFFFF)
    magnitude = np.where(exponent > 64, np.uint32(0), bits & 0x7FFFFFFF).view(np.float32)
    subnormal = (magnitude / _SUBNORMAL).astype(np.uint32)
    narrow = sign | np.where(exponent == 0xFF, special, np.where(exponent > 64, normal, subnormal))
    if not np.array_equal(widen_float24(narrow), bits):
        raise CodecError("expected values that a 24-bit float holds exactly, got others")
    return np.asarray(narrow, dtype=np.uint32)
