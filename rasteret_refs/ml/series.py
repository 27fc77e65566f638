"""Chips as series: one mosaic a period, from all scenes that a grid has in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.chips import Chips
from rasteret_refs.ml.empty import EmptyTiles
from rasteret_refs.ml.images import Integers, times_of
from rasteret_refs.ml.mosaic import ImageLayer, Mosaic, fill
from rasteret_refs.ml.options import ChipOptions
from rasteret_refs.ml.pieces import Place
from rasteret_refs.ml.reads import Reads
from rasteret_refs.ml.scene_images import SceneImages
from rasteret_refs.ml.source import Batch, ChipSource
from rasteret_refs.read.reader import Reader, Window

Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One stretch of periods over one grid."""

    scenes: tuple[Integers, ...]
    """For each period the scenes in it, in the order of time."""
    starts: Times
    """First instant of each period, `datetime64[us]`."""

    @property
    def first(self) -> int:
        """The earliest scene."""
        return int(next(rows[0] for rows in self.scenes if len(rows)))


def series_of(images: SceneImages, times: Times, freq: str, length: int) -> list[Series]:
    """Cut the time of each grid into series.

    Parameters
    ----------
    images
        Scenes that are read; those of one grid (CRS, transform and shape) form series.
    times
        Of all scenes, UTC.
    freq
        Length of a period, as pandas has it: `"MS"`, `"W"`, `"10D"`.
    length
        Periods a series.

    Returns
    -------
    list of Series
        Grid by grid; a grid's series follow each other without overlap, from its first period on. Those without any
        scene are left out.

    Raises
    ------
    QueryError
        pandas knows no such frequency, or a scene has no datetime.
    """
    import pandas as pd

    finest = images.finest
    if np.isnat(times[images.rows]).any():
        raise QueryError("expected scenes with datetimes for series, found some without")
    grids: dict[tuple[Any, ...], list[int]] = {}
    for row in images.rows:
        key = (finest.crs[row], *finest.transform[row], finest.height[row], finest.width[row])
        grids.setdefault(key, []).append(int(row))
    found = []
    for members in grids.values():
        rows = np.array(members)[np.argsort(times[members], kind="stable")]
        taken = times[rows]
        try:
            offset = pd.tseries.frequencies.to_offset(freq)
            first = offset.rollback(pd.Timestamp(taken[0]).normalize())
        except (ValueError, AttributeError) as error:
            raise QueryError(f"expected a frequency of pandas like 'MS' or '10D', got {freq!r}: {error}") from error
        edges = [first]
        while edges[-1] <= pd.Timestamp(taken[-1]) or (len(edges) - 1) % length:
            edges.append(edges[-1] + offset)
        instants = np.array([edge.to_datetime64() for edge in edges]).astype("datetime64[us]")
        places = np.searchsorted(taken, instants, side="left")
        for begin in range(0, len(edges) - 1, length):
            parts = tuple(rows[places[i] : places[i + 1]] for i in range(begin, begin + length))
            if any(len(part) for part in parts):
                found.append(Series(scenes=parts, starts=instants[begin : begin + length]))
    return found


