"""Tiles that hold nothing but nodata, told from manifests: no pixel of them is read when chips are chosen.

A TIFF writes an empty tile with the byte count 0 (GDAL's `SPARSE_OK`), and a reference set keeps such a tile, and each
hole, inlined in its manifest. The inlined bytes are decoded here, once each, before the tile counts as empty: without
a request.

Other files write empty tiles out. Their byte counts give them away, for tiles of one value are the smallest of an
image; but they prove nothing: a tile of another value, or with one pixel of data, can be encoded in just as many bytes.
So the encoded bytes of suspects, some hundreds each, are fetched in one batch, neighbours together; each distinct one
is decoded once, and a tile is empty only if its own bytes decode to nodata everywhere.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.images import AssetImages, Integers
from rasteret_refs.ml.mosaic import equal
from rasteret_refs.ml.pieces import lines_on
from rasteret_refs.ml.reads import WorkerReader
from rasteret_refs.read import workers
from rasteret_refs.read.arrays import ReferencedArray, plane
from rasteret_refs.read.reader import Reader
from rasteret_refs.tiff.values import ByteRange

Flags = npt.NDArray[np.bool_]

SUSPECT = 32
"""A tile is a suspect only when it takes less than this part of its pixels' bytes: PackBits needs 1/64 for one value,
the others less."""

SMALLEST = 4
"""So many of an image's smallest byte counts are suspect: tiles of one value, of which nodata need not be the smallest,
and those that the encoder pads at the image's edge."""


class _Image(NamedTuple):
    """One image, as far as its tiles are concerned."""

    array: ReferencedArray
    scene: int
    """Place along the scene axis."""
    nodata: Any
    """None: not declared. Then sparse tiles are 0 and empty, and no other is."""
    height: int
    width: int


class _Suspect(NamedTuple):
    """A tile whose bytes are looked at."""

    image: _Image
    number: int
    """Among the tiles of the image."""
    place: ByteRange


