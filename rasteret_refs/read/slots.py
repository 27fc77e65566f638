"""Which scenes make one slot of a mosaic, and in which order they are laid. Pure, over the scene table."""

import datetime as dt
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rasteret_refs.errors import QueryError

_HOUR = 3600
_DEGREES_PER_HOUR = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Groups of scenes."""

    dim: str | None
    """Name of the dimension; None: one mosaic, without it."""
    scenes: tuple[tuple[int, ...], ...]
    """Rows of the scene table, the first one on top."""
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    """Coordinates along the dimension, for xarray."""


def group_scenes(scenes: Any, rows: Sequence[int], *, groupby: str | None, order: str, longitude: float) -> Slots:
    """Group scenes into slots.

    Parameters
    ----------
    scenes
        `pyarrow.Table`.
    rows
        Those that take part.
    groupby, order
        As in `compose.read`.
    longitude
        Of the area, for solar days: whole hours from UTC, as odc-stac counts them.

    Raises
    ------
    QueryError
        A column that is not there, or scenes without datetime where one is needed.
    """
    times = scenes["datetime"].to_pylist() if "datetime" in scenes.column_names else [None] * scenes.num_rows
    ids = scenes["id"].to_pylist()
    ordered = _ordered(scenes, rows, order, times, ids)
    if groupby is None:
        return Slots(dim=None, scenes=(tuple(ordered),))
    key_of = _key_of(scenes, groupby, times, ids, longitude)
    keys = {row: key_of(row) for row in rows}
    groups: dict[Hashable, list[int]] = {}
    for row in ordered:
        groups.setdefault(keys[row], []).append(row)
    timed = groupby in {"id", "time", "solar_day"} and all(times[row] is not None for row in rows)

    def first(group: Sequence[int]) -> tuple[Any, str]:
        earliest = min(group, key=lambda row: (times[row], ids[row]) if timed else ids[row])
        return (times[earliest], ids[earliest]) if timed else (0, ids[earliest])

    if timed or groupby == "id":
        arranged = sorted(groups.values(), key=first)
    else:
        arranged = [groups[key] for key in sorted(groups, key=lambda key: (key is None, key))]
    dim = "time" if timed else "scene" if groupby == "id" else groupby
    coordinates: dict[str, Any] = {}
    if timed:
        stamps = [first(group)[0].astimezone(dt.UTC).replace(tzinfo=None) for group in arranged]
        coordinates["time"] = ("time", np.array(stamps, dtype="datetime64[us]").astype("datetime64[ns]"))
    elif groupby != "id":
        coordinates[dim] = (dim, np.array([keys[group[0]] for group in arranged]))
    if groupby == "id":
        coordinates["id"] = (dim, np.array([ids[group[0]] for group in arranged]))
    return Slots(dim=dim, scenes=tuple(map(tuple, arranged)), coordinates=coordinates)


def _key_of(
    scenes: Any, groupby: str, times: Sequence[Any], ids: Sequence[str], longitude: float
) -> Callable[[int], Hashable]:
    """Give what tells a row's slot."""
    if groupby == "id":
        return lambda row: (ids[row], row)
    if groupby in {"time", "solar_day"}:
        ahead = dt.timedelta(seconds=int(longitude / _DEGREES_PER_HOUR) * _HOUR if groupby == "solar_day" else 0)

        def by_time(row: int) -> Hashable:
            if times[row] is None:
                raise QueryError(f"expected a datetime for groupby={groupby!r}, scene {ids[row]!r} has none")
            time = times[row].astimezone(dt.UTC) + ahead
            return (time.date() if groupby == "solar_day" else time,)

        return by_time
    if groupby not in scenes.column_names:
        raise QueryError(f"expected groupby= id, time, solar_day or one of {scenes.column_names}, got {groupby!r}")
    values: Sequence[Hashable] = scenes[groupby].to_pylist()
    return lambda row: values[row]


def _ordered(scenes: Any, rows: Sequence[int], order: str, times: Sequence[Any], ids: Sequence[str]) -> list[int]:
    """Sort rows by a column, missing values last; equals by time and id."""
    start = dt.datetime.min.replace(tzinfo=dt.UTC)
    result = sorted(rows, key=lambda row: (times[row] or start, ids[row]))
    name = order.removeprefix("-")
    if name == "time":
        name = "datetime"
    if name not in scenes.column_names:
        raise QueryError(f"expected order= to be one of {scenes.column_names}, got {order!r}")
    values = scenes[name].to_pylist()
    present = [row for row in result if values[row] is not None]
    missing = [row for row in result if values[row] is None]
    return sorted(present, key=lambda row: values[row], reverse=order.startswith("-")) + missing
