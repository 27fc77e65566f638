"""Images of another CRS or resampling, warped onto a place by rasterio (GDAL) from our own reads."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import AssetImages
from rasteret_refs.ml.pieces import Place, lines_of
from rasteret_refs.ml.warp_queue import WarpBatch, WarpTask
from rasteret_refs.read.lines import window_of
from rasteret_refs.read.masks import Mask
from rasteret_refs.read.overlap import transformer
from rasteret_refs.read.reader import Window
from rasteret_refs.read.resample import onto
from rasteret_refs.read.target import Grid
from rasteret_refs.read.tiles import Countdown

MARGIN = 4
"""Pixels read around what a place covers: kernels up to cubic and Lanczos reach so far at equal resolution."""

RESAMPLINGS = ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode")

BETWEEN = ("nearest", "bilinear", "average", "mode")
"""Those whose values lie between those that they are made of, and so never become a nodata that lies outside."""


class Warp:
    """An image that is read as it is and then resampled onto a place.

    Parameters
    ----------
    images, row
        The image.
    place
        Where; its CRS may be another one.
    fill
        Value of pixels without data.
    resampling
        One of `RESAMPLINGS`.
    batch
        All warps that are read for in the same batch.
    masks
        Images of mask assets, the row in each, and what they hide; by nearest neighbour.

    Raises
    ------
    QueryError
        The image has no CRS, or there is no such resampling.
    """

    def __init__(
        self,
        images: AssetImages,
        row: int,
        place: Place,
        *,
        fill: Any,
        resampling: str,
        batch: WarpBatch,
        masks: Sequence[tuple[AssetImages, int, Mask]] = (),
    ) -> None:
        if images.crs[row] is None:
            raise QueryError(f"expected an image with a CRS to reproject: asset {images.name}, scene row {row}")
        if resampling not in RESAMPLINGS:
            raise QueryError(f"expected a resampling out of {RESAMPLINGS}, got {resampling!r}")
        self.images, self.row, self.place, self.fill, self.resampling = images, row, place, fill, resampling
        self._batch = batch
        self._hiding = [
            (Warp(mask, at, place, fill=0, resampling="nearest", batch=batch), rule, np.zeros(self._shape, mask.dtype))
            for mask, at, rule in masks
        ]
        self._valid: npt.NDArray[np.bool_] = np.broadcast_to(np.False_, self._shape)
        self._everywhere = False
        """Whether the image has data on all of the place; known when it is warped."""
        self._warped: Future[None] | None = None
        self._surrounded = False  # whether the image goes on around all of the place

    @property
    def _shape(self) -> tuple[int, int, int]:
        return 1, self.place.height, self.place.width

    def _window(self) -> tuple[int, int, int, int] | None:
        """(top, left, height, width) of the image that the place needs; None where it has nothing there."""
        columns, rows = _covered(self.images, self.row, self.place)
        reach = MARGIN * max(1, math.ceil((columns[1] - columns[0]) / max(self.place.width, 1)))
        left, right = math.floor(columns[0]) - reach, math.ceil(columns[1]) + reach
        top, bottom = math.floor(rows[0]) - reach, math.ceil(rows[1]) + reach
        width, height = int(self.images.width[self.row]), int(self.images.height[self.row])
        self._surrounded = left >= 0 and top >= 0 and right <= width and bottom <= height
        left, right = max(left, 0), min(right, width)
        top, bottom = max(top, 0), min(bottom, height)
        return None if right <= left or bottom <= top else (top, left, bottom - top, right - left)

    def windows(self, out: npt.NDArray[Any]) -> list[Window]:
        """Plan the read of what the place needs; as soon as that is there, it is warped."""
        window = self._window()
        if window is None:
            out[...] = self.fill
            return []
        top, left, height, width = window
        number, index = int(self.images.code[self.row]), int(self.images.index[self.row])
        array, internal = self.images.arrays[number], self.images.masks[number]
        own, wanted, whole = grids = self._grids(top, left, height, width)
        lines = lines_of(self.images, self.row, (top, left), (height, width))
        pixels = np.empty((out.shape[0], height, width), array.dtype)
        mask = None
        planned = [window_of(array, index, lines, pixels, outside=self.fill)]
        if internal is not None:
            mask = np.empty((1, height, width), np.uint8)
            planned.append(window_of(internal, index, lines, mask, outside=0))
        own_windows = [one for one in planned if one is not None]
        if own_windows:
            self._batch.expect(own, wanted, whole)
        complete = Countdown(len(own_windows), lambda: self._warp(pixels, mask, grids, out))
        hiding = [one for warp, _, pixels in self._hiding for one in warp.windows(pixels)]
        return [*(_followed(one, complete) for one in own_windows), *hiding]

    def _grids(self, top: int, left: int, height: int, width: int) -> tuple[Grid, Grid, Grid]:
        """Of a window of the image, of the place, and of the whole image."""
        images, row, place = self.images, self.row, self.place
        whole = _grid(images.crs[row], images.transform[row], images.height[row], images.width[row])
        wanted = _grid(place.crs, place.transform, place.height, place.width)
        return whole.window(slice(top, top + height), slice(left, left + width)), wanted, whole

    def _warp(
        self,
        pixels: npt.NDArray[Any],
        mask: npt.NDArray[np.uint8] | None,
        grids: tuple[Grid, Grid, Grid],
        out: npt.NDArray[Any],
    ) -> None:
        """Have the image warped, now that its pixels are there; `valid` waits for it."""
        own, wanted, whole = grids
        nodata = self.images.nodata[self.row]
        if not self._may_meet(nodata, pixels):
            nodata = None

        def then(warped: npt.NDArray[Any]) -> None:
            np.copyto(out, warped, casting="unsafe")
            own_mask = self._own_mask(pixels, mask, nodata)
            self._everywhere = self._surrounded and (own_mask is None or bool(own_mask.all()))
            everywhere = np.broadcast_to(np.True_, self._shape)
            self._valid = everywhere if self._everywhere else _reached(own_mask, grids)

        self._warped = self._batch.add(
            WarpTask(
                pixels=pixels, source=own, wanted=wanted, whole=whole, resampling=self.resampling,
                nodata=nodata, fill=self.fill, then=then,
            )
        )  # fmt: skip

    def _own_mask(
        self, pixels: npt.NDArray[Any], mask: npt.NDArray[np.uint8] | None, nodata: Any
    ) -> npt.NDArray[np.uint8] | None:
        """Where the image has data (not 0), on its own grid; None: everywhere."""
        if nodata is not None:
            equal = np.isnan(pixels) if nodata != nodata else pixels == nodata  # noqa: PLR0124 - only NaN differs
            hidden = equal.all(axis=0, keepdims=True)
        elif self.images.nodata[self.row] is None and self.images.alpha[int(self.images.code[self.row])]:
            hidden = pixels[-1:] == 0
        else:
            return mask
        return np.where(hidden, np.uint8(0), np.uint8(255) if mask is None else mask)

    def _may_meet(self, nodata: Any, pixels: npt.NDArray[Any]) -> bool:
        """Whether nodata takes part in a warp: GDAL takes half as long again where it must look out for it."""
        if nodata is None or not self._surrounded or self.resampling not in BETWEEN or pixels.dtype.kind not in "iu":
            return True
        return bool(pixels.min() <= nodata <= pixels.max())

    def wait(self) -> None:
        """Wait until the image is warped."""
        if self._warped is not None:
            self._warped.result()

    def valid(self, out: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where the image reaches, and has data; after the reads, and when the warp is done.

        Raises
        ------
        QueryError
            GDAL finds no way from the image's CRS to the place's.
        """
        self.wait()
        valid = self._valid
        for warp, rule, pixels in self._hiding:
            warp.wait()
            valid = valid & ~rule.hidden(pixels)
        if self.images.nodata[self.row] is None:
            return valid
        return valid & ~(np.isnan(out) if self.fill != self.fill else out == self.fill)

    def is_settled(self) -> bool:
        """It has data everywhere, and what it has no data for there was warped to the fill value."""
        self.wait()
        return self._everywhere and not self._hiding


