"""`<array>_scale`, `_offset` and `_nodata`: coordinates along the scene axis where these vary by scene."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.coordinates import scene_coordinate
from rasteret_refs.virtual.facts import Facts, NodataValue
from rasteret_refs.virtual.values import CoordinateArray

RADIOMETRY: Final = ("scale", "offset", "nodata")
_EXACT_INTEGERS: Final = 1 << 53


def radiometry_coordinate(
    name: str, facts_of_row: Mapping[int, Facts], rows: int, *, axis: str, band_dimension: str | None
) -> CoordinateArray:
    """Return what each scene's TIFF says, NaN (or no text) where it is silent or there is no image.

    Parameters
    ----------
    name
        `<array>_scale`, `<array>_offset` or `<array>_nodata`.
    facts_of_row
        Facts of the rows that hold an image.
    rows
        Rows in all.
    axis
        Name of the scene axis.
    band_dimension
        Second dimension, used for scales and offsets where bands of one image differ.
    """
    kind = name.rpartition("_")[2]
    if kind == "nodata":
        return scene_coordinate(name, _nodata_values(rows, facts_of_row), axis=axis)
    per_row = {row: facts.scales if kind == "scale" else facts.offsets for row, facts in facts_of_row.items()}
    if band_dimension is None or all(len(set(values)) == 1 for values in per_row.values()):
        flat = np.full(rows, np.nan)
        for row, values in per_row.items():
            flat[row] = values[0]
        return scene_coordinate(name, flat, axis=axis)
    wide = np.full((rows, max(map(len, per_row.values()))), np.nan)
    for row, values in per_row.items():
        wide[row] = values
    return scene_coordinate(name, wide, axis=axis, second=band_dimension)


def stored_facts(shared: Facts, values: Mapping[str, npt.NDArray[Any]], rows: int) -> dict[int, Facts]:
    """Return the facts of rows that exist already.

    Parameters
    ----------
    shared
        What the array's attributes say: true of every row, unless a coordinate tells otherwise.
    values
        Stored coordinates by kind (`scale`, `offset`, `nodata`), as far as there are any.
    rows
        Rows that exist.
    """
    if not values:
        return dict.fromkeys(range(rows), shared)
    bands = len(shared.scales)
    found = {}
    for row in range(rows):
        facts = shared
        if "scale" in values:
            facts = replace(facts, scales=tuple(np.broadcast_to(values["scale"][row], bands).tolist()))
        if "offset" in values:
            facts = replace(facts, offsets=tuple(np.broadcast_to(values["offset"][row], bands).tolist()))
        if "nodata" in values:
            facts = replace(facts, nodata=_stored_nodata(values["nodata"][row]))
        found[row] = facts
    return found


def _stored_nodata(value: Any) -> NodataValue:
    if not isinstance(value, str):
        return float(value)
    if not value:
        return None
    return complex(value) if "j" in value else int(value)


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
