"""Fast decoding of a whole chain into a given output: bounded, in place where possible, and only the rows asked for.

The pixels are those of the plain numcodecs chain, always; only time and memory differ.
"""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numcodecs  # type: ignore[import-untyped] # it carries no types
import numpy as np
import numpy.typing as npt

from rasteret_refs_codecs.band_first import BandFirst
from rasteret_refs_codecs.base import MAXIMUM_CHUNK_BYTES, Bytes, CodecError, as_bytes
from rasteret_refs_codecs.images import ImageCodec
from rasteret_refs_codecs.inflate import BEGINS, Decompress, Scratch, copy_nothing, decompressor, scratch
from rasteret_refs_codecs.pad import Pad
from rasteret_refs_codecs.rows import RowCodec, rows_present

_HEADERS = 512
"""Bytes of zlib's header and the code tables of a Deflate block, which stand before the first row."""

_finished = Scratch()
"""Rows that could not stay where they were decompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A compiled chain. Stateless: one may serve any number of threads; the libraries release the GIL."""

    dtype: np.dtype[Any]
    """Of the decoded chunk."""
    chunk_shape: tuple[int, ...]
    """(rows, columns) or (bands, rows, columns)."""
    decompress: Decompress | None
    """The bounded decompressor; None for images and where the chain is decoded codec by codec."""
    image: ImageCodec | None
    """What decodes a chunk as an image, in the place of a decompressor."""
    steps: tuple[RowCodec, ...]
    """Row codecs after decompression, in decoding order, without padding and deinterleaving at the end."""
    band_first: bool
    """Whether the samples are interleaved."""
    short_rows: int
    """Rows of a short last strip, 0 where none is allowed."""
    codecs: tuple[Any, ...]
    """The plain chain in decoding order."""

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded chunk."""
        return math.prod(self.chunk_shape) * self.dtype.itemsize

    @property
    def _row_bytes(self) -> int:
        """Bytes of a decompressed row, of all samples where they are interleaved."""
        if self.steps:
            return self.steps[0].encoded_row_bytes
        return self._pixel_row_bytes

    @property
    def _pixel_row_bytes(self) -> int:
        """Bytes of a finished row, of all samples where they are interleaved."""
        return self.chunk_shape[-1] * self._samples * self.dtype.itemsize

    @property
    def _samples(self) -> int:
        """Samples that stand beside each other in the decompressed bytes."""
        return self.chunk_shape[0] if self.band_first else 1

    def beginning(self, rows: int, nbytes: int, density: float) -> int:
        """Say how many of a chunk's encoded bytes are enough to decode its first rows.

        Parameters
        ----------
        rows
            How many rows are needed.
        nbytes
            Of the encoded chunk.
        density
            How many times as many bytes these rows take as those below, at most; only stored chunks need no guess.

        Returns
        -------
        int
            `nbytes` where the compression cannot stop early, or where all rows are needed.
        """
        share = rows / self.chunk_shape[-2]
        if self.decompress not in BEGINS or share >= 1:
            return nbytes
        if self.decompress is copy_nothing:
            return min(nbytes, rows * self._row_bytes)
        return min(nbytes, _HEADERS + math.ceil(nbytes * density * share / (density * share + 1 - share)))

    def decode_into(
        self, data: Any, out: npt.NDArray[Any], rows: int | None = None, *, first: int = 0, partial: bool = False
    ) -> None:
        """Decode a chunk, or some of its rows, into `out`.

        Parameters
        ----------
        data
            The encoded chunk, as any buffer.
        out
            Of the chain's dtype and of the chunk's shape, but for the rows (last axis but one), of which there may
            be fewer; any strides, so that it may be a window of a larger array.
        rows
            How many rows are needed, at most those of `out`; None for all of `out`'s. Others are left untouched.
        first
            The chunk's row that becomes the first one of `out`.
        partial
            Whether the data are only the chunk's beginning: rows that they do not reach are refused then, and never
            taken for those that a short last strip lacks.

        Raises
        ------
        CodecError
            The data do not decode to the chunk, or to the rows needed of it, or `out` does not fit.
        """
        target = self._target(out, rows, first)
        encoded = self._accepted(data, partial=partial)
        if self.decompress is not None:
            count = first + target.shape[1]
            direct = not self.steps and self._samples == 1 and not first and target.flags.c_contiguous
            memory = target.reshape(-1).view(np.uint8) if direct else scratch.take(count * self._row_bytes)
            decoded, present = self._decompressed(encoded, memory, count, partial=partial)
            if direct and np.shares_memory(decoded, memory):
                target[:, present:] = 0
            else:
                self._finish(decoded, target, first, present)
        elif self.image is not None:
            self._decode_image(encoded, target, first)
        else:
            self._decode_plainly(encoded, target, first)

    def decode_rows(self, data: Any, rows: int, *, first: int = 0, partial: bool = False) -> npt.NDArray[Any]:
        """Decode some rows of a chunk, where their bytes were decompressed to if that can be: fresh memory is slow.

        Parameters
        ----------
        data, first, partial
            As of `decode_into`.
        rows
            How many rows are needed.

        Returns
        -------
        numpy.ndarray
            Of the chain's dtype and of the chunk's shape, but for the rows; any strides. Not to be written to, and
            valid until this thread decodes again, as long as `data` is.

        Raises
        ------
        CodecError
            The data do not decode to the rows needed.
        """
        shape = (*self.chunk_shape[:-2], rows, self.chunk_shape[-1])
        if first < 0 or not 1 <= rows <= self.chunk_shape[-2] - first:
            raise CodecError(f"expected rows of a chunk of {self.chunk_shape}, got rows={rows}, first={first}")
        if self.decompress is None:
            out = self._held(shape)
            self.decode_into(data, out, first=first, partial=partial)
            return out
        count, width = first + rows, self._row_bytes
        memory = scratch.take(count * width)
        decoded, present = self._decompressed(self._accepted(data, partial=partial), memory, count, partial=partial)
        if present < count or not self._stays(decoded, memory):
            out = self._held(shape)
            self._finish(decoded, out if out.ndim == 3 else out[None], first, present)
            return out
        wanted = decoded[first * width : count * width]
        chunky = wanted.view(self.dtype).reshape(rows, -1, self._samples)
        if self.steps:
            run_rows(self.steps, wanted, chunky)
        planes: npt.NDArray[Any] = chunky.transpose(2, 0, 1) if len(shape) == 3 else chunky[..., 0]
        return planes

    def _accepted(self, data: Any, *, partial: bool) -> Bytes:
        """View encoded bytes; refuse a beginning of what cannot stop early."""
        if partial and self.decompress not in BEGINS:
            raise CodecError("expected all bytes of a chunk whose compression cannot stop early, got its beginning")
        return as_bytes(data)

    def _held(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Give memory of this thread's for finished rows."""
        return _finished.take(math.prod(shape) * self.dtype.itemsize).view(self.dtype).reshape(shape)

    def _stays(self, decoded: Bytes, memory: Bytes) -> bool:
        """Tell whether row codecs may finish rows in the place of the decompressed ones."""
        if not self.steps:
            return True
        return self._row_bytes == self._pixel_row_bytes and np.may_share_memory(decoded, memory)

    def _target(self, out: npt.NDArray[Any], rows: int | None, first: int) -> npt.NDArray[Any]:
        """Return the rows of `out` to fill, as (bands, rows, columns)."""
        wanted = out.shape[-2] if rows is None and out.ndim > 1 else rows
        fits = (
            out.dtype == self.dtype
            and out.ndim == len(self.chunk_shape)
            and out.shape[:-2] == self.chunk_shape[:-2]
            and out.shape[-1] == self.chunk_shape[-1]
            and wanted is not None
            and 1 <= wanted <= out.shape[-2] <= self.chunk_shape[-2]
            and 0 <= first <= self.chunk_shape[-2] - wanted
        )
        if not fits:
            raise CodecError(
                f"expected an output of {self.dtype} and shape {self.chunk_shape} (or fewer rows), "
                f"got {out.dtype}, {out.shape}, rows={rows}, first={first}"
            )
        target = out[..., :wanted, :]
        return target if target.ndim == 3 else target[None]

    def _decompressed(self, data: Bytes, memory: Bytes, rows: int, *, partial: bool) -> tuple[Bytes, int]:
        """Decompress down to a row, into `memory` if it can be; tell how many rows there are."""
        decoded = self.decompress(data, memory, self.chunk_shape[-2] * self._row_bytes)  # type: ignore[misc] # not None: see the callers
        return decoded, rows_present(decoded.size, rows, 0 if partial else self.short_rows, self._row_bytes)

    def _finish(self, decoded: Bytes, target: npt.NDArray[Any], above: int, present: int) -> None:
        """Run the row codecs on the rows that `target` has; those that are not present are 0."""
        target[:, max(present - above, 0) :] = 0
        if present > above:
            chunky = target[:, : present - above].transpose(1, 2, 0)
            run_rows(self.steps, decoded[above * self._row_bytes : present * self._row_bytes], chunky)

    def _decode_image(self, data: Bytes, target: npt.NDArray[Any], above: int) -> None:
        """Decode an image, whole since such formats do not stop early, and copy the rows wanted."""
        assert self.image is not None  # noqa: S101 - see decode_into
        pixels = self.image.decode_image(data)[above : above + target.shape[1]]
        np.copyto(target[:, : len(pixels)], pixels.view(self.dtype).transpose(2, 0, 1))
        target[:, len(pixels) :] = 0

    def _decode_plainly(self, data: Bytes, target: npt.NDArray[Any], above: int) -> None:
        """Decode codec by codec, as Zarr does but within bounds, and copy the rows wanted."""
        decoded: Any = data
        try:
            for position, codec in enumerate(self.codecs):
                bounded = decompressor({"id": codec.codec_id})
                if bounded is None:
                    decoded = codec.decode(decoded)
                else:
                    most = self._most_bytes(self.codecs[position + 1 :])
                    decoded = bounded(as_bytes(decoded), np.empty(most, np.uint8), most)
        except (RuntimeError, TypeError, ArithmeticError, EOFError) as error:
            raise CodecError(f"expected a chunk of {self.nbytes} bytes, got damaged data: {error}") from error
        chunk = as_bytes(decoded)
        if chunk.size != self.nbytes:
            raise CodecError(f"expected {self.nbytes} decoded bytes, got {chunk.size}")
        whole = chunk.view(self.dtype).reshape((-1, *self.chunk_shape[-2:]))
        np.copyto(target, whole[:, above : above + target.shape[1]])

    def _most_bytes(self, following: Sequence[Any]) -> int:
        """Say how many bytes a decompressor may give to the codecs that follow it."""
        rows = next((codec for codec in following if isinstance(codec, RowCodec)), None)
        return self.nbytes if rows is None else rows.shape[0] * rows.encoded_row_bytes


