"""Images of many grids on one target grid, lazily: the first image in order that has data wins each pixel."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from rasteret_refs.read import workers
from rasteret_refs.read.clip import Clip
from rasteret_refs.read.images import Image, Level, holds
from rasteret_refs.read.masks import Mask
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.resample import warp, warp_around
from rasteret_refs.read.shared import SharedWindows
from rasteret_refs.read.target import Grid
from rasteret_refs.read.ways import Placement, Ways

BATCH_BYTES = 256 * 1024 * 1024
"""Source pixels held at once while slots are merged."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One image of a slot, and the images of the same scene that hide pixels of it."""

    image: Image
    masks: tuple[tuple[Mask, Image], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """How one asset's slots are made."""

    target: Grid
    slots: tuple[tuple[Layer, ...], ...]
    """Layers of each slot, the first one winning."""
    dtype: np.dtype[Any]
    """Of the result."""
    fill: Any
    """Where no image has data."""
    resampling: str
    scale: bool
    bands: tuple[int, ...] | None
    """Positions along the band axis; None: the asset has no band axis."""
    clip: Clip | None = None
    shared: SharedWindows | None = None
    """Windows of mask assets that other variables of the same read want too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(slots, bands, rows, columns), without bands where there is no such axis."""
        lead = () if self.bands is None else (len(self.bands),)
        return len(self.slots), *lead, self.target.height, self.target.width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wanted:
    """A window of the target, of some bands, and how images get there."""

    rows: slice
    columns: slice
    bands: tuple[int, ...] | None
    ways: Ways
    ways_of_masks: Ways

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape before rows and columns."""
        return () if self.bands is None else (len(self.bands),)

    @property
    def shape(self) -> tuple[int, ...]:
        """([bands,] rows, columns)."""
        return *self.lead, self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One layer's share in a window of a slot."""

    layer: Layer
    placement: Placement


@dataclass(slots=True, eq=False)
class _Hiding:
    """A mask asset's window over a part."""

    mask: Mask
    image: Image
    placement: Placement
    pixels: npt.NDArray[Any]
    awaited: "Future[npt.NDArray[Any] | None] | None" = None
    """Somebody else's read of the same window."""

    @property
    def name(self) -> str:
        """Of the window, among those of the whole set."""
        rows, columns = self.placement.rows, self.placement.columns
        where = f"{rows.start}:{rows.stop} {columns.start}:{columns.stop}"
        return f"{self.placement.level.array.path} {self.image.index} {where}"

    def window(self) -> Window:
        """What is to be read."""
        return _window(self.placement.level.array, self.image.index, None, self.placement, self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """A part with the arrays that its pixels are read into."""

    part: _Part
    pixels: npt.NDArray[Any]
    valid: npt.NDArray[Any] | None
    """The internal mask, in the source window."""
    hiding: tuple[_Hiding, ...]


class MosaicArray(BackendArray):
    """Lazily merged slots of one asset; picklable."""

    def __init__(self, reader: Reader, recipe: Recipe) -> None:
        self.reader = reader
        self.recipe = recipe
        self.shape = recipe.shape
        self.dtype = recipe.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        outer = indexing.IndexingSupport.OUTER
        values: npt.NDArray[Any] = indexing.explicit_indexing_adapter(key, self.shape, outer, self._outer)
        return values

    def _outer(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Read the window around an outer selection, then take the selection out of it."""
        spans, inner = zip(*(_span(index, size) for index, size in zip(key, self.shape, strict=True)), strict=True)
        slots = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        bands = self.recipe.bands
        if bands is not None:
            bands = bands[spans[1]]
        found = self.read(slots.tolist(), bands, spans[-2], spans[-1])
        rest = inner[1:]
        for axis, index in reversed(list(enumerate(rest, start=1))):
            found = found[(slice(None),) * axis + (index,)]
        return found[0] if isinstance(key[0], (int, np.integer)) else found

    def read(
        self, slots: Sequence[int], bands: tuple[int, ...] | None, rows: slice, columns: slice
    ) -> npt.NDArray[Any]:
        """Read a window of some slots."""
        recipe = self.recipe
        ways = Ways(recipe.target, recipe.resampling, self._present)
        ways_of_masks = ways if recipe.resampling == "nearest" else Ways(recipe.target, "nearest", self._present)
        wanted = _Wanted(rows=rows, columns=columns, bands=bands, ways=ways, ways_of_masks=ways_of_masks)
        out = np.empty((len(slots), *wanted.shape), dtype=recipe.dtype)
        if out.size == 0:
            return out
        outside = recipe.clip.outside(recipe.target, rows, columns) if recipe.clip is not None else None
        if outside is not None and outside.all():
            out[...] = recipe.fill
            return out
        for batch in self._batches(slots, wanted):
            self._read_batch(batch, out, wanted)
        if outside is not None:
            out[..., outside] = recipe.fill
        return out

    def _present(self, level: Level, index: int) -> bool:
        return holds(self.reader, level, index)

    def _batches(self, slots: Sequence[int], wanted: _Wanted) -> Iterator[list[tuple[int, list[_Part]]]]:
        """Plan slots, and group them so that what is read at once stays within bounds."""
        batch: list[tuple[int, list[_Part]]] = []
        held = 0
        for position, slot in enumerate(slots):
            parts = []
            for layer in self.recipe.slots[slot]:
                placement = wanted.ways.place(layer.image, wanted.rows, wanted.columns)
                if placement is not None:
                    parts.append(_Part(layer, placement))
            pixels = sum(math.prod(part.placement.size) for part in parts)
            size = pixels * self.dtype.itemsize * math.prod(wanted.lead)
            if batch and held + size > BATCH_BYTES:
                yield batch
                batch, held = [], 0
            batch.append((position, parts))
            held += size
        if batch:
            yield batch

    def _read_batch(self, batch: list[tuple[int, list[_Part]]], out: npt.NDArray[Any], wanted: _Wanted) -> None:
        windows: list[Window] = []
        merged: list[tuple[int, list[_Source]]] = []
        mine: list[_Hiding] = []
        shared = self.recipe.shared
        try:
            for position, parts in batch:
                if len(parts) == 1 and self._moves_only(parts[0]):
                    windows.append(self._direct(parts[0], out[position], wanted))
                else:
                    merged.append((position, [self._source(part, wanted, windows, mine) for part in parts]))
            self.reader.read_many(windows)
            while shared is not None and mine:
                shared.give(mine[-1].name, mine[-1].pixels)
                mine.pop()
        finally:
            if shared is not None:
                for hiding in mine:
                    shared.give_up(hiding.name)
        self._await([hiding for _, sources in merged for source in sources for hiding in source.hiding])

        def merge(entry: tuple[int, list[_Source]]) -> None:
            position, sources = entry
            self._merge(sources, out[position], wanted)

        list(workers.loaders().map(merge, merged))

    def _await(self, hidings: Sequence[_Hiding]) -> None:
        """Wait for windows that others read; read those that they could not."""
        lost = []
        for hiding in hidings:
            if hiding.awaited is not None:
                found = hiding.awaited.result()
                if found is None:
                    lost.append(hiding)
                else:
                    hiding.pixels = found
        if lost:
            self.reader.read_many([hiding.window() for hiding in lost])

    def _moves_only(self, part: _Part) -> bool:
        """Tell whether pixels can be decoded straight into the result."""
        image, placement = part.layer.image, part.placement
        return (
            placement.course is None
            and not part.layer.masks
            and placement.level.mask is None
            and not self.recipe.scale
            and placement.level.array.dtype == self.dtype
            and (_same(image.nodata, self.recipe.fill) if image.nodata is not None else self._takes_all())
        )

    def _takes_all(self) -> bool:
        """Tell whether pixels of an image without nodata are right as they stand: NaN must mean no data here too."""
        return self.dtype.kind != "f" or bool(np.isnan(self.recipe.fill))

    def _direct(self, part: _Part, out: npt.NDArray[Any], wanted: _Wanted) -> Window:
        placement = part.placement
        rows, columns = placement.within(wanted.rows, wanted.columns)
        out[..., : rows.start, :] = self.recipe.fill
        out[..., rows.stop :, :] = self.recipe.fill
        out[..., rows, : columns.start] = self.recipe.fill
        out[..., rows, columns.stop :] = self.recipe.fill
        return _window(placement.level.array, part.layer.image.index, wanted.bands, placement, out[..., rows, columns])

    def _source(self, part: _Part, wanted: _Wanted, windows: list[Window], mine: list[_Hiding]) -> _Source:
        """Make the arrays for a part's pixels, its internal mask and its mask assets; ask for what goes there."""
        placement, index = part.placement, part.layer.image.index
        pixels = np.empty((*wanted.lead, *placement.size), dtype=placement.level.array.dtype)
        windows.append(_window(placement.level.array, index, wanted.bands, placement, pixels))
        valid = None
        if placement.level.mask is not None:
            valid = np.empty(placement.size, dtype=placement.level.mask.dtype)
            windows.append(_window(placement.level.mask, index, None, placement, valid))
        hiding = tuple(self._hiding(part, wanted, windows, mine))
        return _Source(part=part, pixels=pixels, valid=valid, hiding=hiding)

    def _hiding(self, part: _Part, wanted: _Wanted, windows: list[Window], mine: list[_Hiding]) -> Iterator[_Hiding]:
        """Find the windows of mask assets over a part: those at hand, those on their way, and those to ask for."""
        for mask, image in part.layer.masks:
            where = wanted.ways_of_masks.place(image, part.placement.target_rows, part.placement.target_columns)
            if where is None:
                continue
            hiding = _Hiding(mask, image, where, np.empty(where.size, dtype=where.level.array.dtype))
            known = self.recipe.shared.ask(hiding.name) if self.recipe.shared is not None else None
            if known is None:
                mine.append(hiding)
                windows.append(hiding.window())
            elif isinstance(known, Future):
                hiding.awaited = known
            else:
                hiding.pixels = known
            yield hiding

    def _merge(self, sources: list[_Source], out: npt.NDArray[Any], wanted: _Wanted) -> None:
        out[...] = self.recipe.fill
        empty = np.ones(out.shape, dtype=bool)
        for source in sources:
            rows, columns = source.part.placement.within(wanted.rows, wanted.columns)
            if not empty[..., rows, columns].any():
                continue  # hidden altogether: nothing to warp
            pixels, valid = self._on_target(source)
            todo = empty[..., rows, columns] & valid
            values = self._converted(pixels, source.part.layer.image)
            np.copyto(out[..., rows, columns], values, where=todo, casting="unsafe")
            empty[..., rows, columns] &= ~valid

    def _on_target(self, source: _Source) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Bring a part onto its target window; tell which of its pixels count."""
        placement, nodata = source.part.placement, source.part.layer.image.nodata
        if placement.course is not None:
            pixels, covered = self._warped(source)
        else:
            pixels, covered = source.pixels, None if source.valid is None else source.valid != 0
        valid = _has_data(pixels, nodata)
        if covered is not None:
            valid = valid & covered
        for hiding in source.hiding:
            where, values = hiding.placement, hiding.pixels
            if where.course is not None:
                values = warp(values, where, self.recipe.target, resampling="nearest", nodata=None, fill=0)
            rows, columns = where.within(placement.target_rows, placement.target_columns)
            valid[..., rows, columns] &= ~hiding.mask.hidden(values)
        return pixels, valid

    def _warped(self, source: _Source) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """Resample a part; tell where it reaches, if its values do not."""
        placement, nodata, pixels = source.part.placement, source.part.layer.image.nodata, source.pixels
        method, target = self.recipe.resampling, self.recipe.target
        if nodata is None and pixels.dtype.kind == "f":
            nodata = float("nan")
        covered = None
        if nodata is None or source.valid is not None:
            mask = np.ones(pixels.shape[-2:], np.uint8) if source.valid is None else source.valid.astype(np.uint8)
            covered = warp(mask, placement, target, resampling="nearest", nodata=None, fill=0) != 0
        if source.valid is not None and method != "nearest" and pixels.dtype.kind != "c":
            empty = ~_has_data(pixels, nodata) | (source.valid == 0)
            return warp_around(pixels, empty, placement, target, resampling=method), covered
        fill = 0 if nodata is None else nodata
        return warp(pixels, placement, target, resampling=method, nodata=nodata, fill=fill), covered

    def _converted(self, pixels: npt.NDArray[Any], image: Image) -> npt.NDArray[Any]:
        if not self.recipe.scale:
            return pixels
        bands = self.recipe.bands
        scale, offset = image.scale, image.offset
        if bands is not None and len(scale) > 1:
            scale, offset = scale[list(bands)], offset[list(bands)]
        scaled: npt.NDArray[Any] = pixels * scale
        if image.signed_square:
            scaled = np.copysign(scaled * scaled, scaled)
        return scaled + offset


def _window(
    array: Any, index: int, bands: tuple[int, ...] | None, placement: Placement, out: npt.NDArray[Any]
) -> Window:
    lead: tuple[Any, ...] = (index,) if bands is None else (index, np.array(bands, dtype=np.int64))
    return Window(array=array, key=(*lead, placement.rows, placement.columns), out=out)


def _span(index: Any, size: int) -> tuple[slice, Any]:
    """Give the range around an index, and the index within that range: a slice where it can be: no copy."""
    if isinstance(index, (int, np.integer)):
        position = int(index) % size if size else 0
        return slice(position, position + 1), 0
    if isinstance(index, slice) and index.indices(size)[2] > 0:
        start, stop, step = index.indices(size)
        return slice(start, max(stop, start)), slice(None, None, step)
    positions = np.arange(size)[index]
    if not len(positions):
        return slice(0, 0), slice(0, 0)
    low, high = int(positions.min()), int(positions.max()) + 1
    return slice(low, high), positions - low


def _has_data(pixels: npt.NDArray[Any], nodata: complex | None) -> npt.NDArray[np.bool_]:
    if nodata is None:
        return np.ones(pixels.shape, dtype=bool) if pixels.dtype.kind != "f" else ~np.isnan(pixels)
    if isinstance(nodata, float) and np.isnan(nodata):
        return ~np.isnan(pixels)
    found: npt.NDArray[np.bool_] = pixels != pixels.dtype.type(nodata)
    return found & ~np.isnan(pixels) if pixels.dtype.kind == "f" else found


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124 - NaN is itself here
