"""Warping pixels onto a target grid: GDAL's, through rasterio, which belongs to the extra `geo`; imported when needed.

Which windows belong together is found by `ways`. Reads are ours.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.extras import needed
from rasteret_refs.read.gdal_threads import begin
from rasteret_refs.read.overlap import overlap, transformer
from rasteret_refs.read.target import Grid, both, moved_by, same_crs
from rasteret_refs.read.ways import REACH, Course, Placement

METHODS = (*REACH, "average", "mode", "max", "min", "med", "q1", "q3", "sum", "rms")
"""Names of the resamplings that GDAL's warper has."""

SPAN = 4096
"""Columns of a target that are warped as one."""
PIECE_BYTES = 32 * 1024 * 1024
"""Of pixels that are warped at once, source and target."""
_OFF = 1e-6
"""Of a pixel: far more than rounding, far less than anybody sees."""
_MEGABYTES = 4096
"""More than any piece takes: GDAL shall not cut what it is given."""
_EXACT = 8
"""Bytes of integers that floats do not hold."""
_HALF_TURN = 180.0
"""Degrees."""


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

    GDAL asks PROJ for a few points of each row and draws straight lines between them, an eighth of a pixel from the
    truth at most: where a pixel comes from depends on where the row begins and ends. So rows begin and end in the same
    columns of the target whichever window is wanted: those of the image, or of each 4,096 of it.
    https://gdal.org/en/stable/api/gdal_alg.html#_CPPv426GDALCreateApproxTransformer19GDALTransformerFuncPvd

    Parameters
    ----------
    pixels
        (rows, columns) or (bands, rows, columns): the window that `placement` names.
    placement
        Of an image that is to be warped.
    target
        The whole.
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
    course, source = placement.course, placement.level.grid.window(placement.rows, placement.columns)
    if course is None:
        raise ValueError("expected an image that is to be warped")
    if resampling == "nearest" and same_crs(source.crs, target.crs):
        target = _off_corners(target, source)
    out = np.full((*pixels.shape[:-2], *_size(placement.target_rows, placement.target_columns)), fill, pixels.dtype)
    pieces = list(_pieces(placement, course, pixels))
    for rows, columns, span in pieces:
        given, own = pixels, source
        if len(pieces) > 1:
            there = overlap(source, target.window(rows, columns), REACH.get(resampling, 1.0), least=course.most)
            if there is None:
                continue
            given, own = pixels[..., there.rows, there.columns], source.window(there.rows, there.columns)
        options = _options(course, resampling)
        warped = onto(
            given, own, target.window(rows, span), resampling=resampling, nodata=nodata, fill=fill,
            whole=placement.level.grid, options=options,
        )  # fmt: skip
        down, across = moved_by(rows, -placement.target_rows.start), moved_by(columns, -placement.target_columns.start)
        out[..., down, across] = warped[..., moved_by(columns, -span.start)]
    return out


def _off_corners(target: Grid, source: Grid) -> Grid:
    """Move a target by a millionth of a source pixel, towards the source's last row and column.

    Every centre may lie on a corner of the source, as where 20 m are asked of 10 m. Then GDAL takes the pixel that
    begins there; but in degrees corners are rounded, and it took another one wherever that fell a little short.
    """
    (a, b, c, d, e, f), (p, q, _, r, s, _) = target.transform, source.transform
    return replace(target, transform=(a, b, c + _OFF * (p + q), d, e, f + _OFF * (r + s)))


def _size(rows: slice, columns: slice) -> tuple[int, int]:
    return rows.stop - rows.start, columns.stop - columns.start


