"""Geometries of reads: understood in longitude and latitude, brought into a grid's CRS, and burnt as masks."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.target import Grid, both, moved_by

_burning = threading.Lock()
"""rasterio silences a warning while it makes a dataset of an array (1.5.2, _io.pyx, MemoryDataset). Python keeps what
is silenced for all threads together, so two at a time could leave everything silent, or one warning loud."""
_PIECE = 1024
"""Rows and columns that are burnt at once."""
_HALF_TURN = 180.0
"""Degrees."""
_LONGEST_EDGE = 0.01
"""Degrees: longer edges get points between, since a straight line in degrees is none in other CRSs. At this length the
line strays from the true one by less than two centimetres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A geometry outside of which there are no data."""

    wkb: bytes
    """In the CRS of the grids that it is asked with."""
    all_touched: bool
    """Pixels that the geometry touches count; else those whose centre lies inside."""

    def outside(self, grid: Grid, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        """Tell which pixels of a grid's window lie outside, shape (rows, columns).

        GDAL's arithmetic counts from the first pixel that it is given, and rounds so; where an edge runs through the
        centre of a pixel, that decides. So it is always given the same pieces of the grid.
        """
        import shapely

        geometry = shapely.from_wkb(self.wkb)
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
        for top in range(rows.start - rows.start % _PIECE, rows.stop, _PIECE):
            for left in range(columns.start - columns.start % _PIECE, columns.stop, _PIECE):
                down, across = slice(top, min(top + _PIECE, grid.height)), slice(left, min(left + _PIECE, grid.width))
                mask = self._burnt(geometry, grid.window(down, across))
                high, near = both(down, rows), both(across, columns)
                out[moved_by(high, -rows.start), moved_by(near, -columns.start)] = mask[
                    moved_by(high, -top), moved_by(near, -left)
                ]
        return out

    def _burnt(self, geometry: Any, grid: Grid) -> npt.NDArray[np.bool_]:
        import shapely
        from affine import Affine
        from rasterio.features import geometry_mask

        shape = (grid.height, grid.width)
        left, bottom, right, top = grid.bounds
        if geometry.is_empty or not shapely.intersects(geometry, shapely.box(left, bottom, right, top)):
            return np.ones(shape, dtype=bool)
        with _burning:
            mask: npt.NDArray[np.bool_] = geometry_mask(
                [geometry], out_shape=shape, transform=Affine(*grid.transform), all_touched=self.all_touched
            )
        return mask


def clip_to(geometry: Any, crs: pyproj.CRS, *, all_touched: bool) -> Clip:
    """Bring a shapely geometry from longitude and latitude into a CRS."""
    import shapely

    return Clip(wkb=shapely.to_wkb(projected(geometry, crs)), all_touched=all_touched)


def projected(geometry: Any, crs: pyproj.CRS) -> Any:
    """Bring a shapely geometry from longitude and latitude into a CRS, as shapely geometry.

    Raises
    ------
    QueryError
        The CRS does not reach that far.
    """
    import shapely

    transformer = _transformer(crs)

    def move(coordinates: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.column_stack(transformer.transform(coordinates[:, 0], coordinates[:, 1]))

    moved = shapely.transform(shapely.segmentize(geometry, _LONGEST_EDGE), move)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise QueryError(f"expected a geometry that {crs.name} covers, found one in {geometry.bounds}")
    return moved


@lru_cache(maxsize=64)
def _transformer(crs: pyproj.CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, crs, always_xy=True)


def _forget_after_fork() -> None:
    """Begin anew in a forked child: a thread that does not exist there may have held the lock."""
    global _burning  # noqa: PLW0603 - one a process
    _burning = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def unwrapped(geometry: Any) -> Any:
    """Put a geometry that is cut at the antimeridian together: its western part then lies beyond 180°.

    GeoJSON cuts geometries there (RFC 7946, 3.1.9), so that their bounds span the whole world.
    """
    import shapely

    west, _, east, _ = geometry.bounds if not geometry.is_empty else (0.0, 0.0, 0.0, 0.0)
    if east - west <= _HALF_TURN or not hasattr(geometry, "geoms"):
        return geometry
    parts = [one if one.bounds[0] >= 0 else _moved(one) for one in geometry.geoms]
    if any(one.bounds[0] < 0 < one.bounds[2] for one in geometry.geoms):
        return geometry
    joined = shapely.union_all(parts)
    return joined if joined.bounds[2] - joined.bounds[0] < _HALF_TURN else geometry


def _moved(geometry: Any) -> Any:
    import shapely

    return shapely.transform(geometry, lambda places: np.add(places, (2 * _HALF_TURN, 0.0)))


def as_geometry(geometry: Any) -> Any:
    """Understand a geometry: shapely's, GeoJSON, WKB, anything with `__geo_interface__`, or a GeoSeries' union.

    Returns
    -------
    A shapely geometry in longitude and latitude: that of a GeoSeries or GeoDataFrame is transformed from its CRS.

    Raises
    ------
    QueryError
        It is none of these, or not valid.
    """
    import shapely
    import shapely.geometry

    if hasattr(geometry, "to_crs"):
        series = geometry.geometry
        return (series if series.crs is None else series.to_crs(4326)).union_all()
    try:
        if isinstance(geometry, shapely.Geometry):
            return geometry
        if isinstance(geometry, bytes | bytearray | memoryview):
            return shapely.from_wkb(bytes(geometry))
        value = getattr(geometry, "__geo_interface__", geometry)
        if isinstance(value, Mapping) and value.get("type") == "Feature":
            value = value["geometry"]
        if isinstance(value, Mapping) and value.get("type") == "FeatureCollection":
            return shapely.union_all([shapely.geometry.shape(feature["geometry"]) for feature in value["features"]])
        return shapely.geometry.shape(value)
    except (shapely.errors.ShapelyError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise QueryError(f"expected a geometry (shapely, GeoJSON or WKB), found {geometry!r:.100}: {error}") from error
