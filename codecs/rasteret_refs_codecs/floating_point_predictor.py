"""Predictor 3, floating point (Adobe's TIFF Technical Note 3): byte planes per row, differenced byte by byte."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

from dataclasses import dataclass
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.base import Bytes, checked_choice
from rasteret_refs_codecs.float24 import float24_bits, widen_float24
from rasteret_refs_codecs.rows import RowCodec

_BLOCK_BYTES = 512 * 1024
"""Bytes decoded at a time: the sums need no more memory than that."""


@dataclass(frozen=True, kw_only=True)
class FloatingPointPredictor(RowCodec):
    """Undo the floating point predictor; the encoded form is the same in files of both byte orders.

    A row holds the most significant bytes of all its values, then the next ones, …; bytes are differenced along
    the whole row with a stride of `samples`. 24-bit floats widen to float32.
    """

    codec_id: ClassVar[str] = "rasteret_refs.floating_point_predictor"

    bits: int
    """Of a sample: 16, 24, 32 or 64."""

    def __post_init__(self) -> None:
        checked_choice(self.codec_id, "bits", self.bits, (16, 24, 32, 64))
        super().__post_init__()

    @property
    def encoded_row_bytes(self) -> int:
        """Bytes of one encoded row."""
        return self.shape[1] * self.shape[2] * self.bits // 8

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """The float that a sample becomes."""
        return np.dtype({16: "<f2", 24: "<f4", 32: "<f4", 64: "<f8"}[self.bits])

    def decode_rows(self, data: Bytes, out: npt.NDArray[Any]) -> None:
        """Sum the bytes along each row, then gather each value from its planes; some rows at a time."""
        rows, columns, samples = out.shape
        step = max(1, _BLOCK_BYTES // self.encoded_row_bytes)
        encoded = data.reshape(rows, -1)
        word = np.dtype(f"<u{self.decoded_dtype.itemsize}")
        target = out.view(word)
        direct = out.flags.c_contiguous
        block = np.empty((0 if direct else min(step, rows), columns, samples), word)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            words = target[start:stop] if direct else block[: stop - start]
            _gather(self._sum(encoded[start:stop]), words.reshape(stop - start, -1))
            if self.bits == 24:
                words[...] = widen_float24(words)
            if not direct:
                np.copyto(target[start:stop], words)

    def _sum(self, encoded: Bytes) -> Bytes:
        """Return planes of bytes, shape (rows, bytes of a sample, columns · samples), of rows of encoded bytes."""
        rows, samples = len(encoded), self.shape[2]
        if samples == 1:
            summed = imagecodecs.delta_decode(encoded, axis=-1)
        else:
            summed = imagecodecs.delta_decode(encoded.reshape(rows, -1, samples), axis=1)
        return np.asarray(summed).reshape(rows, self.bits // 8, -1)

    def encode_rows(self, samples: npt.NDArray[Any]) -> Bytes:
        """Split values into byte planes and difference them."""
        rows, item = samples.shape[0], self.bits // 8
        word = np.dtype(f"<u{self.decoded_dtype.itemsize}")
        values = samples.reshape(rows, -1).view(word)
        if self.bits == 24:
            values = float24_bits(values)
        shifts = [8 * (item - 1 - plane) for plane in range(item)]
        planes = np.stack([(values >> word.type(shift)).astype(np.uint8) for shift in shifts], axis=1)
        interleaved = planes.reshape(rows, -1, self.shape[2])
        differences = interleaved.copy()
        np.subtract(interleaved[:, 1:], interleaved[:, :-1], out=differences[:, 1:])
        return differences.reshape(-1)


def _gather(planes: Bytes, words: npt.NDArray[Any]) -> None:
    """Write into `words` (rows, values) the values whose bytes lie in `planes` (rows, bytes, values).

    Shifting and or-ing whole planes runs in SIMD; copying bytes to their places with strides does not.
    """
    np.copyto(words, planes[:, 0])
    eight = words.dtype.type(8)
    for plane in range(1, planes.shape[1]):
        np.left_shift(words, eight, out=words)
        np.bitwise_or(words, planes[:, plane], out=words)
