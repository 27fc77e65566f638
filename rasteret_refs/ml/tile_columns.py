"""Columns of the table of tiles, looked up for chips: a chip belongs to the tile that holds its centre."""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.images import AssetImages
from rasteret_refs.ml.labels import Labels, encoded

_SCENE = ("id", "scene")
_COLUMN = ("column", "col")


class TileColumn:
    """One column by tile.

    Parameters
    ----------
    tiles
        Table with `row` and `column` of tiles at full resolution, `id` (scene) or `group`, optionally `asset`.
    name
        The column.
    images
        The finest asset: its tiles are meant.
    ids
        Scene ids, in the order of the scene table.

    Raises
    ------
    QueryError
        The table is not keyed so.
    """

    def __init__(self, tiles: pa.Table, name: str, images: AssetImages, ids: list[str]) -> None:
        names = tiles.column_names
        scene = next((key for key in _SCENE if key in names), None)
        across = next((key for key in _COLUMN if key in names), None)
        if "row" not in names or across is None or (scene is None and "group" not in names):
            raise QueryError(f"expected tiles keyed by id or group, row and column, got columns {names}")
        self.name, self._images, self._ids, self._by_scene = name, images, ids, scene is not None
        wanted = [tiles[key].to_pylist() for key in (scene or "group", "row", across, name)]
        assets = tiles["asset"].to_pylist() if "asset" in names else [images.name] * tiles.num_rows
        self._values = {
            (_grid(key) if scene is None else key, row, column): value
            for key, row, column, value, asset in zip(*wanted, assets, strict=True)
            if asset is None or asset == images.name
        }

    @cached_property
    def _encoded(self) -> tuple[dict[Any, Any], Labels]:
        """Label number of each value: of the whole table, so that the splits agree on the classes."""
        values = [value for value in self._values.values() if value is not None]
        labels = encoded(values, self.name)
        return dict(zip(values, labels.values, strict=True)), labels

    def labels(self, chips: Chips, size: int) -> Labels:
        """Give the label of each chip; each must have one."""
        numbers, labels = self._encoded
        values = np.array([numbers[value] for value in self.of(chips, size)], labels.values.dtype)
        return Labels(values=values, classes=labels.classes)

    def of(self, chips: Chips, size: int) -> list[Any]:
        """Give the value of each chip's tile; None where the table has none."""
        images = self._images
        groups = [_grid(array.path.rpartition("/")[0]) for array in images.arrays]
        shapes = np.array([array.chunks[-2:] for array in images.arrays], np.int64).reshape(-1, 2)
        codes = images.code[chips.scene]
        rows = (chips.row + size // 2) // shapes[codes, 0]
        columns = (chips.column + size // 2) // shapes[codes, 1]
        keys = [self._ids[row] for row in chips.scene] if self._by_scene else [groups[code] for code in codes]
        return [self._values.get(key) for key in zip(keys, rows.tolist(), columns.tolist(), strict=True)]


def _grid(group: str) -> str:
    """A grid's name, with or without its resolution behind it."""
    head, _, tail = group.strip("/").rpartition("/")
    return head if tail.startswith("factor_") else group.strip("/")
