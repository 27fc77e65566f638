"""Coordinates of the `stack` layout: where each scene's pixels lie, since every scene has a grid of its own."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.axis import SceneAxis
from rasteret_refs.virtual.coordinates import scene_coordinate
from rasteret_refs.virtual.existing import ExistingLayout
from rasteret_refs.virtual.grids import overview_transform
from rasteret_refs.virtual.resolutions import Resolution
from rasteret_refs.virtual.slots import Slot
from rasteret_refs.virtual.values import CoordinateArray

COEFFICIENTS: Final = "transform_coefficient"
"""Dimension of length 6: a, b, c, d, e, f as in affine.Affine."""


def place_coordinates(
    slot: Slot, existing: ExistingLayout | None, resolution: Resolution, axis: SceneAxis, padded: bool
) -> list[CoordinateArray]:
    """Return `crs`, `transform` and, where arrays are padded, `height` and `width`, for all rows of a group.

    Empty for a slot of one grid. A row whose image is not at this resolution has the transform and size that its
    extent would have in the array.
    """
    if slot.grid is not None:
        return []
    rows = {number: row for row, number in enumerate(axis.scenes)}
    crs = [""] * len(rows)
    transforms = np.full((len(rows), 6), np.nan)
    sizes = np.zeros((len(rows), 2), "<i8")
    sizes[:] = resolution.shape
    for layer in slot.layers:
        row = rows[layer.scene]
        full = (layer.grid.height, layer.grid.width)
        description = next((le.image.description for le in layer.levels if le.factor == resolution.factor), None)
        shape = resolution.shape if description is None else (description.height, description.width)
        sizes[row] = shape
        crs[row] = layer.grid.crs or ""
        if layer.grid.transform is not None:
            transforms[row] = overview_transform(layer.grid.transform, full, shape)
    values: dict[str, npt.NDArray[Any]] = {"crs": np.array(crs, dtype=str), "transform": transforms}
    if padded:
        values |= {"height": sizes[:, 0], "width": sizes[:, 1]}
    return [_complete(name, array, existing, slot, resolution, axis) for name, array in values.items()]


def _complete(
    name: str,
    values: npt.NDArray[Any],
    existing: ExistingLayout | None,
    slot: Slot,
    resolution: Resolution,
    axis: SceneAxis,
) -> CoordinateArray:
    """Put stored values before the new ones."""
    second = COEFFICIENTS if values.ndim > 1 else None
    room = 0
    if existing is not None and resolution.existing is not None:
        old = existing.values(resolution.existing.path, name)
        room = old.dtype.itemsize // 4 if old.dtype.kind == "U" else 0
        values = np.concatenate([old, values])
    elif axis.start:
        values = np.concatenate([_unknown(existing, slot, resolution, name, axis, values), values])
    return scene_coordinate(name, values, axis.name, second=second, at_least=room)


def _unknown(
    existing: ExistingLayout | None,
    slot: Slot,
    resolution: Resolution,
    name: str,
    axis: SceneAxis,
    like: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Return values for old rows of a group that is new: the CRS as it is, the transform of the extent over its pixels."""
    if existing is None or name in {"height", "width"}:
        return np.full(axis.start, resolution.shape[name == "width"], "<i8")
    stored = existing.values(f"{slot.path}/factor_1", name)
    if name == "transform":
        down, across = slot.shape[0] / resolution.shape[0], slot.shape[1] / resolution.shape[1]
        stored = stored * np.array([across, down, 1.0, across, down, 1.0])
    return np.asarray(stored).astype(like.dtype if like.dtype.kind == "f" else str)
