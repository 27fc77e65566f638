"""The grid that a read fills: from a bounding box, a geometry, another dataset or a GeoBox. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError

type Coefficients = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) as in affine.Affine: x = a·column + b·row + c, y = d·column + e·row + f."""

_DENSIFY = 21
_CLOSE = 1e-6
_HALF = 180.0
"""Degrees of half a turn."""
_MOST = 2**31
"""Pixels along one side that a grid may have: GDAL's integers hold no more."""


@dataclass(frozen=True, slots=False, kw_only=True)
class Grid:
    """CRS, affine transform and shape."""

    crs: pyproj.CRS
    transform: Coefficients
    """Of pixel corners."""
    height: int
    width: int
    axes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = field(default=None, compare=False)
    """x of the columns' and y of the rows' centres as somebody else reckons them; None: as `centres` does."""

    @property
    def resolution(self) -> tuple[float, float]:
        """Width and height of a pixel, both positive."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the corners."""
        a, b, c, d, e, f = self.transform
        corners = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        xs = [a * column + b * row + c for column, row in corners]
        ys = [d * column + e * row + f for column, row in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def window(self, rows: slice, columns: slice) -> "Grid":
        """Cut a window, given by slices with start and stop."""
        a, b, c, d, e, f = self.transform
        row, column = rows.start, columns.start
        moved = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
        return Grid(crs=self.crs, transform=moved, height=max(rows.stop - row, 0), width=max(columns.stop - column, 0))

    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give x of the columns' and y of the rows' centres; only of grids that are not rotated."""
        if self.axes is not None:
            return self.axes
        a, _, c, _, e, f = self.transform
        columns = np.arange(self.width, dtype=np.float64)
        rows = np.arange(self.height, dtype=np.float64)
        return c + a * (columns + 0.5), f + e * (rows + 0.5)

    def shift_to(self, other: "Grid") -> tuple[int, int] | None:
        """Tell where the other grid's first pixel lies in this one, as (row, column); None when pixels do not coincide.

        They do when CRS and pixel vectors are equal and the origins lie whole pixels apart, to a thousandth of a pixel.
        """
        if not same_crs(self.crs, other.crs):
            return None
        a, b, c, d, e, f = self.transform
        limit = _CLOSE * max(abs(a), abs(b), abs(d), abs(e))
        if any(abs(p - q) > limit for p, q in zip((a, b, d, e), np.take(other.transform, (0, 1, 3, 4)), strict=True)):
            return None
        determinant = a * e - b * d
        x, y = other.transform[2] - c, other.transform[5] - f
        column, row = (e * x - b * y) / determinant, (a * y - d * x) / determinant
        near = 1e-3
        if abs(column - round(column)) > near or abs(row - round(row)) > near:
            return None
        return round(row), round(column)


def both(one: slice, other: slice) -> slice:
    """Give what two ranges share; it stops before it starts where they share nothing."""
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def moved_by(span: slice, distance: int) -> slice:
    """Shift a range."""
    return slice(span.start + distance, span.stop + distance)


def same_crs(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Tell whether two CRSs are one, whichever order their axes are defined in: pixels are x, y everywhere."""
    return one is other or _same_crs(one.srs, other.srs)


@lru_cache(maxsize=1024)
def _same_crs(one: str, other: str) -> bool:  # comparing takes milliseconds, and scenes share few
    return one == other or pyproj.CRS.from_user_input(one).equals(other, ignore_axis_order=True)


def common_crs(text: Any) -> pyproj.CRS:
    """Make a CRS of whatever pyproj understands."""
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise QueryError(f"expected a CRS, found {text!r}: {error}") from error


def utm_crs(longitude: float, latitude: float) -> pyproj.CRS:
    """Give the WGS 84 UTM zone of a place, without the exceptions of Norway and Svalbard."""
    zone = int((longitude + 180) // 6) % 60 + 1
    return pyproj.CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def lonlat_bounds(bbox: Sequence[float] | None, geometry: Any) -> tuple[float, float, float, float]:
    """Give the longitude/latitude bounds of a bbox or a geometry (shapely, GeoJSON mapping or WKB).

    Returns
    -------
    (west, south, east, north)
        East exceeds 180° where a bbox crosses the antimeridian: with west > east, as RFC 7946 (5.2) writes it.

    Raises
    ------
    QueryError
        Neither or both are given, or the bounds are empty.
    """
    if (bbox is None) == (geometry is None):
        raise QueryError("expected one of bbox=, geometry=, like= and geobox=")
    if bbox is None:
        bbox = _geometry_bounds(geometry)
    try:
        west, south, east, north = map(float, bbox)
    except (TypeError, ValueError) as error:
        raise QueryError(f"expected (west, south, east, north) in degrees, found {bbox!r}") from error
    if _HALF < west - east <= 2 * _HALF:
        east += 2 * _HALF
    if not (west < east and south < north):
        raise QueryError(f"expected (west, south, east, north) in degrees, found {tuple(bbox)}")
    if not (south >= -90 and north <= 90 and west >= -360 and east <= 360):  # noqa: PLR2004 - degrees
        raise QueryError(f"expected longitudes and latitudes, found {tuple(bbox)}")
    return west, south, east, north


def _geometry_bounds(geometry: Any) -> Sequence[float]:
    import shapely
    import shapely.geometry

    if isinstance(geometry, bytes):
        geometry = shapely.from_wkb(geometry)
    elif not hasattr(geometry, "bounds"):
        geometry = shapely.geometry.shape(geometry)
    bounds: Sequence[float] = geometry.bounds
    return bounds


def grid_around(
    bounds: tuple[float, float, float, float],
    crs: pyproj.CRS,
    resolution: tuple[float, float],
    anchor: tuple[float, float] = (0.0, 0.0),
) -> Grid:
    """Give the north-up grid around longitude/latitude bounds, grown to whole pixels counted from the anchor.

    Parameters
    ----------
    resolution
        Width and height of a pixel, in units of `crs`.
    anchor
        A corner of pixels: the origin of the images where these are not to be resampled.
    """
    transformer = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*bounds, densify_pts=_DENSIFY)
    width, height = resolution
    if not (left <= right and all(map(math.isfinite, (left, bottom, right, top))) and width > 0 and height > 0):
        raise QueryError(
            f"expected bounds that {crs.name} covers and a positive resolution, found {bounds}, {resolution}"
        )
    x, y = anchor
    first, last = _floor((left - x) / width), _ceil((right - x) / width)
    low, high = _floor((bottom - y) / height), _ceil((top - y) / height)
    if max(last - first, high - low) >= _MOST:
        raise QueryError(f"expected fewer than {_MOST} pixels along each side, found {last - first} × {high - low}")
    transform = (width, 0.0, x + first * width, 0.0, -height, y + high * height)
    return Grid(crs=crs, transform=transform, height=max(high - low, 1), width=max(last - first, 1))


def _floor(value: float) -> int:
    return math.floor(value + _CLOSE)


def _ceil(value: float) -> int:
    return math.ceil(value - _CLOSE)


def grid_like(like: Any) -> Grid:
    """Take over the grid of a GeoBox, or of an xarray object that odc-geo finds one in, with its very coordinates.

    (Arithmetic in xarray keeps what two objects share, compared exactly: an ulp aside, and rows are dropped silently.)

    Raises
    ------
    QueryError
        There is none.
    """
    geobox = like
    if not hasattr(like, "affine"):
        import odc.geo.xr  # noqa: F401 - registers .odc

        geobox = getattr(getattr(like, "odc", None), "geobox", None)
    if geobox is None or geobox.crs is None:
        raise QueryError(
            f"expected a GeoBox, or an xarray object with CRS and coordinates, found {type(like).__name__}"
        )
    height, width = map(int, geobox.shape)
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    a, b, c, d, e, f = map(float, geobox.affine[:6])
    grid = Grid(crs=crs, transform=(a, b, c, d, e, f), height=height, width=width)
    return replace(grid, axes=_axes(like, geobox, grid)) if b == 0 and d == 0 else grid


def _axes(like: Any, geobox: Any, grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Take over coordinates, (x, y), where they are the grid's but for what rounding makes of them."""
    if like is geobox:
        y, x = (one.values for one in geobox.coordinates.values())
    else:
        y, x = (like[dim].to_numpy() for dim in like.odc.spatial_dims)
    pairs = zip((x, y), grid.centres(), grid.resolution, strict=True)
    alike = all(p.shape == q.shape and np.allclose(p, q, rtol=0, atol=_CLOSE * size) for p, q, size in pairs)
    return (x, y) if alike else None
