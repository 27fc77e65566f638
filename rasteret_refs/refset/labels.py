"""Labels as a user's table has them, matched with the scenes of a set, and as the coordinates that arrays get."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.geoparquet import DROPPED, RESERVED
from rasteret_refs.refset.query import unknown_names
from rasteret_refs.refset.views_subset import DUPLICATE_OF
from rasteret_refs.virtual.names import RESERVED_IN_STACKS, name_problem

_SHOWN: Final = 5


def matched(scenes: pa.Table, labels: pa.Table, on: str, *, ignore_unknown: bool = False) -> dict[str, pa.Array]:
    """Columns of a label table as columns of the scene table.

    Parameters
    ----------
    scenes
        The scene table.
    labels
        One row a scene: the key and the labels.
    on
        The key: a column of both tables, whose values stand once in the scene table.
    ignore_unknown
        Leave out rows whose key no scene has, instead of refusing them.

    Returns
    -------
    dict
        Column → one value for each scene. A scene that is not in `labels` keeps the value it has, or gets null.

    Raises
    ------
    QueryError
        A key that no scene has, or that stands twice, or is missing; columns that would replace the set's own.
    """
    for table, what in ((labels, "column of the labels"), (scenes, "column of the scene table")):
        unknown_names(table.column_names, [on], what)
    names = [name for name in labels.column_names if name != on]
    _check_names(names)
    ours = scenes[on].combine_chunks()
    theirs = _as_type(labels[on].combine_chunks(), ours.type, on)
    _check_keys(theirs, f"the labels' column {on!r}")
    at = pc.index_in(theirs, ours)
    if at.null_count and not ignore_unknown:
        missing = theirs.filter(pc.is_null(at))
        raise QueryError(f"expected keys that scenes have as {on!r}, got {_listed(missing.to_pylist())}")
    _check_keys(ours.filter(pc.is_in(ours, theirs)), f"the scene table's column {on!r}")
    rows = pc.index_in(ours, theirs)
    return {name: _filled(scenes, name, labels[name].combine_chunks(), rows) for name in names}


def _filled(scenes: pa.Table, name: str, values: pa.Array, rows: pa.Array) -> pa.Array:
    """New values where there is a row for the scene, else those that the scene table has."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    found = values.take(rows)
    if name not in scenes.column_names or not rows.null_count:
        return found
    old = scenes[name].combine_chunks()
    if old.null_count == len(old):
        return found
    try:
        return pc.if_else(pc.is_valid(rows), found, old.cast(found.type))
    except pa.ArrowException as error:
        raise QueryError(f"column {name!r}: expected {old.type} as the set has it, got {found.type}") from error


def check_unique_keys(table: pa.Table, keys: Sequence[str], what: str) -> None:
    """Refuse a table in which a combination of keys stands twice or has a null.

    Raises
    ------
    QueryError
        Listing some of them.
    """
    for name in keys:
        if table[name].null_count:
            raise QueryError(f"{what}: expected {name!r} in every row, got {table[name].null_count} rows without it")
    counts = table.select(list(keys)).append_column("count", pa.array(np.ones(len(table), np.int64)))
    grouped = counts.group_by(list(keys)).aggregate([("count", "sum")])
    twice = grouped.filter(pc.greater(grouped["count_sum"], 1)).select(list(keys)).to_pylist()
    if twice:
        raise QueryError(f"{what}: expected each {', '.join(keys)} once, got {_listed([*map(_plain, twice)])} again")


def _plain(row: Mapping[str, Any]) -> Any:
    values = tuple(row.values())
    return values[0] if len(values) == 1 else values


def _check_keys(keys: pa.Array, what: str) -> None:
    check_unique_keys(pa.table({"key": keys}), ["key"], what)


def _check_names(names: Sequence[str]) -> None:
    taken = [name for name in names if name in RESERVED or name in {DROPPED, DUPLICATE_OF}]
    if taken:
        raise QueryError(f"expected names that the scene table does not use itself, got {_listed(taken)}; rename them")
    if not names:
        raise QueryError("expected labels beside the key, got a table of nothing else")


def _as_type(keys: pa.Array, kind: pa.DataType, on: str) -> pa.Array:
    try:
        return keys if keys.type == kind else keys.cast(kind)
    except pa.ArrowException as error:
        raise QueryError(f"keys {on!r}: expected {kind} as the scene table has it, got {keys.type}: {error}") from error


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return f"{shown} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown


def coordinate_values(column: pa.Array) -> npt.NDArray[Any] | None:
    """A column as a coordinate along the scene axis, or None where it cannot be one (lists, structs, bytes).

    Returns
    -------
    numpy.ndarray
        Text, with "" for null, of text and times (RFC 3339); float64, with NaN for null, of numbers and flags. Scenes
        that come later without a label can be told in both, so that growing never changes a dtype.
    """
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        texts = ["" if value is None else value.isoformat() for value in column.to_pylist()]
        return np.array(texts, dtype=str)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(["" if value is None else value for value in column.to_pylist()], dtype=str)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers: npt.NDArray[Any] = np.array(
            [np.nan if value is None else float(value) for value in column.to_pylist()], np.float64
        )
        return numbers
    return None


def along_scenes(
    columns: Mapping[str, pa.Array], metadata: Mapping[str, Any], wanted: Sequence[str] | None
) -> frozenset[str]:
    """Names of the columns that become coordinates.

    Parameters
    ----------
    columns
        Columns of the scene table.
    metadata
        Zarr documents by key: names of arrays that stand there cannot be used.
    wanted
        Those that shall; None: all that can.

    Raises
    ------
    QueryError
        One that was asked for cannot be a coordinate; the message says why.
    """
    unknown_names(list(columns), list(wanted or ()), "label")
    images = {
        key.split("/")[-2]
        for key, attributes in metadata.items()
        if key.endswith("/.zattrs") and list(attributes.get("_ARRAY_DIMENSIONS", ()))[-2:] == ["y", "x"]
    }
    found = set()
    for name in columns if wanted is None else wanted:
        problem = _problem(name, columns[name], images)
        if problem is None:
            found.add(name)
        elif wanted is not None:
            raise QueryError(f"the label {name!r} cannot be a coordinate: it {problem}")
    return frozenset(found)


def _problem(name: str, column: pa.Array, images: set[str]) -> str | None:
    problem = name_problem(name)
    if problem is not None:
        return problem
    lower = name.casefold()
    if lower in RESERVED_IN_STACKS:
        return "is the name of a coordinate of the stack layout"
    if any(lower == image.casefold() or lower.startswith(f"{image.casefold()}_") for image in images):
        return "is the name of an asset, or of what belongs to one"
    return "has values that no coordinate holds" if coordinate_values(column.slice(0, 1)) is None else None
