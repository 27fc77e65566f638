"""How an image gets onto a target grid: whole pixels moved where the grids coincide, else warped by GDAL.

The geometry of warping (which source window, which resolution) is odc-geo's, the resampling rasterio's; both belong to
the extra `geo` and are imported when they are needed. Reads are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import Image, Level
from rasteret_refs.read.target import Grid

NEAREST_SHIFT = 0.9
"""Nearest neighbour may move an image of equal resolution by less than this share of a pixel, as odc-stac does."""
OTHER_SHIFT = 0.05


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
    for level in image.levels:
        shift = level.grid.shift_to(target)
        if shift is not None and (level is image.levels[0] or present(level, image.index)):
            return _moved(level, target, *shift)
    return _placed_by_warp(image, target, resampling, present)


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


def _placed_by_warp(
    image: Image, target: Grid, resampling: str, present: Callable[[Level, int], bool]
) -> Placement | None:
    from odc.geo.overlap import compute_reproject_roi

    tolerance = NEAREST_SHIFT if resampling == "nearest" else OTHER_SHIFT
    wanted = _geobox(target)
    plan = compute_reproject_roi(_geobox(image.grid), wanted, ttol=tolerance)
    level = image.levels[0]
    for coarser in image.levels[1:]:
        if coarser.factor <= plan.read_shrink and present(coarser, image.index):
            level = coarser
    if level is not image.levels[0]:
        plan = compute_reproject_roi(_geobox(level.grid), wanted, ttol=tolerance)
    rows, columns = plan.roi_src
    target_rows, target_columns = plan.roi_dst
    if min(rows.stop - rows.start, columns.stop - columns.start) <= 0:
        return None
    if min(target_rows.stop - target_rows.start, target_columns.stop - target_columns.start) <= 0:
        return None
    return Placement(
        level=level,
        rows=slice(int(rows.start), int(rows.stop)),
        columns=slice(int(columns.start), int(columns.stop)),
        target_rows=slice(int(target_rows.start), int(target_rows.stop)),
        target_columns=slice(int(target_columns.start), int(target_columns.stop)),
        warped=not (plan.paste_ok and plan.read_shrink == 1),
    )


def _geobox(grid: Grid) -> Any:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    return GeoBox((grid.height, grid.width), Affine(*grid.transform), grid.crs)


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
        `resampling` is no method of GDAL's.
    """
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    if resampling not in Resampling.__members__:
        raise QueryError(f"expected a resampling among {sorted(Resampling.__members__)}, found {resampling!r}")
    source = placement.level.grid.window(placement.rows, placement.columns)
    wanted = target.window(placement.target_rows, placement.target_columns)
    out = np.full((*pixels.shape[:-2], wanted.height, wanted.width), fill, dtype=pixels.dtype)
    reproject(
        pixels,
        out,
        src_transform=Affine(*source.transform),
        src_crs=source.crs.to_wkt(),
        src_nodata=nodata,
        dst_transform=Affine(*wanted.transform),
        dst_crs=wanted.crs.to_wkt(),
        dst_nodata=fill if nodata is not None else None,
        resampling=Resampling[resampling],
        init_dest_nodata=True,
    )
    return out
