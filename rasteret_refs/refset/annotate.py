"""Writing labels into a set: the scene table and the coordinates that plain readers see, in one step, by one writer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError, RefsetError
from rasteret_refs.objects.location import is_url
from rasteret_refs.refset.coordinates import stored_values
from rasteret_refs.refset.geoparquet import read_table, with_geo_metadata
from rasteret_refs.refset.labels import coordinate_values
from rasteret_refs.refset.layout import SCENES, TILES
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.successor import Successor
from rasteret_refs.refset.views import View, with_columns
from rasteret_refs.virtual.coordinates import scene_coordinate
from rasteret_refs.virtual.values import CoordinateArray, ReferenceSetPlan, VirtualGroup


def annotated(
    view: View,
    columns: Mapping[str, pa.Array],
    *,
    along_scenes: frozenset[str] = frozenset(),
    tiles: pa.Table | None = None,
    record: Mapping[str, Any] | None = None,
    write: bool | None = None,
) -> View | None:
    """Write labels into the view's set where that can be done, else give a view that carries them.

    Parameters
    ----------
    columns
        Column → one value for each scene of the view.
    write
        None: the whole of a local set that may be written to is written, views and remote sets carry. True: written
        in any case, scenes outside the view keep what they have. False: carried.

    Returns
    -------
    View or None
        The view with the labels; None where they were written.

    Raises
    ------
    RefsetError
        `write` is True and the set is remote, or cannot be written to.
    """
    location = view.refset.location
    if write is None:
        write = view.is_whole and _is_writable(location)
    if not write:
        return view.carrying(columns, along_scenes, tiles=tiles, record=record)
    if is_url(location):
        raise RefsetError(f"{location}: expected a local set to write labels into; save the view instead")
    everything = {**view.coordinates, **columns}
    annotate_set(
        Path(location),
        everything,
        view.table["id"].combine_chunks(),
        along_scenes=along_scenes | view.along_scenes,
        tiles=tiles if tiles is not None else view.tiles,
        record={**view.record, **(record or {})},
    )
    return None


def _is_writable(location: str) -> bool:
    path = Path(location)
    return not is_url(location) and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def annotate_set(
    base: Path,
    columns: Mapping[str, pa.Array],
    ids: pa.Array,
    *,
    along_scenes: frozenset[str] = frozenset(),
    tiles: pa.Table | None = None,
    record: Mapping[str, Any] | None = None,
) -> Seal:
    """Write columns of the scene table, their coordinates and labels by tile into a local set, atomically.

    References are not touched, and readers that have the set open go on.

    Parameters
    ----------
    base
        The set.
    columns
        Column → one value for each of `ids`.
    ids
        Scenes; those of the set that are not among them (dropped, or appended meanwhile) keep what they have.
    along_scenes
        Columns that become coordinates as well.
    tiles
        The whole new `tiles.parquet`; None keeps the old one.
    record
        What changes in the recipe; a value of None takes an entry out.

    Returns
    -------
    Seal
        What was written.

    Raises
    ------
    ExistsError, RefsetError
        The set cannot be replaced; it stays as it was.
    """
    with staged(base, overwrite=True) as directory:
        successor = Successor(Path(base), directory)
        table = read_table(pa.BufferReader(successor.sealed.read(SCENES)), str(base))
        rows = pc.index_in(table["id"].combine_chunks(), ids)
        whole = {name: _spread(table, name, values, rows) for name, values in columns.items()}
        if whole:
            successor.replace_table(SCENES, with_geo_metadata(with_columns(table, whole)))
        if tiles is not None:
            successor.replace_table(TILES, tiles)
        _write_coordinates(
            successor, table["id"].combine_chunks(), {name: whole[name] for name in sorted(along_scenes)}
        )
        recipe = {**successor.seal.recipe, **(record or {})}
        return successor.finish(recipe={name: value for name, value in recipe.items() if value is not None})


def _spread(table: pa.Table, name: str, values: pa.Array, rows: pa.Array) -> pa.Array:
    """Values for all rows of the table: new ones where there are, else the old."""
    found = values.take(rows)
    if not rows.null_count or name not in table.column_names:
        return found
    old = table[name].combine_chunks()
    try:
        return pc.if_else(pc.is_valid(rows), found, old.cast(found.type))
    except pa.ArrowException as error:
        raise QueryError(f"column {name!r}: expected {old.type} as the set has it, got {found.type}") from error


def _write_coordinates(successor: Successor, ids: pa.Array, columns: Mapping[str, pa.Array]) -> None:
    """Write each column along the scene axis of every group, at every resolution."""
    if not columns:
        return
    sealed = successor.sealed
    values = {name: coordinate_values(column) for name, column in columns.items()}
    groups: list[VirtualGroup] = []
    of_grid: dict[tuple[str, int], list[CoordinateArray]] = {}
    for key, document in sealed.stored.items():
        path, _, leaf = key.rpartition("/")
        group, _, name = path.rpartition("/")
        if leaf != ".zarray" or name != "id" or not group:
            continue
        grid = (group.rpartition("/")[0], document["shape"][0])
        axis = sealed.stored[f"{path}/.zattrs"]["_ARRAY_DIMENSIONS"][0]
        if grid not in of_grid:  # resolutions of a grid share their scenes
            known = pc.index_in(pa.array(stored_values(sealed, path).tolist(), pa.string()), ids)
            at = known.fill_null(-1).to_numpy(zero_copy_only=False)
            of_grid[grid] = [
                scene_coordinate(label, _at(whole, at), _width(sealed.stored, group, label), axis=axis)
                for label, whole in values.items()
                if whole is not None
            ]
        groups.append(
            VirtualGroup(
                path=group,
                attributes=sealed.stored.get(f"{group}/.zattrs", {}),
                coordinates=tuple(of_grid[grid]),
            )
        )
    _list(successor, {group.path: tuple(found.name for found in group.coordinates) for group in groups})
    successor.append(ReferenceSetPlan(groups=tuple(groups), placements=(), layout=successor.seal.layout))


def _at(values: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values of rows; a row of -1, a scene that the table does not have, gets none."""
    absent: Any = "" if values.dtype.kind == "U" else np.nan
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.array(absent, values.dtype))


def _width(documents: Mapping[str, Any], group: str, label: str) -> int:
    """Characters that a coordinate of this name has room for already."""
    stored = documents.get(f"{group}/{label}/.zarray")
    kind = None if stored is None else np.dtype(stored["dtype"])
    return kind.itemsize // 4 if kind is not None and kind.kind == "U" else 0


def _list(successor: Successor, names: Mapping[str, tuple[str, ...]]) -> None:
    """Name each group's new coordinates in the `coordinates` attribute of its arrays."""
    for key, attributes in successor.sealed.stored.items():
        path, _, leaf = key.rpartition("/")
        new = names.get(path.rpartition("/")[0])
        if leaf == ".zattrs" and new and "coordinates" in attributes:
            listed = dict.fromkeys([*str(attributes["coordinates"]).split(), *new])
            successor.set_attributes(path, {**attributes, "coordinates": " ".join(listed)})
