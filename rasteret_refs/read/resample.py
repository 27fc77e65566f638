"""How an image gets onto a target grid: whole pixels moved where the grids coincide, else warped by GDAL.

Which windows belong together is found by `overlap`; the resampling is GDAL's, through rasterio, which belongs to the
extra `geo` and is imported when it is needed. Reads are ours.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import Image, Level
from rasteret_refs.read.overlap import overlap
from rasteret_refs.read.target import Grid, same_crs

REACH = {"nearest": 1.0, "bilinear": 1.0, "cubic": 2.0, "cubic_spline": 2.0, "lanczos": 3.0}
"""Pixels that a method looks around at equal resolution; methods that take all pixels beneath one: 1.
https://gdal.org/en/stable/api/gdalwarp_cpp.html#_CPPv415GDALResampleAlg"""

METHODS = (*REACH, "average", "mode", "max", "min", "med", "q1", "q3", "sum", "rms")
"""Names of the resamplings that GDAL's warper has."""

OTHER_SHIFT = 0.05
"""Images of equal resolution that lie less than this share of a pixel aside are moved by other methods than nearest
neighbour too, as odc-stac does."""
_DRIFT = 0.05
"""Pixels by which equal resolutions may differ over the whole width of a target."""
_SNAP = 1e-3
_EXACT = 8
"""Bytes of integers that floats do not hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Which window of an image fills which window of a target."""

    level: Level
    rows: slice
    """Of the source, at the level's resolution."""
    columns: slice
    target_rows: slice
    target_columns: slice
    warped: bool
    """False: the windows have one shape, and pixels are only moved."""


def place(image: Image, target: Grid, resampling: str, present: Callable[[Level, int], bool]) -> Placement | None:
    """Find an image's part in a target grid; None where they do not meet.

    Parameters
    ----------
    present
        Whether an image (by its index) stands at an overview.
    """
    finest = image.levels[0]
    for level in image.levels:
        shift = level.grid.shift_to(target)
        if shift is not None and (level is finest or present(level, image.index)):
            return _moved(level, target, *shift)
    reach = REACH.get(resampling, 1.0)
    found = overlap(finest.grid, target, reach)
    if found is None:
        return None
    level = finest
    for coarser in image.levels[1:]:
        if coarser.factor <= found.shrink * (1 + _SNAP) and present(coarser, image.index):
            level = coarser
    shift = _nearly(level.grid, target, resampling)
    if shift is not None:
        return _moved(level, target, *shift)
    if level is not finest:
        found = overlap(level.grid, target, reach)
    if found is None:
        return None
    return Placement(
        level=level, rows=found.rows, columns=found.columns, target_rows=found.target_rows,
        target_columns=found.target_columns, warped=True,
    )  # fmt: skip


def _moved(level: Level, target: Grid, row: int, column: int) -> Placement | None:
    first, last = max(row, 0), min(row + target.height, level.grid.height)
    left, right = max(column, 0), min(column + target.width, level.grid.width)
    if first >= last or left >= right:
        return None
    return Placement(
        level=level,
        rows=slice(first, last),
        columns=slice(left, right),
        target_rows=slice(first - row, last - row),
        target_columns=slice(left - column, right - column),
        warped=False,
    )


def _nearly(source: Grid, target: Grid, resampling: str) -> tuple[int, int] | None:
    """Tell where a target of equal resolution begins in a source, though not at a pixel's corner, as (row, column).

    Nearest neighbour takes the pixel that holds the centre, and so only moves pixels.
    """
    if not same_crs(source.crs, target.crs):
        return None
    (sa, sb, sc, sd, se, sf), (ta, tb, tc, td, te, tf) = source.transform, target.transform
    if any((sb, sd, tb, td)):
        return None
    if abs(ta / sa - 1) * target.width > _DRIFT or abs(te / se - 1) * target.height > _DRIFT:
        return None
    column, row = (tc - sc) / sa, (tf - sf) / se
    if resampling != "nearest" and max(abs(column - round(column)), abs(row - round(row))) > OTHER_SHIFT:
        return None
    return math.floor(row + 0.5), math.floor(column + 0.5)


def warp(
    pixels: npt.NDArray[Any],
    placement: Placement,
    target: Grid,
    *,
    resampling: str,
    nodata: complex | None,
    fill: Any,
) -> npt.NDArray[Any]:
    """Warp a source window onto its target window.

    Parameters
    ----------
    pixels
        (rows, columns) or (bands, rows, columns): the window that `placement` names.
    nodata
        Of the source: takes no part in resampling.
    fill
        Where nothing lands.

    Returns
    -------
    numpy.ndarray
        Of the target window's shape, in the dtype of `pixels`.

    Raises
    ------
    QueryError
        GDAL finds no way from one CRS to the other.
    """
    source = placement.level.grid.window(placement.rows, placement.columns)
    wanted = target.window(placement.target_rows, placement.target_columns)
    return onto(pixels, source, wanted, resampling=resampling, nodata=nodata, fill=fill)


