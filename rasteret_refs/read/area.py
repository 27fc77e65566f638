"""The grid of a read: what bounds, CRS and resolution mean for the images at hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import Image
from rasteret_refs.read.overlap import meet, transformer, turned, turns
from rasteret_refs.read.target import Grid, common_crs, grid_around, grid_like, lonlat_bounds, same_crs, utm_crs


def target_of(
    images: Mapping[str, Sequence[Image]],
    *,
    bbox: Sequence[float] | None,
    geometry: Any,
    like: Any,
    geobox: Any,
    crs: Any,
    resolution: float | tuple[float, float] | None,
) -> Grid:
    """Choose the grid that a read fills.

    Parameters
    ----------
    images
        By asset: all that may be read.
    bbox, geometry, like, geobox, crs, resolution
        As in `compose.read`; the geometry as shapely has it.

    Raises
    ------
    QueryError
        These say nothing, or contradict one another.
    """
    if like is not None or geobox is not None:
        if bbox is not None or crs is not None or resolution is not None:
            raise QueryError("expected like= or geobox= alone: it says bounds, CRS and resolution")
        return grid_like(like if like is not None else geobox)
    bounds = lonlat_bounds(bbox, geometry)
    grids = [image.grid for group in images.values() for image in group]
    if not grids:
        raise QueryError("expected scenes with the assets asked for, found none")
    if crs is None:
        wanted = _commonest(grids, bounds)
    elif crs == "utm":
        wanted = utm_crs((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    else:
        wanted = common_crs(crs)
    size = _finest(grids, wanted) if resolution is None else _pair(resolution)
    alike = (grid for grid in grids if same_crs(grid.crs, wanted) and _close(grid.resolution, size))
    first = next(alike, None)
    anchor = (first.transform[2], first.transform[5]) if first is not None else (0.0, 0.0)
    return grid_around(bounds, wanted, size, anchor)


def _pair(resolution: Any) -> tuple[float, float]:
    try:
        x, y = (resolution, resolution) if np.ndim(resolution) == 0 else resolution
        return float(x), float(y)
    except (TypeError, ValueError) as error:
        raise QueryError(f"expected resolution= to be one number or (x, y), found {resolution!r}") from error


def _close(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(p, q, rel_tol=1e-9) for p, q in zip(one, other, strict=True))


def _commonest(grids: Sequence[Grid], bounds: tuple[float, float, float, float]) -> pyproj.CRS:
    """Give the CRS of most images that meet the bounds; of equals the first."""
    if len({grid.crs.srs for grid in grids}) == 1:
        return grids[0].crs
    counts: dict[str, tuple[int, pyproj.CRS]] = {}
    area = Grid(crs=pyproj.CRS.from_epsg(4326), transform=(bounds[2] - bounds[0], 0.0, bounds[0], 0.0,
                bounds[1] - bounds[3], bounds[3]), height=1, width=1)  # fmt: skip
    known: dict[int, bool] = {}
    for grid in grids:
        if id(grid) not in known:
            known[id(grid)] = any(meet(turned(grid, degrees), area) for degrees in turns(grid, area))
        key = grid.crs.srs
        count, _ = counts.get(key, (0, grid.crs))
        counts[key] = (count + int(known[id(grid)]), grid.crs)
    return max(counts.values(), key=lambda entry: entry[0])[1]


def _finest(grids: Sequence[Grid], crs: pyproj.CRS) -> tuple[float, float]:
    """Give the finest resolution among images, converted at their centres where the CRS differs."""
    sizes = []
    for grid in {(g.crs.srs, g.resolution): g for g in grids}.values():
        if same_crs(grid.crs, crs):
            sizes.append(grid.resolution)
            continue
        left, bottom, right, top = grid.bounds
        x, y = (left + right) / 2, (bottom + top) / 2
        width, height = grid.resolution
        low, _, high, _ = transformer(grid.crs, crs).transform_bounds(
            x - width / 2, y - height / 2, x + width / 2, y + height / 2
        )
        sizes.append((high - low, high - low))
    return min(sizes)
