"""Coordinates along a slot's scene axis: shared by all its resolutions, and complete when scenes are appended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.batch import Batch
from rasteret_refs.virtual.coordinates import TIME_UNITS, scene_coordinate
from rasteret_refs.virtual.existing import ExistingGroup, ExistingLayout
from rasteret_refs.virtual.radiometry import RADIOMETRY
from rasteret_refs.virtual.values import CoordinateArray

_TEXT: Final = "UTO"
"""NumPy kinds of columns that hold text."""
_FROM_THE_TIFF: Final = frozenset({"crs", "transform", "height", "width", "id", "time"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneAxis:
    """The scene axis of one slot."""

    name: str
    """`time` or `scene`."""
    start: int
    """Rows that exist already."""
    scenes: tuple[int, ...]
    """New scenes by their number in the batch, in order of rows."""
    coordinates: tuple[CoordinateArray, ...]
    """`id`, `time` where scenes have times, and the scene columns, for all rows."""

    def __len__(self) -> int:
        """Rows in all."""
        return self.start + len(self.scenes)


def scene_axis(
    batch: Batch, numbers: Sequence[int], existing: tuple[ExistingLayout, ExistingGroup] | None
) -> SceneAxis:
    """Return a slot's scene axis.

    Parameters
    ----------
    batch
        All scenes, with their columns.
    numbers
        The slot's scenes in order.
    existing
        The set and the slot's full-resolution group, when scenes are appended.
    """
    name = batch.axis
    at = np.asarray(numbers, np.int64)
    fresh: dict[str, npt.ArrayLike] = {"id": np.array([batch.scenes[number].id for number in numbers], dtype=str)}
    if batch.timed:
        fresh["time"] = np.array([batch.scenes[number].time for number in numbers], "datetime64[us]")
    fresh |= {column: values[at] for column, values in batch.columns.items()}
    if existing is None:
        made = tuple(scene_coordinate(key, values, axis=name) for key, values in fresh.items())
        return SceneAxis(name=name, start=0, scenes=tuple(numbers), coordinates=made)
    start = existing[1].arrays["id"].shape[0]
    made = tuple(
        scene_coordinate(key, *_appended(key, values, len(numbers), existing), axis=name)
        for key, values in _with_old(fresh, existing[1], name)
    )
    return SceneAxis(name=name, start=start, scenes=tuple(numbers), coordinates=made)


def _with_old(
    fresh: Mapping[str, npt.ArrayLike], group: ExistingGroup, axis: str
) -> list[tuple[str, npt.ArrayLike | None]]:
    """New values by name, and None for columns that only the existing scenes have."""
    ours = {f"{array}_{kind}" for array in group.arrays for kind in RADIOMETRY} | _FROM_THE_TIFF
    old = [name for name, array in group.arrays.items() if array.dims == (axis,) and name not in ours]
    missing: dict[str, npt.ArrayLike | None] = dict.fromkeys(name for name in old if name not in fresh)
    return list({**fresh, **missing}.items())


def _appended(
    name: str, values: npt.ArrayLike | None, count: int, existing: tuple[ExistingLayout, ExistingGroup]
) -> tuple[npt.NDArray[Any], int]:
    """Return a coordinate's values for all rows, the stored ones first, and the characters that text has room for.

    A column that only one side has is empty text, or NaN, on the other.
    """
    layout, group = existing
    stored = group.arrays.get(name)
    new = None if values is None else np.asarray(values)
    if stored is None:
        return np.concatenate([_absent(name, new, group.arrays["id"].shape[0]), np.asarray(new)]), 0
    old = layout.values(group.path, name)
    if stored.attributes.get("units") == TIME_UNITS:
        old = old.astype("<i8").view("<M8[us]")
    if new is None:
        new = _absent(name, old, count)
    if (old.dtype.kind in _TEXT) != (new.dtype.kind in _TEXT):
        raise LayoutError(f"column {name!r}: the set holds {old.dtype}, the new scenes {new.dtype}")
    return np.concatenate([old, new]), old.dtype.itemsize // 4 if old.dtype.kind == "U" else 0


def _absent(name: str, like: npt.NDArray[Any] | None, count: int) -> npt.NDArray[Any]:
    kind = "U" if like is None else like.dtype.kind
    if kind in _TEXT:
        return np.full(count, "")
    if kind in "iuf":
        return np.full(count, np.nan)
    raise LayoutError(
        f"column {name!r}: expected values for the old scenes and the new ones, got them for one side only"
    )