def onto(
    pixels: npt.NDArray[Any], source: Grid, wanted: Grid, *, resampling: str, nodata: complex | None, fill: Any
) -> npt.NDArray[Any]:
    """Warp all pixels of one grid onto another one; in any number of threads at once. See `warp`."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == _EXACT and resampling == "nearest":
        return _in_halves(pixels, source, wanted, fill=fill)
    from rasterio import Env, band
    from rasterio.errors import RasterioError
    from rasterio.warp import Resampling, reproject

    bands = pixels.reshape(-1, *pixels.shape[-2:])
    numbers = list(range(1, len(bands) + 1))
    try:
        # Given arrays, rasterio opens datasets without a transform and silences the warning that follows, for all
        # threads or for none (rasterio 1.5.2, _io.pyx, MemoryDataset); these have one from the beginning.
        with (
            Env(),  # one for all that follows: rasterio looks for GDAL's data anew for each
            _dataset(source, len(bands), pixels.dtype) as given,
            _dataset(wanted, len(bands), pixels.dtype) as found,
        ):
            given.write(bands)
            reproject(
                band(given, numbers),
                band(found, numbers),
                src_nodata=nodata,
                dst_nodata=fill if nodata is not None else None,
                resampling=Resampling[resampling],
                init_dest_nodata=True,
            )
            warped: npt.NDArray[Any] = found.read()
    except RasterioError as error:
        raise QueryError(f"expected a way from {source.crs.name} to {wanted.crs.name}, found {error}") from error
    return warped.reshape(*pixels.shape[:-2], wanted.height, wanted.width)


def _in_halves(pixels: npt.NDArray[Any], source: Grid, wanted: Grid, *, fill: Any) -> npt.NDArray[Any]:
    """Move integers of 64 bits as two of 32: GDAL's warper knows them as floats, which hold but 53 bits."""
    bands = pixels.reshape(-1, *pixels.shape[-2:])
    halves = np.ascontiguousarray(bands).view(np.uint32).reshape(*bands.shape, 2)
    planes = np.concatenate([halves[..., 0], halves[..., 1], np.ones((1, *bands.shape[-2:]), np.uint32)])
    moved = onto(planes, source, wanted, resampling="nearest", nodata=None, fill=0)
    covered, moved = moved[-1] != 0, moved[:-1]
    together = np.ascontiguousarray(np.stack([moved[: len(bands)], moved[len(bands) :]], axis=-1))
    out = np.where(covered, together.view(pixels.dtype)[..., 0], pixels.dtype.type(fill))
    return out.reshape(*pixels.shape[:-2], *out.shape[-2:])


def warp_around(
    pixels: npt.NDArray[Any], empty: npt.NDArray[np.bool_], placement: Placement, target: Grid, *, resampling: str
) -> npt.NDArray[Any]:
    """Warp a source window some of whose pixels take no part in resampling, though no value of theirs says so.

    Parameters
    ----------
    pixels, placement, target, resampling
        As in `warp`; real numbers.
    empty
        Which pixels take no part; broadcasts against `pixels`.

    Returns
    -------
    numpy.ndarray
        As of `warp`; where nothing lands, 0 among integers and NaN among floats.
    """
    dtype = pixels.dtype
    floats = pixels.astype(np.result_type(dtype, np.float32))
    floats[np.broadcast_to(empty, floats.shape)] = np.nan
    nan = float("nan")
    warped = warp(floats, placement, target, resampling=resampling, nodata=nan, fill=nan)
    if dtype.kind == "f":
        return warped.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.floor(np.nan_to_num(warped, nan=0.0) + 0.5)  # as GDAL rounds
    clipped: npt.NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return clipped


def _dataset(grid: Grid, bands: int, dtype: np.dtype[Any]) -> AbstractContextManager[Any]:
    """Make an empty dataset in memory."""
    import rasterio
    from affine import Affine

    a, b, c, d, e, f = grid.transform
    if (abs(a), b, c, d, abs(e), f) == (1, 0, 0, 0, 1, 0):  # GDAL's word for "no transform"
        c = 1e-100
    opened: AbstractContextManager[Any] = rasterio.open(
        "window", "w+", driver="MEM", height=grid.height, width=grid.width, count=bands, dtype=dtype,
        crs=_crs(grid.crs.to_wkt()), transform=Affine(a, b, c, d, e, f),
    )  # fmt: skip
    return opened


@lru_cache(maxsize=64)
def _crs(wkt: str) -> Any:
    from rasterio.crs import CRS

    return CRS.from_wkt(wkt)
