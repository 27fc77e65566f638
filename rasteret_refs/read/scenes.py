"""One scene out of a group, georeferenced, whichever layout the set has."""

from typing import Any

import numpy as np
import xarray as xr

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.documents import checked_crs

_COEFFICIENTS = "transform_coefficient"
_SHOWN = 5


def one_scene(dataset: xr.Dataset, scene: str) -> xr.Dataset:
    """Take one scene.

    Parameters
    ----------
    dataset
        A group as it was opened.
    scene
        The scene's id.

    Returns
    -------
    xarray.Dataset
        Without the scene axis. From a stack of many grids: cut to the image's own size, with `x`, `y` and
        `spatial_ref` of its own grid.

    Raises
    ------
    QueryError
        The group has no such scene.
    """
    ids = dataset["id"]
    (axis,) = ids.dims
    rows = np.flatnonzero(ids.to_numpy() == scene)
    if not len(rows):
        known = ", ".join(map(repr, ids.to_numpy()[:_SHOWN].tolist()))
        raise QueryError(f"expected the id of one of {ids.size} scenes ({known}, …), got {scene!r}")
    found = dataset.isel({axis: int(rows[-1])})
    return _placed(found) if _COEFFICIENTS in found.dims else found


def _placed(scene: xr.Dataset) -> xr.Dataset:
    """Give a scene of a stack its own grid."""
    sizes: dict[str, Any] = {
        dim: slice(int(scene[name])) for dim, name in (("y", "height"), ("x", "width")) if name in scene.coords
    }
    scene = scene.isel(sizes)
    crs, transform = str(scene["crs"].to_numpy()), scene["transform"].to_numpy()
    scene = scene.drop_vars(["crs", "transform", "height", "width"], errors="ignore")
    attributes: dict[str, Any] = {}
    if crs:
        from rasteret_refs.read.target import common_crs

        wkt = common_crs(checked_crs(crs, "CRS of a scene")).to_wkt()
        attributes |= {"crs_wkt": wkt, "spatial_ref": wkt}
    if bool(np.isfinite(transform).all()):
        a, b, c, d, e, f = map(float, transform)
        attributes["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
        if b == 0 and d == 0:
            scene = scene.assign_coords(
                x=("x", c + a * (np.arange(scene.sizes["x"]) + 0.5)),
                y=("y", f + e * (np.arange(scene.sizes["y"]) + 0.5)),
            )
    if not attributes:
        return scene
    scene = scene.assign_coords(spatial_ref=xr.Variable((), np.int64(0), attributes))
    for array in scene.data_vars.values():
        if array.dims[-2:] == ("y", "x"):
            array.attrs["grid_mapping"] = "spatial_ref"
    return scene