def _grid(crs: Any, transform: Sequence[float], height: int, width: int) -> Grid:
    a, b, c, d, e, f = map(float, transform)
    return Grid(crs=_system(crs), transform=(a, b, c, d, e, f), height=int(height), width=int(width))


def _reached(mask: npt.NDArray[np.uint8] | None, grids: tuple[Grid, Grid, Grid]) -> npt.NDArray[np.bool_]:
    """Where an image has data on a place, by nearest neighbour; shape (1, rows, columns)."""
    own, wanted, whole = grids
    if mask is None:
        mask = np.full((1, own.height, own.width), 255, np.uint8)
    reached: npt.NDArray[np.bool_] = (
        onto(mask, own, wanted, resampling="nearest", nodata=None, fill=0, whole=whole) != 0
    )
    return reached


def _followed(window: Window, countdown: Countdown) -> Window:
    """Let a window's arrival count."""
    finish = window.then

    def then(pixels: npt.NDArray[Any]) -> None:
        if finish is not None:
            finish(pixels)
        countdown.arrived()

    return replace(window, then=then)


def _system(crs: Any) -> pyproj.CRS:
    """Give the object of a CRS: hashing one takes a tenth of a millisecond, parsing longer than warping a chip."""
    return crs if isinstance(crs, pyproj.CRS) else _parsed(crs)


@lru_cache(maxsize=256)
def _parsed(crs: Any) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(crs)


def shrinking(images: AssetImages, row: int, place: Place) -> float:
    """Tell how many pixels of an image a pixel of a place covers, along the axis where they are fewer; 1 if unknown."""
    if images.crs[row] is None:
        return 1.0
    columns, rows = _covered(images, row, place)
    return min((columns[1] - columns[0]) / max(place.width, 1), (rows[1] - rows[0]) / max(place.height, 1))


def _covered(images: AssetImages, row: int, place: Place) -> tuple[list[float], list[float]]:
    """First and last column, and first and last row, of an image that a place covers, in fractions of pixels."""
    a, _, c, _, e, f = place.transform
    box = (c, f + e * place.height, c + a * place.width, f)
    west, south, east, north = _bounds(box, _system(place.crs).srs, _system(images.crs[row]).srs)
    sa, _, sc, _, se, sf = images.transform[row]
    return sorted(((west - sc) / sa, (east - sc) / sa)), sorted(((south - sf) / se, (north - sf) / se))


@lru_cache(maxsize=1024)  # scenes of a series share grid and place
def _bounds(box: tuple[float, float, float, float], one: str, other: str) -> tuple[float, float, float, float]:
    back = transformer(_parsed(other), _parsed(one))  # made when the image's box was brought into the dataset's CRS
    bounds: tuple[float, float, float, float] = back.transform_bounds(*box, densify_pts=21, direction="INVERSE")
    return bounds
