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


def instants(scenes: Any) -> list[Any]:
    """Give the time of each scene, the beginning of those that last; None where there is none.

    Parameters
    ----------
    scenes
        `pyarrow.Table`.
    """
    columns = [scenes[name].to_pylist() for name in ("datetime", "start_datetime") if name in scenes.column_names]
    return [next((time for time in row if time is not None), None) for row in zip(*columns, strict=True)] or (
        [None] * scenes.num_rows
    )


def group_scenes(scenes: Any, rows: Sequence[int], *, groupby: str | None, order: str, longitude: float) -> Slots:
    """Group scenes into slots.

    Parameters
    ----------
    scenes
        `pyarrow.Table`.
    rows
        Those that take part.
    groupby, order
        As in `compose.read`; `"datetime"` means the same as `"time"`.
    longitude
        Of the area, for solar days: whole hours from UTC, as odc-stac counts them.

    Raises
    ------
    QueryError
        A column that is not there, or scenes without datetime where one is needed.
    """
    times = instants(scenes)
    ids = scenes["id"].to_pylist()
    ordered = _ordered(scenes, rows, order, times, ids)
    groupby = "time" if groupby == "datetime" else groupby
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
        coordinates[dim] = (dim, _axis([keys[group[0]] for group in arranged]))
    if groupby == "id":
        coordinates["id"] = (dim, np.array([ids[group[0]] for group in arranged]))
    return Slots(dim=dim, scenes=tuple(map(tuple, arranged)), coordinates=coordinates)


def _axis(values: Sequence[Any]) -> Any:
    """Give the values of a column as a coordinate: instants as UTC, what has gaps as objects."""
    if values and all(isinstance(value, dt.datetime) for value in values):
        naive = [value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value for value in values]
        return np.array(naive, dtype="datetime64[us]").astype("datetime64[ns]")
    return np.array(values, dtype=object) if None in values else np.array(values)


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
    values: Sequence[Hashable] = _plain(scenes, groupby, "groupby=").to_pylist()
    return lambda row: values[row]


def _plain(scenes: Any, name: str, use: str) -> Any:
    """Give a column whose values can be compared."""
    import pyarrow.types as kinds

    column = scenes[name]
    if kinds.is_nested(column.type) or kinds.is_binary(column.type) or kinds.is_large_binary(column.type):
        raise QueryError(f"expected {use} to be a column of numbers, texts or times, got {name!r} of {column.type}")
    return column


def _ordered(scenes: Any, rows: Sequence[int], order: str, times: Sequence[Any], ids: Sequence[str]) -> list[int]:
    """Sort rows by a column, missing values last; equals by time and id."""
    start = dt.datetime.min.replace(tzinfo=dt.UTC)
    result = sorted(rows, key=lambda row: (times[row] or start, ids[row]))
    name = str(order).removeprefix("-")
    if name not in {*scenes.column_names, "time"}:
        raise QueryError(f"expected order= to be one of {scenes.column_names}, got {order!r}")
    values = times if name in {"time", "datetime"} else _plain(scenes, name, "order=").to_pylist()
    values = [None if value != value else value for value in values]  # noqa: PLR0124 - NaN sorts nowhere
    present = [row for row in result if values[row] is not None]
    missing = [row for row in result if values[row] is None]
    return sorted(present, key=lambda row: values[row], reverse=order.startswith("-")) + missing