class EmptyTiles:
    """Which tiles of which images are empty; looked up by scene, when it is first asked for.

    Parameters
    ----------
    reader
        Its manifests are looked at, and it fetches the bytes of suspects.
    """

    def __init__(self, reader: WorkerReader) -> None:
        self._reader = reader
        self._filled: dict[tuple[str, int], Integers] = {}
        self._verdicts: dict[tuple[str, bytes, str, int, int], bool] = {}

    def empty_chips(self, chips: Chips, size: int, finest: AssetImages, assets: list[AssetImages]) -> Flags:
        """Tell which chips touch only empty tiles, in every asset.

        Parameters
        ----------
        chips
            In pixels of `finest`.
        size
            Side of a chip in these pixels.
        assets
            Those that are read.
        """
        empty = np.ones(len(chips), bool)
        rows = np.unique(chips.scene)
        self._look_up([_image(images, int(row)) for images in assets for row in rows if images.present[row]])
        for row in rows:
            at = np.flatnonzero(chips.scene == row)
            for images in assets:
                if images.present[row]:
                    empty[at] &= self._of_scene(images, int(row), finest, chips.take(at), size)
        return empty

    def _of_scene(self, images: AssetImages, row: int, finest: AssetImages, chips: Chips, size: int) -> Flags:
        tops, lefts = chips.row, chips.column
        array = images.arrays[int(images.code[row])]
        filled = self._filled[array.path, int(images.index[row])]
        heights = int(finest.height[row]), int(finest.width[row])
        if images is finest or np.array_equal(images.transform[row], finest.transform[row], equal_nan=True):
            ends = [(tops, tops + size - 1), (lefts, lefts + size - 1)]
        else:
            lines = lines_on(images, row, finest.transform[row], *heights)
            ends = [
                (
                    line.positions[np.clip(first, 0, length - 1)],
                    line.positions[np.clip(first + size - 1, 0, length - 1)],
                )
                for line, first, length in zip(lines, (tops, lefts), heights, strict=True)
            ]
        bounds = []
        for (first, last), length, tile in zip(
            ends, (int(images.height[row]), int(images.width[row])), array.chunks[-2:], strict=True
        ):
            low, high = np.minimum(first, last), np.maximum(first, last)
            bounds.append((np.clip(low, 0, length - 1) // tile, np.clip(high, 0, length - 1) // tile + 1))
        (r0, r1), (c0, c1) = bounds
        return np.asarray(filled[r1, c1] - filled[r0, c1] - filled[r1, c0] + filled[r0, c0] == 0)

    def _look_up(self, images: Sequence[_Image]) -> None:
        """Find the empty tiles of images that were not asked about before, with one batch of requests at most."""
        reader = self._reader()
        fresh = {(one.array.path, one.scene): one for one in images if (one.array.path, one.scene) not in self._filled}
        flags: dict[tuple[str, int], Flags] = {}
        suspects: dict[str, list[_Suspect]] = {}
        for key, image in fresh.items():
            flags[key] = self._at_hand(reader, image, suspects)
        for found, data in _fetched(reader, suspects):
            with contextlib.suppress(ValueError):  # damaged: whoever reads the tile will hear of it
                flags[found.image.array.path, found.image.scene][found.number] = self._holds_only(found, data)
        for key, image in fresh.items():
            shape = image.array.grid[1:]
            empty = flags[key].reshape(-1, *shape[-2:]).all(axis=0)
            sums = np.zeros((shape[-2] + 1, shape[-1] + 1), np.int64)  # tiles with data above and left of each corner
            sums[1:, 1:] = (~empty).cumsum(0).cumsum(1)
            self._filled[key] = sums

    def _at_hand(self, reader: Reader, image: _Image, suspects: dict[str, list[_Suspect]]) -> Flags:
        """Tell what the manifest says, and collect the tiles whose bytes must be looked at, by object."""
        array = image.array
        numbers = np.arange(int(np.prod(array.grid[1:])), dtype=np.int64) + image.scene * array.strides[0]
        located = reader.manifests.locate(array, numbers)
        empty = np.zeros(len(numbers), bool)
        for number, data in enumerate(located.inlined):
            if data is not None:
                empty[number] = self._holds_only(_Suspect(image, number, ByteRange(start=0, stop=len(data))), data)
        if image.nodata is None:
            return empty
        referenced = np.array([data is None for data in located.inlined], bool)
        small = referenced & (located.sizes < array.chunk_bytes // SUSPECT)
        counts = np.unique(located.sizes[small])[:SMALLEST]
        for number in np.flatnonzero(small & np.isin(located.sizes, counts)).tolist():
            start, url = int(located.offsets[number]), located.urls[number]
            place = ByteRange(start=start, stop=start + int(located.sizes[number]))
            suspects.setdefault(str(url), []).append(_Suspect(image, number, place))
        return empty

    def _holds_only(self, tile: _Suspect, data: bytes) -> bool:
        """Tell whether a tile's bytes decode to nothing but nodata; what lies beyond the image is no data."""
        image = tile.image
        array, nodata = image.array, 0 if image.nodata is None else image.nodata
        row, column = divmod(tile.number % (array.grid[-2] * array.grid[-1]), array.grid[-1])
        height = min(array.chunks[-2], image.height - row * array.chunks[-2])
        width = min(array.chunks[-1], image.width - column * array.chunks[-1])
        key = (array.path, hashlib.sha256(data).digest(), repr(nodata), height, width)
        if key not in self._verdicts:
            pixels = np.empty(array.chunks, array.dtype)
            array.decoder.decode_into(data, plane(pixels), None)
            self._verdicts[key] = bool(equal(pixels[..., : max(height, 0), : max(width, 0)], nodata).all())
        return self._verdicts[key]


def _image(images: AssetImages, row: int) -> _Image:
    return _Image(
        images.arrays[int(images.code[row])],
        int(images.index[row]),
        images.nodata[row],
        int(images.height[row]),
        int(images.width[row]),
    )


def _fetched(reader: Reader, suspects: dict[str, list[_Suspect]]) -> list[tuple[_Suspect, bytes]]:
    """Fetch the bytes of suspects; those that cannot be had are left out: whoever reads them will hear why."""
    if not suspects:
        return []

    async def every() -> list[Any]:
        reads = [reader.fetch(url, [tile.place for tile in tiles]) for url, tiles in suspects.items()]
        return list(await asyncio.gather(*reads, return_exceptions=True))

    found = []
    for tiles, buffers in zip(suspects.values(), workers.run(every()), strict=True):
        if isinstance(buffers, RasteretRefsError):
            continue
        if isinstance(buffers, BaseException):
            raise buffers
        found += [(tile, bytes(data)) for tile, data in zip(tiles, buffers, strict=True)]
    return found
