"""Labels by tile: `tiles.parquet`, keyed by grid, row and column, and by scene or asset where they differ by those."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.labels import check_unique_keys
from rasteret_refs.refset.query import unknown_names
from rasteret_refs.refset.views import View, grid_of

KEYS: Final = ("id", "asset", "group", "row", "column")
"""Columns that may make a key; row and column count tiles, or chips, of the full resolution from the upper left."""
WINDOW: Final = ("x_offset", "y_offset", "width", "height")
"""Columns that say which pixels a row means, where that is not a tile."""
PLACE: Final = "bbox"
_NUMBERS: Final = ("row", "column")
_SHOWN: Final = 5


def is_by_tile(on: Any) -> bool:
    """Tell whether a key is that of tiles."""
    return not isinstance(on, str) and {"row", "column"} <= set(on)


def tile_labels(
    view: View, labels: pa.Table, on: Sequence[str], known: Mapping[str, tuple[int, int]], *, ignore_unknown: bool
) -> pa.Table:
    """Check labels by tile.

    Parameters
    ----------
    view
        The collection.
    labels
        One row a tile: keys, labels, and possibly `WINDOW`.
    on
        Columns that make the key: `row` and `column`, `group` where there are several grids, and `id` or `asset`.
    known
        Grid → how many rows and columns of tiles it has, of the asset that has most.
    ignore_unknown
        Leave out rows of tiles that there are not, instead of refusing them.

    Returns
    -------
    pyarrow.Table
        With `group` in any case, named as `Collection.groups` does.

    Raises
    ------
    QueryError
        Keys that are missing, unknown or stand twice; nothing beside the keys.
    """
    unknown_names(labels.column_names, list(on), "column of the labels")
    unknown_names(KEYS, list(on), "key of tiles")
    if not set(labels.column_names) - set(on) - set(WINDOW) - {PLACE}:
        raise QueryError("expected labels beside the keys, got a table of nothing else")
    table = _with_groups(labels, list(known))
    keys = [name for name in KEYS if name in on or name == "group"]
    for name in _NUMBERS:
        table = _set(table, name, _integers(table[name].combine_chunks(), name))
    check_unique_keys(table, keys, "the labels by tile")
    here = _is_known(view, table, known)
    if not here.all():
        if not ignore_unknown:
            missing = table.filter(pa.array(~here)).select(keys).slice(0, _SHOWN).to_pylist()
            raise QueryError(f"expected keys of tiles that there are, got {[*map(dict, missing)]} and others: "
                             f"{int((~here).sum())} in all")  # fmt: skip
        table = table.filter(pa.array(here))
    return table.combine_chunks()


def _with_groups(labels: pa.Table, grids: Sequence[str]) -> pa.Table:
    if "group" not in labels.column_names:
        if len(grids) != 1:
            raise QueryError(f"expected a column 'group' beside row and column, for there are several grids: {grids}")
        return labels.append_column("group", pa.array([grids[0]] * len(labels), pa.string()))
    names = labels["group"].to_pylist()
    distinct = {name: _grid_name(name, grids) for name in dict.fromkeys(names)}
    return _set(labels, "group", pa.array([distinct[name] for name in names], pa.string()))


def _grid_name(name: Any, grids: Sequence[str]) -> Any:
    """A grid as `groups` lists it; the group of its full resolution, as `refs:group` has it, is taken too."""
    if name in grids or not isinstance(name, str):
        return name
    parent = grid_of(name)
    return parent if parent in grids and name.rpartition("/")[2].startswith("factor_") else name


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _integers(values: pa.Array, name: str) -> pa.Array:
    try:
        return values.cast(pa.int32())
    except pa.ArrowException as error:
        raise QueryError(f"key {name!r}: expected whole numbers, got {values.type}: {error}") from error


def _is_known(view: View, table: pa.Table, known: Mapping[str, tuple[int, int]]) -> npt.NDArray[np.bool_]:
    sizes = [known.get(name, (0, 0)) for name in table["group"].to_pylist()]
    limits = np.array(sizes, np.int64).reshape(-1, 2)
    here = np.ones(len(table), bool)
    windowed = "x_offset" in table.column_names
    for axis, name in enumerate(_NUMBERS):
        numbers = table[name].to_numpy()
        here &= (numbers >= 0) & (limits[:, axis] > 0)
        if not windowed:
            here &= numbers < limits[:, axis]
    if "id" in table.column_names:
        ids = view.table["id"].combine_chunks()
        here &= np.asarray(pc.is_in(table["id"].cast(pa.string()), ids), bool)
    return here


def merged_labels(old: pa.Table | None, new: pa.Table) -> pa.Table:
    """Labels of a set with new ones over them: equal keys take the new row's labels, columns of both are kept.

    Raises
    ------
    QueryError
        The tables go by different keys, or by windows of other sizes.
    """
    if old is None or not len(old):
        return new
    keys = check_alike(old, new)
    found = {tuple(row[name] for name in keys): row for row in old.to_pylist()}
    for row in new.to_pylist():
        key = tuple(row[name] for name in keys)
        found[key] = {**found.get(key, {}), **row}
    fields = {field.name: field for table in (old, new) for field in table.schema}
    return pa.Table.from_pylist(list(found.values()), schema=pa.schema(list(fields.values())))


def check_alike(old: pa.Table, new: pa.Table) -> list[str]:
    """Return the keys of two tables of labels.

    Raises
    ------
    QueryError
        They go by different keys, or by windows of other sizes.
    """
    keys = [[name for name in KEYS if name in table.column_names] for table in (old, new)]
    shapes = [_window_sizes(table) for table in (old, new)]
    if keys[0] != keys[1] or shapes[0] != shapes[1]:
        raise QueryError(
            f"expected labels by {keys[0]} as tiles.parquet has them, got {keys[1]} (or windows of another size)"
        )
    return keys[0]


def moved_labels(labels: pa.Table, grids: Mapping[str, str], ids: Sequence[str]) -> pa.Table:
    """Labels by tile of another set, as they are called here.

    Parameters
    ----------
    labels
        The other set's.
    grids
        Its grids' names → what they are called here; labels of others are left out.
    ids
        Its scenes that came here; labels of others are left out.
    """
    groups = [grids.get(name) for name in labels["group"].to_pylist()]
    kept = pa.array([name is not None for name in groups])
    if "id" in labels.column_names:
        here = pc.is_in(labels["id"].cast(pa.string()), pa.array(ids, pa.string()))
        kept = pc.and_(kept, pc.or_(here, pc.is_null(labels["id"])))
    return _set(labels, "group", pa.array(groups, pa.string())).filter(kept)


def _window_sizes(table: pa.Table) -> set[tuple[int, int]]:
    """Distinct sizes of windows; none where rows mean tiles."""
    if "width" not in table.column_names:
        return set()
    return set(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))


class TileLabels:
    """Looks labels up by tile, grid by grid."""

    def __init__(self, table: pa.Table | None) -> None:
        self._table = table
        self.columns: dict[str, pa.DataType] = {}
        """Labels and their types."""
        if table is not None:
            taken = {*KEYS, *WINDOW, PLACE}
            self.columns = {field.name: field.type for field in table.schema if field.name not in taken}

    def of(self, grid: str, tile: tuple[int, int], numbers: tuple[int, int], scene: str, asset: str) -> Any:
        """Row of the label table for each tile of an image, -1 for none; None where there is no label at all.

        Parameters
        ----------
        tile
            Height and width of a tile in pixels.
        numbers
            Rows and columns of tiles.
        scene, asset
            Of the image.

        Returns
        -------
        numpy.ndarray or None
            Shape `numbers`.
        """
        for key in ((scene, asset), (scene, None), (None, asset), (None, None)):
            rows = self._rows(grid, tile).get(key)
            if rows is not None:
                found = np.full(numbers, -1, np.int64)
                inside = (rows[:, 1] < numbers[0]) & (rows[:, 2] < numbers[1])
                found[rows[inside, 1], rows[inside, 2]] = rows[inside, 0]
                return found
        return None

    def _rows(self, grid: str, tile: tuple[int, int]) -> dict[tuple[str | None, str | None], npt.NDArray[np.int64]]:
        """(row of the table, row, column) of the labels of a grid's tiles, by scene and asset."""
        cached = self.__dict__.setdefault("_cache", {})
        key = (grid, tile)
        if key not in cached:
            cached[key] = self._gathered(grid, tile)
        found: dict[tuple[str | None, str | None], npt.NDArray[np.int64]] = cached[key]
        return found

    def _gathered(self, grid: str, tile: tuple[int, int]) -> dict[Any, npt.NDArray[np.int64]]:
        table = self._table
        if table is None:
            return {}
        here = np.asarray(pc.equal(table["group"], grid), bool)
        rows, columns = (table[name].to_numpy().astype(np.int64) for name in _NUMBERS)
        if "x_offset" in table.column_names:
            x, y, width, height = (table[name].to_numpy() for name in WINDOW)
            here &= (y == rows * tile[0]) & (x == columns * tile[1]) & (height == tile[0]) & (width == tile[1])
        at = np.flatnonzero(here)
        names = [
            table[name].take(pa.array(at)).to_pylist() if name in table.column_names else [None] * len(at)
            for name in ("id", "asset")
        ]
        groups: dict[Any, list[int]] = {}
        for position, key in enumerate(zip(*names, strict=True)):
            groups.setdefault(key, []).append(int(at[position]))
        return {key: np.stack([np.array(found), rows[found], columns[found]], axis=1) for key, found in groups.items()}
