"""Chips of a collection as NumPy batches: what there is, in which order, and one batched read for any of them.

This is the whole dataset but for the tensors; `ml.torch_data` wraps it for PyTorch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml import chips as placing
from rasteret_refs.ml.ahead import begin
from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.empty import EmptyTiles
from rasteret_refs.ml.images import AssetImages, Integers
from rasteret_refs.ml.labels import Labels, column, encoded, weights
from rasteret_refs.ml.options import ChipOptions
from rasteret_refs.ml.pieces import lines_of, lines_on
from rasteret_refs.ml.points import Points, points_of
from rasteret_refs.ml.reads import Reads, WorkerReader, run, through
from rasteret_refs.ml.scene_images import SceneImages, known_split, labelled, scene_labels
from rasteret_refs.ml.tile_columns import TileColumn
from rasteret_refs.read.lines import Lines, window_of
from rasteret_refs.read.masks import Mask
from rasteret_refs.read.reader import Reader, Window

type Batch = dict[str, npt.NDArray[Any]]

MASK_BATCH = 256
"""Chips whose masks are read together when chips are chosen by them."""

FRUITLESS = 4096
"""Random chips drawn one after the other without one that is worth reading: then there are none."""


class ChipSource:
    """Chips, each of one scene.

    Parameters
    ----------
    reader
        Of the reference set.
    scenes
        Scene table of the collection or view.
    options
        What is asked for.
    tiles
        Table of tiles, where labels or splits may be by tile; see `TileColumn`.

    Raises
    ------
    QueryError
        What is asked for is not there.
    """

    def __init__(self, reader: Reader, scenes: pa.Table, options: ChipOptions, tiles: pa.Table | None = None) -> None:
        self.options = options
        self.reader = WorkerReader(reader)
        self.of = SceneImages(reader, scenes, options, tiles)
        self.of.check_aligned()
        self._ids = scenes["id"].combine_chunks()
        self._points: Points | None = None if options.points is None else points_of(options.points)
        self._empty = EmptyTiles(self.reader) if options.skip_empty else None
        self._by_tile: dict[str, TileColumn] = {}
        for name in (options.label, options.split_column if options.split is not None else None):
            if (
                name is not None
                and tiles is not None
                and name in tiles.column_names
                and name not in scenes.column_names
            ):
                self._by_tile[name] = TileColumn(tiles, name, self.of.finest, self._ids.to_pylist())
        self._scene_labels: Labels | None = None
        label = options.label
        if label is not None and self.of.label_asset is None and not self._by_point and label not in self._by_tile:
            self._scene_labels = scene_labels(scenes, label)
            self.of.keep(labelled(scenes, label))
        if options.split is not None and options.split_column in self._by_tile:
            known_split(self._by_tile[options.split_column].values, options)
        begin(reader, self.of.images, self.of.rows)
        self.epoch = 0
        self._held: tuple[int, Chips] | None = None

    @property
    def _by_point(self) -> bool:
        return self._points is not None and self.options.label in self._points.columns

    @property
    def size(self) -> int:
        """Side of a chip in pixels of the finest asset."""
        return self.options.chip_size

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch: random chips are drawn anew, in the same way in every process."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.placed)

    @property
    def placed(self) -> Chips:
        """The chips of this epoch."""
        epoch = self.epoch if self.options.random is not None else 0
        if self._held is None or self._held[0] != epoch:
            self._held = (epoch, self._draw(epoch))
        return self._held[1]

    def _laid_over(self) -> Integers:
        """What chips are laid over, as rows of the scene table that stand for it."""
        return self.of.rows

    def _draw(self, epoch: int) -> Chips:
        images, rows, options = self.of.finest, self._laid_over(), self.options
        if options.random is not None:
            return self._draw_random(options.random, np.random.default_rng([options.seed, epoch]))
        if self._points is not None:
            longitude, latitude = self._points.longitude, self._points.latitude
            chips = placing.around(images, rows, options.chip_size, longitude, latitude)
            if not len(chips):
                raise QueryError(
                    f"expected points inside the scenes, found none of {len(longitude)} in any of {len(rows)}: are "
                    "they (longitude, latitude)?"
                )
        else:
            chips = placing.gridded(images, rows, options.chip_size, options.stride or options.chip_size)
        return self._worth_reading(chips)

    def _draw_random(self, count: int, generator: np.random.Generator) -> Chips:
        """Draw until there are enough chips that are worth reading, or none is found among very many."""
        rows = self._laid_over()
        found: list[Chips] = []
        missing, fruitless = count, 0
        while missing and len(rows) and fruitless < FRUITLESS:
            drawn = placing.at_random(self.of.finest, rows, self.size, max(missing, 64), generator)
            kept = self._worth_reading(drawn).take(slice(missing))
            found.append(kept)
            missing -= len(kept)
            fruitless = 0 if len(kept) else fruitless + len(drawn)
        return placing.together(found)

    def _worth_reading(self, chips: Chips) -> Chips:
        split = self._by_tile.get(self.options.split_column)
        if self.options.split is not None and split is not None:
            chips = chips.take(split.within(chips, self.size, self.options.split))
        if self.options.label in self._by_tile:
            known = self._by_tile[str(self.options.label)].of(chips, self.size)
            chips = chips.take(np.array([value is not None for value in known], bool))
        if self._empty is not None and len(chips):
            chips = chips.take(~self._empty_chips(self._empty, chips))
        if self.options.max_masked is not None and len(chips):
            shares = [
                self._masked_shares(chips.take(np.arange(first, min(first + MASK_BATCH, len(chips)))))
                for first in range(0, len(chips), MASK_BATCH)
            ]
            chips = chips.take(np.concatenate(shares) <= self.options.max_masked)
        return chips

    def _empty_chips(self, empty: EmptyTiles, chips: Chips) -> npt.NDArray[np.bool_]:
        return empty.empty_chips(chips, self.size, self.of.finest, self.of.images)

    def _masked_shares(self, chips: Chips) -> npt.NDArray[np.float64]:
        valid = run(through(self.reader, self._masks_of(chips)))
        shares: npt.NDArray[np.float64] = 1.0 - np.mean(valid, axis=(1, 2))
        return shares

    @property
    def chips(self) -> pa.Table:
        """The chips of this epoch, in index order.

        Returns
        -------
        pyarrow.Table
            `scene` (id), `scene_row` (row of the scene table), `group` and `index` (where the finest asset lies in the
            store), `row`, `col`, `size` (pixels of that asset), `point` and `label` where there are such.
        """
        chips, images = self.placed, self.of.finest
        groups = np.array([array.path.rpartition("/")[0] for array in images.arrays], object)
        columns: dict[str, Any] = {
            "scene": self._ids.take(pa.array(chips.scene)),
            "scene_row": chips.scene,
            "group": pa.array(groups[images.code[chips.scene]], pa.string()),
            "index": images.index[chips.scene],
            "row": chips.row,
            "col": chips.column,
            "size": np.full(len(chips), self.size, np.int64),
        }
        if chips.point is not None:
            columns["point"] = chips.point
        if (labels := self.labels) is not None:
            columns["label"] = labels.values
        return pa.table(columns)

    @property
    def labels(self) -> Labels | None:
        """The label of each chip; None without labels, or where they are rasters."""
        chips = self.placed
        if self._by_point and self._points is not None and chips.point is not None:
            labels = encoded(list(self._points.columns[str(self.options.label)]), str(self.options.label))
            return Labels(values=labels.values[chips.point], classes=labels.classes)
        if self.options.label in self._by_tile:
            by_tile = self._by_tile[str(self.options.label)]
            return by_tile.labels(chips, self.size)
        if self._scene_labels is None:
            return None
        return Labels(values=self._scene_labels.values[chips.scene], classes=self._scene_labels.classes)

    def weights(self, name: str) -> npt.NDArray[np.float64]:
        """Give a weight for each chip, for a weighted sampler: the inverse of how often its value occurs.

        Parameters
        ----------
        name
            A column of `chips`.
        """
        return weights(np.array(column(self.chips, name)))

    def read(self, positions: Sequence[int]) -> Batch:
        """Read chips as one batch; see `reads`."""
        batch: Batch = run(through(self.reader, self.reads(positions)))
        return batch

    def reads(self, positions: Sequence[int]) -> Reads[Batch]:
        """Plan the reading of chips, by their places in the index.

        Returns
        -------
        dict
            `image` (chips, channels, rows, columns); `mask` (chips, rows, columns) int64 for raster labels; `valid`
            (chips, rows, columns) bool with mask assets; `label` (chips,); `scene` (chips,) int64 rows of the scene
            table; `index` (chips,) int64 places in `chips`.

        Raises
        ------
        IndexError
            There is no such chip.
        """
        where, chips = self._where(positions)
        image = np.empty((len(chips), self.of.channels, self.size, self.size), self.of.dtype)
        batch: Batch = {"image": image}
        windows: list[Window] = []
        for number in range(len(chips)):
            first = 0
            for images in self.of.images:
                self._plan(images, chips, number, image[number, first : first + images.bands], windows)
                first += images.bands
        self._plan_raster_label(batch, chips, windows)
        finish_masks = self._plan_masks(chips, windows)
        yield windows
        if self.of.masks:
            batch["valid"] = finish_masks()
        self._add_columns(batch, chips, where)
        return batch

    def _where(self, positions: Sequence[int]) -> tuple[Integers, Chips]:
        where, count = np.asarray(positions, np.int64), len(self)
        if len(where) and not (-count <= where.min() and where.max() < count):
            raise IndexError(f"expected places from 0 to {count - 1}, got {where.min()} to {where.max()}")
        where = where % max(count, 1)
        return where, self.placed.take(where)

    def _plan_raster_label(self, batch: Batch, chips: Chips, windows: list[Window]) -> None:
        if self.of.label_asset is None:
            return
        images = self.of.by_name[self.of.label_asset]
        batch["mask"] = np.zeros((len(chips), self.size, self.size), np.int64)
        for number in range(len(chips)):
            self._plan(images, chips, number, batch["mask"][number][None], windows)

    def _add_columns(self, batch: Batch, chips: Chips, where: Integers) -> None:
        if (labels := self.labels) is not None:
            batch["label"] = labels.values[where]
        batch["scene"], batch["index"] = chips.scene, where

    def _masks_of(self, chips: Chips) -> Reads[npt.NDArray[np.bool_]]:
        windows: list[Window] = []
        finish = self._plan_masks(chips, windows)
        yield windows
        valid: npt.NDArray[np.bool_] = finish()
        return valid

    def _plan_masks(self, chips: Chips, windows: list[Window]) -> Any:
        """Plan the reading of mask assets; what is returned gives, afterwards, which pixels none of them hides."""
        held: list[tuple[int, npt.NDArray[Any], Mask]] = []
        for images, rule in self.of.masks:
            for number in np.flatnonzero(images.present[chips.scene]):
                pixels = np.zeros((1, self.size, self.size), images.dtype)
                held.append((int(number), pixels, rule))
                self._plan(images, chips, int(number), pixels, windows)

        def finish() -> npt.NDArray[np.bool_]:
            valid = np.ones((len(chips), self.size, self.size), bool)
            for number, pixels, rule in held:
                valid[number] &= ~rule.hidden(pixels[0])
            return valid

        return finish

    def _plan(
        self, images: AssetImages, chips: Chips, number: int, out: npt.NDArray[Any], windows: list[Window]
    ) -> None:
        row = int(chips.scene[number])
        lines = self._lines(images, row, int(chips.row[number]), int(chips.column[number]))
        array = images.arrays[int(images.code[row])]
        planned = window_of(array, int(images.index[row]), lines, out, outside=images.fill(row))
        if planned is not None:
            windows.append(planned)

    def _lines(self, images: AssetImages, row: int, top: int, left: int) -> tuple[Lines, Lines]:
        finest, size = self.of.finest, self.size
        own = finest.transform[row]
        if images is finest or np.array_equal(images.transform[row], own, equal_nan=True):
            return lines_of(images, row, (top, left), (size, size))
        return lines_on(images, row, np.array(self._corner(row, top, left)), size, size)

    def _corner(self, row: int, top: int, left: int) -> tuple[float, ...]:
        """Transform of a chip: that of its scene's finest asset, moved to the chip's first pixel."""
        a, b, c, d, e, f = map(float, self.of.finest.transform[row])
        return a, b, c + a * left + b * top, d, e, f + d * left + e * top

    def tile_order(self) -> tuple[Integers, Integers]:
        """Give the chips scene by scene, tile by tile.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray)
            Places in the index, and for each a number of the tile that the chip begins in.
        """
        chips, images = self.placed, self.of.finest
        sizes = np.array([array.chunks[-2:] for array in images.arrays], np.int64).reshape(-1, 2)
        size = sizes[images.code[chips.scene]]
        down, across = chips.row // size[:, 0], chips.column // size[:, 1]
        owner = chips.scene if chips.entry is None else chips.entry
        order = np.lexsort((chips.column, chips.row, across, down, owner))
        keys = np.stack([owner, down, across])[:, order]
        changed = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        return order, np.concatenate([np.zeros(min(len(order), 1), np.int64), np.cumsum(changed)])

    @property
    def sample_bytes(self) -> int:
        """Bytes of one chip's pixels."""
        return self.of.channels * self.size * self.size * self.of.dtype.itemsize
