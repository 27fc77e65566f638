"""Coordinates along a slot's scene axis: shared by all its resolutions, and complete when scenes are appended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.coordinates import scene_coordinate, time_values
from rasteret_refs.virtual.existing import ExistingGroup, ExistingLayout
from rasteret_refs.virtual.facts import Facts
from rasteret_refs.virtual.values import CoordinateArray, PlannedScene

RADIOMETRY: Final = ("scale", "offset", "nodata")
_FROM_THE_TIFF: Final = frozenset({"crs", "transform", "height", "width", "id", "time"})
_EXACT_INTEGERS: Final = 1 << 53


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
    name: str,
    numbers: Sequence[int],
    scenes: Sequence[PlannedScene],
    columns: Mapping[str, npt.NDArray[Any]],
    existing: tuple[ExistingLayout, ExistingGroup] | None,
) -> SceneAxis:
    """Return a slot's scene axis.

    Parameters
    ----------
    name
        `time` or `scene`.
    numbers
        The slot's scenes in order.
    scenes, columns
        The whole batch, in order.
    existing
        The set and the slot's full-resolution group, when scenes are appended.
    """
    at = np.asarray(numbers, np.int64)
    fresh: dict[str, npt.ArrayLike] = {"id": np.array([scenes[number].id for number in numbers], dtype=str)}
    times = [moment for moment in (scenes[number].time for number in numbers) if moment is not None]
    if len(times) == len(numbers):
        fresh["time"] = time_values(times)
    fresh |= {column: values[at] for column, values in columns.items()}
    if existing is None:
        made = tuple(scene_coordinate(key, values, name) for key, values in fresh.items())
        return SceneAxis(name=name, start=0, scenes=tuple(numbers), coordinates=made)
    start = existing[1].arrays["id"].shape[0]
    made = tuple(
        appended(key, values, name, start, len(numbers), existing)
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


def appended(
    name: str,
    values: npt.ArrayLike | None,
    axis: str,
    start: int,
    count: int,
    existing: tuple[ExistingLayout, ExistingGroup],
) -> CoordinateArray:
    """Return a coordinate of all rows: what is stored, then the new values.

    A column that only one side has is empty text, or NaN, on the other.
    """
    layout, group = existing
    stored = group.arrays.get(name)
    old: npt.NDArray[Any] | None = None
    if stored is not None:
        old = layout.values(group.path, name)
        if str(stored.attributes.get("units", "")).startswith("microseconds since 1970-01-01"):
            old = old.astype("<i8").view("<M8[us]")
    new = None if values is None else np.asarray(values)
    if old is None:
        old = _absent(name, new, start)
    if new is None:
        new = _absent(name, old, count)
    if (old.dtype.kind == "U") != (new.dtype.kind == "U") and "O" not in (old.dtype.kind, new.dtype.kind):
        raise LayoutError(f"column {name!r}: the set holds {old.dtype}, the new scenes {new.dtype}")
    both = np.concatenate([old, new])
    room = old.dtype.itemsize // 4 if stored is not None and old.dtype.kind == "U" else 0
    return scene_coordinate(name, both, axis, at_least=room)


def _absent(name: str, like: npt.NDArray[Any] | None, count: int) -> npt.NDArray[Any]:
    kind = "U" if like is None else like.dtype.kind
    if kind in "UTO":
        return np.full(count, "")
    if kind in "iuf":
        return np.full(count, np.nan)
    raise LayoutError(
        f"column {name!r}: expected values for the old scenes and the new ones, got them for one side only"
    )


def radiometry_coordinate(
    array: str, kind: str, axis: str, rows: int, facts_of_row: Mapping[int, Facts], band_dimension: str | None
) -> CoordinateArray:
    """Return `<array>_scale`, `_offset` or `_nodata`: what each scene's TIFF says, NaN (or no text) where it is silent.

    Parameters
    ----------
    array
        Name of the array.
    kind
        One of `RADIOMETRY`.
    axis
        Name of the scene axis.
    rows
        Rows in all.
    facts_of_row
        Facts of the rows that hold an image.
    band_dimension
        Second dimension, used where bands of one image differ.
    """
    name = f"{array}_{kind}"
    if kind == "nodata":
        return scene_coordinate(name, _nodata_values(rows, facts_of_row), axis)
    per_row = {row: facts.scales if kind == "scale" else facts.offsets for row, facts in facts_of_row.items()}
    bands = max((len(set(values)) for values in per_row.values()), default=1)
    if bands == 1 or band_dimension is None:
        flat = np.full(rows, np.nan)
        for row, values in per_row.items():
            flat[row] = values[0]
        return scene_coordinate(name, flat, axis)
    wide = np.full((rows, max(map(len, per_row.values()))), np.nan)
    for row, values in per_row.items():
        wide[row] = values
    return scene_coordinate(name, wide, axis, second=band_dimension)


def _nodata_values(rows: int, facts_of_row: Mapping[int, Facts]) -> npt.NDArray[Any]:
    """Nodata as float64, or as text where a float64 cannot hold one of them."""
    values = {row: facts.nodata for row, facts in facts_of_row.items()}
    if any(isinstance(v, complex) or (isinstance(v, int) and abs(v) > _EXACT_INTEGERS) for v in values.values()):
        return np.array(["" if values.get(row) is None else str(values[row]) for row in range(rows)])
    result = np.full(rows, np.nan)
    for row, value in values.items():
        if value is not None and not isinstance(value, complex):
            result[row] = value
    return result
