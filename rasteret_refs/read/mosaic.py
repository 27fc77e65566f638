"""Images of many grids on one target grid, lazily: the first image in order that has data wins each pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from rasteret_refs.read import workers
from rasteret_refs.read.cache import TileCache
from rasteret_refs.read.clip import Clip
from rasteret_refs.read.images import Image, Level, holds
from rasteret_refs.read.masks import Mask
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.resample import Placement, place, warp
from rasteret_refs.read.target import Grid

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
    seen: TileCache | None = None
    """Windows of mask assets that another variable of the same read has read already."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(slots, bands, rows, columns), without bands where there is no such axis."""
        lead = () if self.bands is None else (len(self.bands),)
        return len(self.slots), *lead, self.target.height, self.target.width


@dataclass(slots=True, eq=False)
class _Part:
    """One layer's share in a window of a slot, while it is being read."""

    layer: Layer
    placement: Placement
    pixels: npt.NDArray[Any] | None = None
    valid: npt.NDArray[Any] | None = None
    """The internal mask, in the source window."""
    masks: list[tuple[Mask, Image, Placement, npt.NDArray[Any]]] = field(default_factory=list)


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
        target = recipe.target.window(rows, columns)
        lead = () if bands is None else (len(bands),)
        out = np.empty((len(slots), *lead, target.height, target.width), dtype=recipe.dtype)
        if out.size == 0:
            return out
        outside = recipe.clip.outside(target) if recipe.clip is not None else None
        if outside is not None and outside.all():
            out[...] = recipe.fill
            return out
        for batch in self._batches(slots, target, bands):
            self._read_batch(batch, out, target, bands)
        if outside is not None:
            out[..., outside] = recipe.fill
        return out

    def _present(self, level: Level, index: int) -> bool:
        return holds(self.reader, level, index)

    def _batches(
        self, slots: Sequence[int], target: Grid, bands: tuple[int, ...] | None
    ) -> Iterator[list[tuple[int, list[_Part]]]]:
        """Plan slots, and group them so that what is read at once stays within bounds."""
        batch: list[tuple[int, list[_Part]]] = []
        held = 0
        for position, slot in enumerate(slots):
            parts = []
            for layer in self.recipe.slots[slot]:
                placement = place(layer.image, target, self.recipe.resampling, self._present)
                if placement is not None:
                    parts.append(_Part(layer, placement))
            size = sum(_source_pixels(part) for part in parts) * self.dtype.itemsize * len(bands or (0,))
            if batch and held + size > BATCH_BYTES:
                yield batch
                batch, held = [], 0
            batch.append((position, parts))
            held += size
        if batch:
            yield batch

    def _read_batch(
        self, batch: list[tuple[int, list[_Part]]], out: npt.NDArray[Any], target: Grid, bands: tuple[int, ...] | None
    ) -> None:
        windows: list[Window] = []
        merged = []
        for position, parts in batch:
            if len(parts) == 1 and self._moves_only(parts[0]):
                windows.append(self._direct(parts[0], out[position], bands))
                continue
            merged.append((position, parts))
            for part in parts:
                windows += self._windows(part, target, bands)
        self.reader.read_many(windows)
        self._remember(merged)

        def merge(entry: tuple[int, list[_Part]]) -> None:
            position, parts = entry
            self._merge(parts, out[position], target)

        list(workers.loaders().map(merge, merged))

    def _moves_only(self, part: _Part) -> bool:
        """Tell whether pixels can be decoded straight into the result."""
        image, placement = part.layer.image, part.placement
        return (
            not placement.warped
            and not part.layer.masks
            and placement.level.mask is None
            and not self.recipe.scale
            and placement.level.array.dtype == self.dtype
            and (image.nodata is None or _same(image.nodata, self.recipe.fill))
        )

    def _direct(self, part: _Part, out: npt.NDArray[Any], bands: tuple[int, ...] | None) -> Window:
        placement = part.placement
        rows, columns = placement.target_rows, placement.target_columns
        out[..., : rows.start, :] = self.recipe.fill
        out[..., rows.stop :, :] = self.recipe.fill
        out[..., rows, : columns.start] = self.recipe.fill
        out[..., rows, columns.stop :] = self.recipe.fill
        return _window(placement.level.array, part.layer.image.index, bands, placement, out[..., rows, columns])

    def _windows(self, part: _Part, target: Grid, bands: tuple[int, ...] | None) -> Iterator[Window]:
        """Ask for a part's pixels, its internal mask and its mask assets; each has its array to go to."""
        placement, index = part.placement, part.layer.image.index
        size = (placement.rows.stop - placement.rows.start, placement.columns.stop - placement.columns.start)
        lead = () if bands is None else (len(bands),)
        part.pixels = np.empty((*lead, *size), dtype=placement.level.array.dtype)
        yield _window(placement.level.array, index, bands, placement, part.pixels)
        if placement.level.mask is not None:
            part.valid = np.empty(size, dtype=placement.level.mask.dtype)
            yield _window(placement.level.mask, index, None, placement, part.valid)
        window = target.window(placement.target_rows, placement.target_columns)
        for mask, image in part.layer.masks:
            where = place(image, window, "nearest", self._present)
            if where is not None:
                known = self.recipe.seen.get(_key(image, where), 0) if self.recipe.seen is not None else None
                if known is not None:
                    part.masks.append((mask, image, where, known))
                    continue
                shape = (where.rows.stop - where.rows.start, where.columns.stop - where.columns.start)
                pixels = np.empty(shape, dtype=where.level.array.dtype)
                part.masks.append((mask, image, where, pixels))
                yield _window(where.level.array, image.index, None, where, pixels)

    def _remember(self, merged: Sequence[tuple[int, list[_Part]]]) -> None:
        """Keep windows of mask assets for the other variables."""
        if self.recipe.seen is None:
            return
        for _, parts in merged:
            for part in parts:
                for _, image, where, pixels in part.masks:
                    self.recipe.seen.put(_key(image, where), 0, pixels)

    def _merge(self, parts: list[_Part], out: npt.NDArray[Any], target: Grid) -> None:
        out[...] = self.recipe.fill
        empty = np.ones(out.shape, dtype=bool)
        for part in parts:
            rows, columns = part.placement.target_rows, part.placement.target_columns
            pixels, valid = self._on_target(part, target)
            todo = empty[..., rows, columns] & valid
            np.copyto(out[..., rows, columns], self._converted(pixels, part.layer.image), where=todo, casting="unsafe")
            empty[..., rows, columns] &= ~valid

    def _on_target(self, part: _Part, target: Grid) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Bring a part onto its target window; tell which of its pixels count."""
        image, placement, pixels = part.layer.image, part.placement, part.pixels
        assert pixels is not None  # noqa: S101 - read before
        covered: npt.NDArray[np.bool_] | None = None
        if placement.warped:
            fill = image.nodata if image.nodata is not None else 0
            mask = np.ones(pixels.shape[-2:], np.uint8) if part.valid is None else (part.valid != 0).astype(np.uint8)
            pixels = warp(pixels, placement, target, resampling=self.recipe.resampling, nodata=image.nodata, fill=fill)
            if image.nodata is None or part.valid is not None:
                covered = warp(mask, placement, target, resampling="nearest", nodata=None, fill=0) != 0
        elif part.valid is not None:
            covered = part.valid != 0
        valid = _has_data(pixels, image.nodata)
        if covered is not None:
            valid = valid & covered
        window = target.window(placement.target_rows, placement.target_columns)
        for mask, _, where, values in part.masks:
            if where.warped:
                values = warp(values, where, window, resampling="nearest", nodata=None, fill=0)  # noqa: PLW2901 - moved
            valid[..., where.target_rows, where.target_columns] &= ~mask.hidden(values)
        return pixels, valid

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


def _key(image: Image, where: Placement) -> str:
    """Name a window of an image at one of its resolutions."""
    rows, columns = where.rows, where.columns
    return f"{where.level.array.path} {image.index} {rows.start}:{rows.stop} {columns.start}:{columns.stop}"


def _source_pixels(part: _Part) -> int:
    rows, columns = part.placement.rows, part.placement.columns
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _window(
    array: Any, index: int, bands: tuple[int, ...] | None, placement: Placement, out: npt.NDArray[Any]
) -> Window:
    lead: tuple[Any, ...] = (index,) if bands is None else (index, np.array(bands, dtype=np.int64))
    return Window(array=array, key=(*lead, placement.rows, placement.columns), out=out)


def _span(index: Any, size: int) -> tuple[slice, Any]:
    """Give the range around an index, and the index within that range."""
    if isinstance(index, (int, np.integer)):
        position = int(index) % size if size else 0
        return slice(position, position + 1), 0
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