class SceneLayer:
    """All assets of one scene as one layer: a pixel counts where every asset has data and no mask hides it."""

    def __init__(self, images: SceneImages, row: int, place: Place) -> None:
        masks = [(mask, row, rule) for mask, rule in images.masks]
        self._parts: list[tuple[slice, ImageLayer]] = []
        first = 0
        for number, one in enumerate(images.images):
            part = ImageLayer(one, row, place, fill=one.fill(row), masks=masks if number == 0 else ())
            self._parts.append((slice(first, first + one.bands), part))
            first += one.bands

    def windows(self, out: npt.NDArray[Any]) -> list[Window]:
        """Plan the reads of every asset into its channels."""
        return [one for channels, part in self._parts for one in part.windows(out[channels])]

    def valid(self, out: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where every asset has data, shape (1, rows, columns)."""
        valid: npt.NDArray[np.bool_] = np.ones((1, *out.shape[1:]), bool)
        for channels, part in self._parts:
            valid = valid & part.valid(out[channels]).all(axis=0, keepdims=True)
        return valid

    def is_settled(self) -> bool:
        """Never taken for granted: where one asset has no data, the others' pixels stand."""
        return False


class SeriesSource(ChipSource):
    """Chips of which each is a series of mosaics; parameters as those of `ChipSource`."""

    def __init__(self, reader: Reader, scenes: pa.Table, options: ChipOptions, tiles: pa.Table | None = None) -> None:
        super().__init__(reader, scenes, options, tiles)
        wanted = options.series or {}
        self.length = int(wanted["length"])
        self.series = series_of(self.of, times_of(scenes), str(wanted["freq"]), self.length)

    def _laid_over(self) -> Integers:
        return np.array([one.first for one in self.series], np.int64)

    def _empty_chips(self, empty: EmptyTiles, chips: Chips) -> npt.NDArray[np.bool_]:
        """Those that are empty in every scene of their series."""
        result = np.ones(len(chips), bool)
        for entry in np.unique(self._entries(chips)):
            at = np.flatnonzero(self._entries(chips) == entry)
            for row in np.concatenate(self.series[int(entry)].scenes):
                part = chips.take(at)
                moved = Chips(scene=np.full(len(at), row), row=part.row, column=part.column)
                result[at] &= super()._empty_chips(empty, moved)
        return result

    @staticmethod
    def _entries(chips: Chips) -> Integers:
        return chips.scene if chips.entry is None else chips.entry

    @property
    def chips(self) -> pa.Table:
        """As of `ChipSource`, with `start` (first instant of the series) and `scenes` (how many it draws on)."""
        table, entries = super().chips, self._entries(self.placed)
        starts = np.array([one.starts[0] for one in self.series], "datetime64[us]")[entries]
        counts = np.array([sum(map(len, one.scenes)) for one in self.series], np.int64)[entries]
        return table.append_column("start", pa.array(starts)).append_column("scenes", pa.array(counts))

    @property
    def sample_bytes(self) -> int:
        """Bytes of one series' pixels."""
        return super().sample_bytes * self.length

    def reads(self, positions: Sequence[int]) -> Reads[Batch]:
        """Plan the reading of series.

        Returns
        -------
        dict
            As of `ChipSource`, but `image` (chips, periods, channels, rows, columns), `valid` (chips, periods, rows,
            columns) bool, and `time` (chips, periods): first second of each period since 1970, int64. Where nothing
            is valid, `image` holds nodata, or 0.
        """
        where, chips = self._where(positions)
        size, of = self.size, self.of
        image = np.empty((len(chips), self.length, of.channels, size, size), of.dtype)
        times = np.empty((len(chips), self.length), np.int64)
        mosaics = []
        for number, entry in enumerate(self._entries(chips)):
            series = self.series[int(entry)]
            times[number] = series.starts.astype("datetime64[s]").astype(np.int64)
            place = self._place(chips, number)
            blank = [one.fill(int(chips.scene[number])) for one in of.images for _ in range(one.bands)]
            for period, rows in enumerate(series.scenes):
                layers = self._layers(rows, place)
                fills = np.array(blank).reshape(-1, 1, 1)
                mosaics.append(Mosaic(out=image[number, period], fill=fills, layers=layers, by_value=False))
        yield from fill(mosaics)
        valid = np.stack([mosaic.filled.all(axis=0) for mosaic in mosaics]) if mosaics else np.empty(0, bool)
        batch: Batch = {"image": image, "valid": valid.reshape(len(chips), self.length, size, size), "time": times}
        windows: list[Window] = []
        self._plan_raster_label(batch, chips, windows)
        if windows:
            yield windows
        self._add_columns(batch, chips, where)
        return batch

    def _layers(self, rows: Integers, place: Place) -> Iterator[SceneLayer]:
        for row in rows:
            yield SceneLayer(self.of, int(row), place)

    def _place(self, chips: Chips, number: int) -> Place:
        row, top, left = int(chips.scene[number]), int(chips.row[number]), int(chips.column[number])
        return Place(crs=None, transform=self._corner(row, top, left), height=self.size, width=self.size)
