"""Coordinates of the `stack` layout: where each scene's pixels lie, since every scene has a grid of its own."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.axis import SceneAxis
from rasteret_refs.virtual.batch import Batch
from rasteret_refs.virtual.coordinates import scene_coordinate
from rasteret_refs.virtual.existing import ExistingLayout
from rasteret_refs.virtual.grids import overview_transform
from rasteret_refs.virtual.resolutions import Resolution
from rasteret_refs.virtual.slots import Slot
from rasteret_refs.virtual.values import CoordinateArray

COEFFICIENTS: Final = "transform_coefficient"
"""Dimension of length 6: a, b, c, d, e, f as in affine.Affine."""


def place_coordinates(slot: Slot, batch: Batch, resolution: Resolution, axis: SceneAxis) -> list[CoordinateArray]:
    """Return `crs`, `transform` and, where an image is smaller than its array, `height` and `width`, for all rows.

    Empty for a slot of one grid. A row whose image is not at this resolution has the transform and size that its
    extent would have in the array.
    """
    if slot.grid is not None:
        return []
    made = []
    for name, new in _new_values(slot, batch, resolution, axis).items():
        values, room = new, 0
        if batch.existing is not None and axis.start:
            old = _old_values(name, slot, batch.existing, resolution, axis.start)
            values = np.concatenate([old, new])
            room = old.dtype.itemsize // 4 if old.dtype.kind == "U" else 0
        second = COEFFICIENTS if new.ndim > 1 else None
        made.append(scene_coordinate(name, values, room, axis=axis.name, second=second))
    return made


def _new_values(slot: Slot, batch: Batch, resolution: Resolution, axis: SceneAxis) -> dict[str, npt.NDArray[Any]]:
    rows = {number: row for row, number in enumerate(axis.scenes)}
    crs = [""] * len(rows)
    transforms = np.full((len(rows), 6), np.nan)
    sizes = np.zeros((len(rows), 2), "<i8")
    sizes[:] = resolution.shape
    for layer in slot.layers:
        row = rows[layer.scene]
        grid = layer.grid
        description = next((le.image.description for le in layer.levels if le.factor == resolution.factor), None)
        shape = resolution.shape if description is None else (description.height, description.width)
        sizes[row] = shape
        crs[row] = grid.crs or "" if grid.georeferenced else ""
        if grid.transform is not None:
            transforms[row] = overview_transform(grid.transform, (grid.height, grid.width), shape)
    values: dict[str, npt.NDArray[Any]] = {"crs": np.array(crs, dtype=str), "transform": transforms}
    stored = {} if resolution.existing is None else resolution.existing.arrays
    if batch.padded and ("height" in stored or bool((sizes != resolution.shape).any())):
        values |= {"height": sizes[:, 0], "width": sizes[:, 1]}
    return values


def _old_values(name: str, slot: Slot, existing: ExistingLayout, resolution: Resolution, rows: int) -> npt.NDArray[Any]:
    """Return the stored values; for a group that is new, those of the full resolution over its pixels.

    A group without sizes had images of the arrays' shape only.
    """
    if resolution.existing is not None and name in resolution.existing.arrays:
        return existing.values(resolution.existing.path, name)
    if name in {"height", "width"}:
        return np.full(rows, resolution.shape[name == "width"], "<i8")
    stored = existing.values(f"{slot.path}/factor_1", name)
    if name != "transform":
        return stored
    down, across = slot.shape[0] / resolution.shape[0], slot.shape[1] / resolution.shape[1]
    return np.asarray(stored * np.array([across, down, 1.0, across, down, 1.0]))
