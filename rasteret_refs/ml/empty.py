"""Tiles that hold nothing but nodata, told from the manifest alone: no pixel is read and no request is sent.

A TIFF writes an empty tile with the byte count 0 (GDAL's `SPARSE_OK`), and a reference set keeps such a tile, and each
hole, inlined in its manifest. The inlined bytes are decoded here, once each, before the tile counts as empty.
"""

import numpy as np
import numpy.typing as npt

from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.images import AssetImages, Integers
from rasteret_refs.ml.mosaic import equal
from rasteret_refs.ml.pieces import lines_on
from rasteret_refs.read.arrays import ReferencedArray, plane
from rasteret_refs.read.reader import Reader

Flags = npt.NDArray[np.bool_]


class EmptyTiles:
    """Which tiles of which images are empty; looked up by scene, when it is first asked for.

    Parameters
    ----------
    reader
        Its manifests are looked at.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._filled: dict[tuple[str, int], Integers] = {}
        self._verdicts: dict[tuple[str, bytes, object], bool] = {}

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
        for row in np.unique(chips.scene):
            at = np.flatnonzero(chips.scene == row)
            for images in assets:
                if images.present[row]:
                    empty[at] &= self._of_scene(images, int(row), finest, chips.take(at), size)
        return empty

    def _of_scene(self, images: AssetImages, row: int, finest: AssetImages, chips: Chips, size: int) -> Flags:
        tops, lefts = chips.row, chips.column
        array, nodata = images.arrays[int(images.code[row])], images.nodata[row]
        filled = self._filled_before(array, int(images.index[row]), 0 if nodata is None else nodata)
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

    def _filled_before(self, array: ReferencedArray, index: int, nodata: object) -> Integers:
        """Count tiles with data above and left of each tile corner (a summed-area table)."""
        key = (array.path, index)
        if key not in self._filled:
            empty = self._empty_tiles(array, index, nodata)
            sums = np.zeros((empty.shape[0] + 1, empty.shape[1] + 1), np.int64)
            sums[1:, 1:] = (~empty).cumsum(0).cumsum(1)
            self._filled[key] = sums
        return self._filled[key]

    def _empty_tiles(self, array: ReferencedArray, index: int, nodata: object) -> Flags:
        shape = array.grid[1:]
        numbers = np.arange(int(np.prod(shape)), dtype=np.int64) + index * array.strides[0]
        located = self._reader.manifests.locate(array, numbers)
        empty = np.array([data is not None and self._holds_only(array, data, nodata) for data in located.inlined], bool)
        return empty.reshape(-1, *shape[-2:]).all(axis=0)

    def _holds_only(self, array: ReferencedArray, data: bytes, nodata: object) -> bool:
        key = (array.path, data, repr(nodata))
        if key not in self._verdicts:
            tile = np.empty(array.chunks, array.dtype)
            array.decoder.decode_into(data, plane(tile), None)
            self._verdicts[key] = bool(equal(tile, nodata).all())
        return self._verdicts[key]
