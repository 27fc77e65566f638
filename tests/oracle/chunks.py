"""Pixels straight from the file's bytes by the codec chain alone: numcodecs and NumPy, no Zarr, no reference set.

It tells errors of the parser and the codecs apart from errors of planning, writing and opening.
"""

from pathlib import Path

import numcodecs
import numpy as np
import numpy.typing as npt

from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import NeedsBytes, TiffFile, TiffImage
from rasteret_refs.tiff.windows import Windows
from rasteret_refs.virtual.codec_chain import codec_chain
from rasteret_refs.virtual.values import CodecChain


def parse_file(path: Path) -> TiffFile:
    """The header of a file on disk, giving the parser only the ranges that it asks for."""
    with path.open("rb") as file:
        size = path.stat().st_size
        windows = Windows(size)
        windows.add(0, file.read(16384))
        while isinstance(found := parse(windows), NeedsBytes):
            for wanted in found.ranges:
                file.seek(wanted.start)
                windows.add(wanted.start, file.read(wanted.stop - wanted.start))
        return found


def decode_chunk(chain: CodecChain, encoded: bytes) -> npt.NDArray[np.generic]:
    """One chunk as Zarr v2 decodes it: the compressor, then the filters from the last to the first."""
    data: object = encoded
    if chain.compressor is not None:
        data = numcodecs.get_codec(dict(chain.compressor)).decode(data)
    for config in reversed(chain.filters):
        data = numcodecs.get_codec(dict(config)).decode(data)
    return np.frombuffer(
        np.ascontiguousarray(data).tobytes() if isinstance(data, np.ndarray) else data, chain.dtype
    ).reshape(chain.chunk_shape)


def read_image(path: Path, image: TiffImage) -> npt.NDArray[np.generic]:
    """All pixels of one IFD, (band, y, x); sparse chunks are 0."""
    description = image.description
    chain = codec_chain(description)
    planes = description.samples if len(chain.chunk_shape) == 3 else 1
    pixels = np.zeros((planes, description.height, description.width), chain.dtype)
    rows, columns = chain.chunk_shape[-2:]
    depth = chain.chunk_shape[0] if len(chain.chunk_shape) == 3 else 1
    data = path.read_bytes()
    positions = np.ndindex(planes // depth, description.chunks_down, description.chunks_across)
    for (plane, down, across), offset, count in zip(positions, image.offsets, image.byte_counts, strict=True):
        if count:
            chunk = decode_chunk(chain, data[offset : offset + count]).reshape(depth, rows, columns)
            target = pixels[
                plane * depth : (plane + 1) * depth,
                down * rows : (down + 1) * rows,
                across * columns : (across + 1) * columns,
            ]
            target[...] = chunk[:, : target.shape[1], : target.shape[2]]
    return pixels
