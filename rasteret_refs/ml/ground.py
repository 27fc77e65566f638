"""The ground that a collection covers, as TorchGeo sees it: one box a scene in one CRS, and mosaics of any window.

No torch here: `ml.torchgeo_data` puts this into TorchGeo's classes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import AssetImages, Floats, Integers, times_of
from rasteret_refs.ml.mosaic import Layer, Mosaic, fill, layer
from rasteret_refs.ml.overviews import Overviews
from rasteret_refs.ml.pieces import Place
from rasteret_refs.ml.reads import Reads
from rasteret_refs.ml.scene_images import SceneImages
from rasteret_refs.ml.warp import RESAMPLINGS, shrinking
from rasteret_refs.ml.warp_queue import WarpBatch
from rasteret_refs.read.overlap import transformer
from rasteret_refs.read.target import common_crs

Times = npt.NDArray[np.datetime64]

INSTANT = np.timedelta64(999_999, "us")
"""How long a scene lasts: 1 s less 1 µs, as TorchGeo has it for dates to the second. An interval without length is
lost in intersections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of the ground, for some scenes."""

    x: tuple[float, float]
    y: tuple[float, float]
    res: tuple[float, float]
    """Size of a pixel along x and y, both positive."""
    rows: tuple[int, ...]
    """Scenes that may have pixels there, as rows of the scene table, in order."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns): extent over resolution, rounded as `rasterio.merge` does."""
        (west, east), (south, north) = self.x, self.y
        return round((north - south) / self.res[1]), round((east - west) / self.res[0])


class Ground:
    """Scenes of a collection on common ground.

    Parameters
    ----------
    of
        Images that are read.
    scenes
        The scene table.
    overviews
        What is read where pixels are wanted coarser.
    crs
        CRS of the dataset, anything pyproj understands; None: the commonest of the scenes', the first of these.
    res
        Pixel size in units of the CRS; None: that of the first scene in this CRS, of its finest asset.
    resampling
        Where grids differ: `"nearest"`, `"bilinear"`, …

    Raises
    ------
    QueryError
        There is no scene to read, one has no georeference, or one is rotated; or there is no such CRS, resolution or
        resampling.
    """

    def __init__(
        self, of: SceneImages, scenes: pa.Table, overviews: Overviews, *, crs: Any, res: Any, resampling: str
    ) -> None:
        if resampling not in RESAMPLINGS:
            raise QueryError(f"expected a resampling out of {RESAMPLINGS}, got {resampling!r}")
        self.of, self.overviews, self.resampling = of, overviews, resampling
        self.times = times_of(scenes)
        self.rows: Integers = of.rows[np.argsort(self.times[of.rows], kind="stable")]
        """Scenes that are read, as rows of the scene table, by time: the first of them wins where they overlap."""
        rows = self.rows
        if not len(rows):
            raise QueryError("expected at least one scene with all assets, found none")
        transforms = of.finest.transform[rows]
        if not np.isfinite(transforms).all() or any(text is None for text in of.finest.crs[rows]):
            raise QueryError("expected georeferenced scenes, found some without CRS or transform")
        if (transforms[:, [1, 3]] != 0).any():
            raise QueryError("expected scenes whose rows run along the CRS's axes, found rotated ones")
        self._systems = _Systems()
        if crs is None:
            texts, first, counts = np.unique(of.finest.crs[rows].astype(str), return_index=True, return_counts=True)
            crs = str(texts[min(range(len(texts)), key=lambda i: (-counts[i], first[i]))])
        self.crs = common_crs(crs)
        self._own = self._same(rows)
        """Which of `rows` lie in the dataset's CRS."""
        pixel = transforms[np.flatnonzero(self._own)[0] if self._own.any() else 0]
        self.res = _pair(res) if res is not None else (abs(float(pixel[0])), abs(float(pixel[4])))
        self.origin = float(pixel[2]), float(pixel[5])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ground":
        return self

    def _same(self, rows: Integers) -> npt.NDArray[np.bool_]:
        return np.array([self._systems.equal(self.of.finest.crs[row], self.crs) for row in rows], bool)

    def boxes(self) -> Floats:
        """Give each scene's raster box in the dataset's CRS, aligned with its pixels.

        Returns
        -------
        numpy.ndarray
            (west, south, east, north) for each of `rows`, shape `(scenes, 4)`: the raster's own where the CRS is the
            dataset's, else the box around it, widened to whole pixels of the dataset.
        """
        images, rows = self.of.finest, self.rows
        a, c, e, f = (images.transform[rows, i] for i in (0, 2, 4, 5))
        x1, y1 = c + a * images.width[rows], f + e * images.height[rows]
        boxes = np.stack([np.minimum(c, x1), np.minimum(f, y1), np.maximum(c, x1), np.maximum(f, y1)], axis=1)
        aligned: dict[tuple[Any, ...], Floats] = {}  # scenes of one grid, of which there are few, have one box
        for number in np.flatnonzero(~self._own):
            key = images.crs[rows[number]], *boxes[number].tolist()
            if key not in aligned:
                aligned[key] = self._aligned(key[0], boxes[number])
            boxes[number] = aligned[key]
        return boxes

    def _aligned(self, crs: Any, box: Floats) -> Floats:
        between = transformer(self._systems.of(crs), self.crs)
        left, bottom, right, top = map(float, box)
        west, south, east, north = between.transform_bounds(left, bottom, right, top, densify_pts=21)
        (xres, yres), (x0, y0) = self.res, self.origin
        low = np.floor([(west - x0) / xres, (south - y0) / yres])
        high = np.ceil([(east - x0) / xres, (north - y0) / yres])
        return np.array([x0 + low[0] * xres, y0 + low[1] * yres, x0 + high[0] * xres, y0 + high[1] * yres])

    def intervals(self) -> tuple[Times, Times]:
        """Give first and last instant of each of `rows`, UTC, `datetime64[us]`; NaT for scenes without a time."""
        taken = self.times[self.rows]
        return taken, taken + INSTANT

    def reads(self, windows: Sequence[Window], crs: Any, *, stacked: bool) -> Reads[list[npt.NDArray[Any]]]:
        """Plan the reading of windows as one batch.

        Parameters
        ----------
        windows
            Each with at least one scene.
        crs
            Of the windows.
        stacked
            One image a scene instead of one mosaic.

        Returns
        -------
        list of numpy.ndarray
            For each window (channels, rows, columns), or (scenes, channels, rows, columns) when stacked. Pixels that
            no scene has are nodata of the first scene, or 0.
        """
        mosaics: list[Mosaic] = []
        images, batch = [], WarpBatch()
        for window in windows:
            groups = [(row,) for row in window.rows] if stacked else [window.rows]
            out = np.empty((len(groups), self.of.channels, *window.shape), self.of.dtype)
            images.append(out if stacked else out[0])
            place = Place(
                crs=crs,
                transform=(window.res[0], 0.0, window.x[0], 0.0, -window.res[1], window.y[1]),
                height=window.shape[0],
                width=window.shape[1],
            )
            for number, rows in enumerate(groups):
                first = 0
                for one in self.of.images:
                    part = out[number, first : first + one.bands]
                    first += one.bands
                    layers = self._layers(one, rows, place, batch)
                    mosaics.append(Mosaic(out=part, fill=one.fill(rows[0]), layers=layers, most=len(rows)))
        yield from fill(mosaics)
        return images

    def _layers(self, images: AssetImages, rows: Sequence[int], place: Place, batch: WarpBatch) -> Iterator[Layer]:
        for row in rows:
            same = self._systems.equal(images.crs[row], place.crs)
            if same and not _touches(images, row, place):
                continue
            own, at = self._coarse(images, row, place, self.resampling)
            masks = [
                (*self._coarse(mask, row, place, "nearest"), rule) for mask, rule in self.of.masks if mask.present[row]
            ]
            yield layer(
                own,
                at,
                place,
                same_crs=same,
                resampling=self.resampling,
                fill=images.fill(rows[0]),
                masks=masks,
                batch=batch,
            )

    def _coarse(self, images: AssetImages, row: int, place: Place, resampling: str) -> tuple[AssetImages, int]:
        """Choose an image's resolution for a place."""
        if self._systems.equal(images.crs[row], place.crs):
            a, _, _, _, e, _ = images.transform[row]
            ratio = min(place.transform[0] / abs(a), -place.transform[4] / abs(e))
        else:
            ratio = shrinking(images, row, place)
        return self.overviews.best(images, row, float(ratio), resampling)


