"""Overviews in place of full resolution, where pixels are wanted coarser: chosen as GDAL does, so that pixels agree."""

from dataclasses import replace
from typing import Any

import numpy as np

from rasteret_refs.ml.images import AssetImages, Places, internal_mask, places_of
from rasteret_refs.ml.reads import WorkerReader
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader

OVERSAMPLING = 1.2
"""By nearest neighbour GDAL takes an overview that is coarser than what is wanted by up to this; else none that is:
https://gdal.org/en/stable/user/configoptions.html (GDAL_OVERVIEW_OVERSAMPLING_THRESHOLD)."""


class Overviews:
    """Finds, for an image, the overview that GDAL would read.

    Parameters
    ----------
    reader
        Of the reference set.
    """

    def __init__(self, reader: WorkerReader) -> None:
        self._reader = reader
        self._siblings: dict[tuple[str, str], list[str]] | None = None
        self._places: dict[str, Places] = {}
        self._chosen: dict[tuple[str, int], AssetImages | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": self._reader, "_siblings": None, "_places": {}, "_chosen": {}}

    def best(self, images: AssetImages, row: int, ratio: float, resampling: str) -> tuple[AssetImages, int]:
        """Choose the resolution to read an image at.

        Parameters
        ----------
        images, row
            The image, at full resolution.
        ratio
            Size of the pixels that are wanted, in pixels of the image.
        resampling
            How they will be made.

        Returns
        -------
        (AssetImages, int)
            The image to read: an overview, or the one that was given.
        """
        limit = ratio * OVERSAMPLING if resampling == "nearest" else ratio * (1 + 1e-9)
        if ratio <= 1 or limit < 2:  # noqa: PLR2004 - no overview is finer than a half
            return images, row
        reader, index = self._reader(), int(images.index[row])
        best, shrunk = None, 1.0
        for array in self._arrays(reader, images.arrays[int(images.code[row])]):
            by = float(images.width[row]) / array.shape[-1]  # near enough to leave most out before coordinates are read
            if index >= array.shape[0] or by > 2 * limit:
                continue
            found = self._single(reader, images, row, array)
            if found is None:
                continue
            by = float(images.width[row]) / int(found.width[0])
            if shrunk < by < limit:
                best, shrunk = found, by
        return (images, row) if best is None else (best, 0)

    def _arrays(self, reader: Reader, full: ReferencedArray) -> list[ReferencedArray]:
        """List the arrays of one name in the groups `factor_2`, `factor_4__343x343`, … beside an array's own."""
        if self._siblings is None:
            self._siblings = {}
            for key in reader.refset.metadata:
                grid, name = _grid_and_name(key.removesuffix("/.zarray"))
                if key.endswith("/.zarray") and name:
                    self._siblings.setdefault((grid, name), []).append(key.removesuffix("/.zarray"))
        found = self._siblings.get(_grid_and_name(full.path), [])
        return [reader.array(path) for path in found if path != full.path]

    def _single(self, reader: Reader, images: AssetImages, row: int, array: ReferencedArray) -> AssetImages | None:
        """An image at an overview, as the only row of its own; None where the scene has no such overview."""
        key = (array.path, int(images.index[row]))
        if key not in self._chosen:
            group = array.path.rpartition("/")[0]
            if group not in self._places:
                self._places[group] = places_of(reader, group)
            self._chosen[key] = _overview(reader, images, row, array, self._places[group])
        return self._chosen[key]


def _grid_and_name(path: str) -> tuple[str, str]:
    """Split `<grid>/factor_<n>/<array>`; an empty name where a path is not of that form."""
    group, _, name = path.rpartition("/")
    grid, _, factor = group.rpartition("/")
    return (grid, name) if factor.startswith("factor_") else (path, "")


def _overview(
    reader: Reader, images: AssetImages, row: int, array: ReferencedArray, held: Places
) -> AssetImages | None:
    index = int(images.index[row])
    first = np.array([index * array.strides[0]], np.int64)
    if reader.manifests.locate(array, first).urls[0] is None:  # a hole, or an overview that begins with a sparse tile
        return None
    height = array.shape[-2] if held.height is None else int(held.height[index])
    width = array.shape[-1] if held.width is None else int(held.width[index])
    down, across = images.height[row] / height, images.width[row] / width
    a, b, c, d, e, f = images.transform[row]
    at = slice(row, row + 1)
    return replace(
        images,
        arrays=(array,),
        masks=(internal_mask(reader, array),),
        code=np.zeros(1, np.int64),
        index=images.index[at],
        transform=np.array([[a * across, b * down, c, d * across, e * down, f]]),
        crs=images.crs[at],
        height=np.array([height]),
        width=np.array([width]),
        nodata=images.nodata[at],
        alpha=(images.alpha[int(images.code[row])],),
    )