def run_rows(steps: Sequence[RowCodec], data: Bytes, out: npt.NDArray[Any]) -> None:
    """Run row codecs on whole rows, the last one writing into `out` of shape (rows, columns, samples)."""
    for step in steps[:-1]:
        between = np.empty(out.shape, step.decoded_dtype)
        step.decode_rows(data, between)
        data = between.reshape(-1).view(np.uint8)
    if steps:
        steps[-1].decode_rows(data, out.view(steps[-1].decoded_dtype))
    else:
        np.copyto(out, data.view(out.dtype).reshape(out.shape))


def compile_decoder(
    filters: Sequence[Mapping[str, Any]] | None,
    compressor: Mapping[str, Any] | None,
    dtype: Any,
    chunk_shape: Sequence[int],
) -> Decoder:
    """Compile what `.zarray` says into a decoder; cached by configuration.

    Parameters
    ----------
    filters, compressor
        numcodecs configurations, as in Zarr v2 metadata.
    dtype, chunk_shape
        Of the decoded chunk: (rows, columns) or (bands, rows, columns).

    Raises
    ------
    CodecError
        A configuration is invalid or the chunk larger than `MAXIMUM_CHUNK_BYTES`.
    """
    key = json.dumps([list(filters or ()), compressor], sort_keys=True)
    return _compile(key, np.dtype(dtype).str, tuple(int(size) for size in chunk_shape))