def _touches(images: AssetImages, row: int, place: Place) -> bool:
    """Whether image and place share an area."""
    a, _, c, _, e, f = images.transform[row]
    x = sorted((c, c + a * images.width[row]))
    y = sorted((f, f + e * images.height[row]))
    west, north = place.transform[2], place.transform[5]
    east, south = west + place.transform[0] * place.width, north + place.transform[4] * place.height
    return bool(max(x[0], west) < min(x[1], east) and max(y[0], south) < min(y[1], north))


def _pair(value: Any) -> tuple[float, float]:
    try:
        x, y = map(float, (value, value) if isinstance(value, int | float) else value)
    except (TypeError, ValueError) as error:
        raise QueryError(f"expected a pixel size as one number or two, got {value!r}") from error
    if not (0 < x < math.inf and 0 < y < math.inf):
        raise QueryError(f"expected a pixel size above 0, got {value!r}")
    return x, y


class _Systems:
    """CRSs by their texts: parsing and comparing takes milliseconds, and scenes share few."""

    def __init__(self) -> None:
        self._parsed: dict[Any, Any] = {}
        self._equal: dict[tuple[Any, Any], bool] = {}

    def of(self, text: Any) -> Any:
        from pyproj import CRS

        if not isinstance(text, str):
            return CRS.from_user_input(text)
        if text not in self._parsed:
            self._parsed[text] = CRS.from_user_input(text)
        return self._parsed[text]

    def equal(self, text: Any, other: Any) -> bool:
        """Compare as pyproj does, but for the order of axes: pixels are x, y everywhere."""
        key = (text, other if isinstance(other, str) else id(other))
        if key not in self._equal:
            known = self.of(text)
            same = known == self.of(other) or known.is_exact_same(other)
            self._equal[key] = bool(same) or bool(known.equals(self.of(other), ignore_axis_order=True))
            self._parsed.setdefault(("kept", id(other)), other)  # an id means something while its object lives
        return self._equal[key]