def _pieces(placement: Placement, course: Course, pixels: npt.NDArray[Any]) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a target window; give the rows and columns of each piece, and the columns that are warped for it."""
    rows, columns, first = placement.target_rows, placement.target_columns, course.columns.start
    width = min(SPAN, course.columns.stop - first)
    bands = math.prod(pixels.shape[:-2])
    row = pixels.nbytes // (rows.stop - rows.start) + bands * width * pixels.dtype.itemsize
    height = max(PIECE_BYTES // max(row, 1), 1)
    for left in range(first + (columns.start - first) // SPAN * SPAN, columns.stop, SPAN):
        span = slice(left, min(left + SPAN, course.columns.stop))
        for top in range(rows.start, rows.stop, height):
            yield slice(top, min(top + height, rows.stop)), both(span, columns), span


def _options(course: Course, resampling: str) -> Mapping[str, Any]:
    """Tell GDAL what it would else make of the window that it is given: how wide kernels are, and where to cut."""
    across, down = (1 / step for step in course.steps)
    more = math.ceil(REACH.get(resampling, 1.0) * course.most) + 1
    return {
        "XSCALE": repr(across),
        "YSCALE": repr(down),
        "SOURCE_EXTRA": str(more),
        "SRC_FILL_RATIO_HEURISTICS": "NO",
        "warp_mem_limit": _MEGABYTES,
        # Sums are shared out from the source's rows, so that spans of the target settle nothing; exactly, no slower.
        **({"tolerance": 0.0} if resampling == "sum" else {}),
    }


def onto(
    pixels: npt.NDArray[Any],
    source: Grid,
    wanted: Grid,
    *,
    resampling: str,
    nodata: complex | None,
    fill: Any,
    whole: Grid | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> npt.NDArray[Any]:
    """Warp all pixels of one grid onto another one; in any number of threads at once. See `warp`.

    Parameters
    ----------
    whole
        The image that `source` is a window of; None: `source` itself.
    options
        More of `rasterio.warp.reproject`.
    """
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == _EXACT and resampling == "nearest":
        return _in_halves(pixels, source, wanted, fill=fill, whole=whole, options=options)
    area = None if whole is None else _area(whole.crs.srs, whole.bounds)
    if area is not None:
        options = {**options, "AREA_OF_INTEREST": area}
    with needed("warping pixels onto another grid"):
        from rasterio import Env, band
        from rasterio._err import CPLE_BaseError  # GDAL's errors that rasterio does not translate
        from rasterio.errors import RasterioError
        from rasterio.warp import Resampling, reproject

    begin(source.crs, wanted.crs, area)
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
                **options,
            )
            warped: npt.NDArray[Any] = found.read()
    except (RasterioError, CPLE_BaseError) as error:
        raise QueryError(f"expected a way from {source.crs.name} to {wanted.crs.name}, found {error}") from error
    return warped.reshape(*pixels.shape[:-2], wanted.height, wanted.width)


@lru_cache(maxsize=1024)
def _area(crs: str, bounds: tuple[float, float, float, float]) -> str | None:
    """Name the place of an image, by which PROJ chooses among the ways from one datum to another.

    GDAL knows no more of the image than the window that it is given, and so windows of one image took different ways,
    at the border of the United States and Canada 13 m apart. Also, it keeps what it has found for a place: looking for
    it anew took a third of the time of a small warp.
    https://gdal.org/en/stable/doxygen/gdal__alg_8h.html (GDALCreateGenImgProjTransformer2, AREA_OF_INTEREST)

    Parameters
    ----------
    crs, bounds
        Of the whole image: (left, bottom, right, top).

    Returns
    -------
    str or None
        West, south, east and north of the corners, in degrees on the CRS's own datum; None where they cannot be told:
        then GDAL takes the place of the window.
    """
    known = pyproj.CRS.from_user_input(crs)
    geographic = known.geodetic_crs
    if geographic is None or any(axis.unit_name != "degree" for axis in geographic.axis_info[:2]):
        return None
    left, bottom, right, top = bounds
    x, y = transformer(known, geographic).transform([left, right, left, right], [bottom, bottom, top, top])
    if not (np.isfinite([*x, *y]).all() and np.abs(x).max() <= _HALF_TURN and np.abs(y).max() <= _HALF_TURN / 2):
        return None
    return ",".join(repr(float(side)) for side in (min(x), min(y), max(x), max(y)))


def _in_halves(
    pixels: npt.NDArray[Any],
    source: Grid,
    wanted: Grid,
    *,
    fill: Any,
    whole: Grid | None,
    options: Mapping[str, Any],
) -> npt.NDArray[Any]:
    """Move integers of 64 bits as two of 32: GDAL's warper knows them as floats, which hold but 53 bits."""
    bands = pixels.reshape(-1, *pixels.shape[-2:])
    halves = np.ascontiguousarray(bands).view(np.uint32).reshape(*bands.shape, 2)
    planes = np.concatenate([halves[..., 0], halves[..., 1], np.ones((1, *bands.shape[-2:]), np.uint32)])
    moved = onto(planes, source, wanted, resampling="nearest", nodata=None, fill=0, whole=whole, options=options)
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