@functools.lru_cache(maxsize=4096)
def _compile(key: str, dtype: str, chunk_shape: tuple[int, ...]) -> Decoder:
    filters, compressor = json.loads(key)
    if len(chunk_shape) not in {2, 3} or min(chunk_shape) < 1:
        raise CodecError(f"expected a chunk of (rows, columns) or (bands, rows, columns), got {chunk_shape}")
    size = math.prod(chunk_shape) * np.dtype(dtype).itemsize
    if size > MAXIMUM_CHUNK_BYTES:
        raise CodecError(f"expected a chunk of at most {MAXIMUM_CHUNK_BYTES} bytes, got {size}")
    chain = [numcodecs.get_codec(config) for config in [compressor, *reversed(filters)] if config]
    tail = list(chain[1:] if compressor else chain)
    interleaved = bool(tail) and isinstance(tail[-1], BandFirst)
    if interleaved:
        tail.pop()
    padded = bool(tail) and isinstance(tail[-1], Pad)
    short_rows = tail.pop().short_rows if padded else 0
    by_rows = all(isinstance(codec, RowCodec) and not isinstance(codec, BandFirst | Pad) for codec in tail)
    # Without deinterleaving only one band's rows follow each other in the decoded bytes.
    by_rows = by_rows and (interleaved or len(chunk_shape) == 2 or chunk_shape[0] == 1)
    by_image = bool(chain) and isinstance(chain[0], ImageCodec) and len(chain) == 1 + interleaved
    return Decoder(
        dtype=np.dtype(dtype),
        chunk_shape=chunk_shape,
        decompress=decompressor(compressor) if by_rows else None,
        image=chain[0] if by_image else None,
        steps=tuple(tail) if by_rows else (),
        band_first=interleaved,
        short_rows=short_rows,
        codecs=tuple(chain),
    )
