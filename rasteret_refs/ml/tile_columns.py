"""Columns of the table of tiles, looked up for chips: labels by a chip's centre, splits by all of its pixels."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.images import AssetImages, Integers
from rasteret_refs.ml.labels import Labels, encoded
from rasteret_refs.ml.splits import DROPPED

_SCENE = ("id", "scene")
_COLUMN = ("column", "col")
_WINDOW = ("x_offset", "y_offset", "width", "height")

MOST_CELLS = 64_000_000
"""Pieces that the windows of one image may cut it into: regular ones make few."""


class _Part(NamedTuple):
    """Chips that the same rows of the table may be about."""

    at: Integers
    """Places of the chips."""
    rows: Integers
    """Rows of the table."""
    cells: "_Cells"


class TileColumn:
    """One column by tile, or by window where the table says which pixels its rows mean.

    Parameters
    ----------
    tiles
        Table with `row` and `column` of tiles at full resolution, `id` (scene), `group`, or both, optionally `asset`;
        and `x_offset`, `y_offset`, `width`, `height` where rows mean windows instead of tiles, as splits of chips do.
    name
        The column.
    images
        The finest asset: its tiles and its pixels are meant.
    ids
        Scene ids, in the order of the scene table.

    Raises
    ------
    QueryError
        The table is not keyed so, or is about other assets.
    """

    def __init__(self, tiles: pa.Table, name: str, images: AssetImages, ids: list[str]) -> None:
        names = tiles.column_names
        scene = next((key for key in _SCENE if key in names), None)
        across = next((key for key in _COLUMN if key in names), None)
        if "row" not in names or across is None or (scene is None and "group" not in names):
            raise QueryError(f"expected tiles keyed by id or group, row and column, got columns {names}")
        assets = tiles["asset"].to_pylist() if "asset" in names else [None] * tiles.num_rows
        meant = [asset is None or asset == images.name for asset in assets]
        if meant and not any(meant):
            raise QueryError(f"expected tiles of {images.name!r}, the finest asset, got those of {sorted(set(assets))}")
        tiles = tiles.filter(pa.array(meant, pa.bool_()))
        self.name, self._images, self._ids = name, images, ids
        self._by_scene, self._by_group = scene is not None, "group" in names
        self._values = tiles[name].to_pylist()
        windowed = set(_WINDOW) <= set(names)
        self._boxes = _columns(tiles, _WINDOW) if windowed else None
        self._tiles = _columns(tiles, ("row", across))
        groups = [_grid(group) for group in tiles["group"].to_pylist()] if self._by_group else [None] * tiles.num_rows
        scenes = tiles[scene].to_pylist() if scene is not None else [None] * tiles.num_rows
        owners: dict[tuple[Any, Any], list[int]] = {}
        for at, owner in enumerate(zip(groups, scenes, strict=True)):
            owners.setdefault(owner, []).append(at)
        self._owners = {owner: np.array(rows, np.int64) for owner, rows in owners.items()}
        self._cells: dict[tuple[Any, ...], _Cells] = {}

    @cached_property
    def _encoded(self) -> tuple[dict[Any, Any], Labels]:
        """Label number of each value: of the whole table, so that the splits agree on the classes."""
        values = [value for value in self._values if value is not None]
        labels = encoded(values, self.name)
        return dict(zip(values, labels.values, strict=True)), labels

    @property
    def values(self) -> set[Any]:
        """The different values that there are."""
        return set(self._values) - {None, DROPPED}

    def labels(self, chips: Chips, size: int) -> Labels:
        """Give the label of each chip; each must have one."""
        numbers, labels = self._encoded
        values = np.array([numbers[value] for value in self.of(chips, size)], labels.values.dtype)
        return Labels(values=values, classes=labels.classes)

    def of(self, chips: Chips, size: int) -> list[Any]:
        """Give the value of the window that is the chip, or of the tile that holds its centre; None without one."""
        found: list[Any] = [None] * len(chips)
        for part in self._parts(chips):
            chosen = part.cells.at(chips.row[part.at], chips.column[part.at], size)
            for place, window in zip(part.at[chosen >= 0], chosen[chosen >= 0], strict=True):
                found[place] = self._values[part.rows[window]]
        return found

    def within(self, chips: Chips, size: int, value: Any) -> npt.NDArray[np.bool_]:
        """Tell which chips lie, with all their pixels, in tiles of a value and in none of another: splits leak nothing.

        Tiles without a value, and those of no split, count neither way.
        """
        result = np.zeros(len(chips), bool)
        for part in self._parts(chips):
            values = [self._values[row] for row in part.rows]
            same = np.array([one == value for one in values], bool)
            other = np.array([one not in {None, DROPPED, value} for one in values], bool)
            result[part.at] = part.cells.covers(same, other, chips.row[part.at], chips.column[part.at], size)
        return result

    def _parts(self, chips: Chips) -> Iterator[_Part]:
        codes = self._images.code[chips.scene]
        keys = np.stack([codes, chips.scene if self._by_scene else np.zeros_like(codes)], axis=1)
        distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        parts = np.split(order, np.searchsorted(inverse.ravel()[order], np.arange(1, len(distinct))))
        for (code, scene), at in zip(distinct.tolist(), parts, strict=True):
            array = self._images.arrays[code]
            group = _grid(array.path.rpartition("/")[0]) if self._by_group else None
            owner = (group, self._ids[scene] if self._by_scene else None)
            rows = self._owners.get(owner, self._owners.get((group, None)))
            if rows is None:
                continue
            shape = (array.chunks[-2], array.chunks[-1])
            if (*owner, shape) not in self._cells:
                self._cells[*owner, shape] = _Cells(self._boxes_of(rows, shape))
            yield _Part(at, rows, self._cells[*owner, shape])

    def _boxes_of(self, rows: Integers, shape: tuple[int, int]) -> Integers:
        """(left, top, right, bottom) of what rows of the table mean, shape `(rows, 4)`."""
        if self._boxes is not None:
            x, y, width, height = self._boxes[rows].T
        else:
            (height, width), (down, across) = shape, self._tiles[rows].T
            x, y = across * width, down * height
        return np.stack([x, y, x + width, y + height], axis=1).astype(np.int64)


class _Cells:
    """Windows of one image, as cells between all their edges.

    Parameters
    ----------
    boxes
        (left, top, right, bottom) of each window in pixels, shape `(windows, 4)`.
    """

    def __init__(self, boxes: Integers) -> None:
        self._x, self._y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
        if len(self._x) * len(self._y) > MOST_CELLS:
            raise QueryError(
                f"expected windows that lie regularly, got {len(boxes)} that cut an image into too many parts"
            )
        self._exact = {tuple(box): number for number, box in enumerate(boxes.tolist())}
        left, right = (np.searchsorted(self._x, boxes[:, i]) for i in (0, 2))
        top, bottom = (np.searchsorted(self._y, boxes[:, i]) for i in (1, 3))
        self._slices = [
            (slice(t, b), slice(x0, x1))
            for t, b, x0, x1 in zip(*(side.tolist() for side in (top, bottom, left, right)), strict=True)
        ]
        self._window = np.full(self._shape, -1, np.int64)
        for number, place in enumerate(self._slices):
            self._window[place] = number

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self._y) - 1, len(self._x) - 1

    def at(self, row: Integers, column: Integers, size: int) -> Integers:
        """Give the window that each chip is, else one that holds its centre, else -1."""
        down = np.searchsorted(self._y, row + size // 2, side="right") - 1
        across = np.searchsorted(self._x, column + size // 2, side="right") - 1
        inside = (down >= 0) & (down < self._shape[0]) & (across >= 0) & (across < self._shape[1])
        found = np.where(inside, self._window[np.where(inside, down, 0), np.where(inside, across, 0)], -1)
        boxes = np.stack([column, row, column + size, row + size], axis=1).tolist()
        exact = np.array([self._exact.get(tuple(box), -1) for box in boxes], np.int64)
        return np.where(exact >= 0, exact, found)

    def covers(
        self, same: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], row: Integers, column: Integers, size: int
    ) -> npt.NDArray[np.bool_]:
        """Tell which chips lie wholly in some windows, and touch none of others."""
        good, bad = np.zeros(self._shape, bool), np.zeros(self._shape, bool)
        for number, place in enumerate(self._slices):
            good[place] |= same[number]
            bad[place] |= other[number]
        sums = np.zeros((self._shape[0] + 1, self._shape[1] + 1), np.int64)
        sums[1:, 1:] = (good & ~bad).cumsum(0).cumsum(1)
        inside = (row >= self._y[0]) & (row + size <= self._y[-1])
        inside &= (column >= self._x[0]) & (column + size <= self._x[-1])
        (top, bottom), (left, right) = _span(self._y, row, size), _span(self._x, column, size)
        count = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return np.asarray(inside & (count == (bottom - top) * (right - left)))


def _span(edges: Integers, first: Integers, size: int) -> tuple[Integers, Integers]:
    """First of the cells that chips reach along one axis, and the first one behind them."""
    begin = np.clip(np.searchsorted(edges, first, side="right") - 1, 0, len(edges) - 1)
    end = np.clip(np.searchsorted(edges, first + size, side="left"), 0, len(edges) - 1)
    return begin, np.maximum(end, begin)


def _columns(table: pa.Table, names: Sequence[str]) -> Integers:
    return np.stack([np.asarray(table[name].to_pylist(), np.int64) for name in names], axis=1)


def _grid(group: str) -> str:
    """A grid's name, with or without its resolution behind it."""
    head, _, tail = group.strip("/").rpartition("/")
    return head if tail.startswith("factor_") else group.strip("/")
