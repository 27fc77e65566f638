"""What a build and a read do with one TIFF's bytes, without storage: every error must be of our tree."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import DecodeError, RasteretRefsError
from rasteret_refs.tiff.values import TiffImage
from rasteret_refs.virtual.codec_chain import codec_chain, mask_chain
from rasteret_refs_codecs.fast import compile_decoder
from tests.tiff.reading import checked

MOST_PIXEL_BYTES = 1 << 24
"""Images that decode to more are referenced, but not decoded here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What came of it."""

    refused: str | None = None
    """The error's class, where the file is refused."""
    images: int = 0
    pixels: npt.NDArray[np.generic] | None = None
    """Of the first image, (band, row, column); None where it is not decoded."""
    undecoded: str | None = None
    """Why the first image's pixels are refused."""


def examine(data: bytes, *, decode: bool = True) -> Examined:
    """Parse, check, describe and decode."""
    try:
        file = checked(data)
    except RasteretRefsError as error:
        return Examined(refused=type(error).__name__)
    for image in file.images:
        for chain in (codec_chain, mask_chain):
            try:
                chain(image.description)
            except RasteretRefsError:
                continue
    if not decode or not file.images:
        return Examined(images=len(file.images))
    try:
        pixels = decoded(data, file.images[0])
    except RasteretRefsError as error:
        return Examined(images=len(file.images), undecoded=type(error).__name__)
    return Examined(images=len(file.images), pixels=pixels)


def decoded(data: bytes, image: TiffImage) -> npt.NDArray[np.generic] | None:
    """Give an image's pixels as our reader decodes them; None where it is too large or has sparse chunks."""
    description = image.description
    chain = codec_chain(description)
    depth = chain.chunk_shape[0] if len(chain.chunk_shape) == 3 else 1
    planes = max(description.samples if description.planar.name != "CHUNKY" else depth, depth)
    dtype = np.dtype(chain.dtype)
    size = planes * description.height * description.width * dtype.itemsize
    chunk_bytes = int(np.prod(chain.chunk_shape, dtype=np.int64)) * dtype.itemsize
    if max(size, chunk_bytes) > MOST_PIXEL_BYTES or chunk_bytes * len(image.offsets) > 4 * MOST_PIXEL_BYTES:
        return None
    if not image.byte_counts.all():
        return None
    rows, columns = chain.chunk_shape[-2:]
    decoder = compile_decoder(chain.filters, chain.compressor, dtype, chain.chunk_shape)
    pixels = np.zeros((planes, description.height, description.width), dtype)
    positions = np.ndindex(planes // depth, description.chunks_down, description.chunks_across)
    for (plane, down, across), start, count in zip(positions, image.offsets, image.byte_counts, strict=True):
        chunk = np.empty(chain.chunk_shape, dtype)
        try:
            decoder.decode_into(data[start : start + count], chunk)
        except (ValueError, RuntimeError, TypeError, OverflowError) as error:  # as read.tiles takes them
            raise DecodeError(str(error)) from error
        target = pixels[
            plane * depth : (plane + 1) * depth,
            down * rows : (down + 1) * rows,
            across * columns : (across + 1) * columns,
        ]
        target[...] = chunk.reshape(depth, rows, columns)[:, : target.shape[1], : target.shape[2]]
    return pixels
