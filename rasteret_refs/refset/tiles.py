"""One row a tile: what lies where, and which bytes of which object it is; as a stream, so that SQL can select bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.refset.coordinates import stored_values
from rasteret_refs.refset.geoparquet import BBOX, DROPPED, RESERVED
from rasteret_refs.refset.query import Condition, conditions, unknown_names
from rasteret_refs.refset.tiles_labels import TileLabels
from rasteret_refs.refset.tiles_place import Boxes, Place, Windows, is_image, places
from rasteret_refs.refset.views import View, grid_of
from rasteret_refs.refset.views_save import chosen_references

BATCH: Final = 65_536
"""Tiles of a batch, about."""

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
TILE_SCHEMA: Final = pa.schema([
    ("id", pa.string()),
    ("asset", _NAME),
    ("array", _NAME),
    ("group", _NAME),
    ("factor", pa.int32()),
    ("row", pa.int32()),
    ("column", pa.int32()),
    ("band", pa.int32()),
    ("x_offset", pa.int64()),
    ("y_offset", pa.int64()),
    ("width", pa.int64()),
    ("height", pa.int64()),
    ("crs", _NAME),
    ("bounds", BBOX),
    ("bbox", BBOX),
    ("url", _NAME),
    ("offset", pa.int64()),
    ("length", pa.int64()),
    ("inlined", pa.bool_()),
])  # fmt: skip
"""A tile's own columns, before those of its scene and its labels. `group` is the grid, as `Collection.groups` lists it;
`row` and `column` count tiles, `x_offset` to `height` are pixels at `factor`; `band` is the number of the band from 0
where each has tiles of its own, else null; `bounds` are in units of `crs`, `bbox` in degrees; `url` is null and
`inlined` true where there are no bytes in any object (a sparse tile)."""

_INSIDE: Final = "__inside__"
_OF_ARRAYS: Final = frozenset({"asset", "array", "group", "factor"})
_FACTOR: Final = re.compile(r"(?:^|/)factor_(\d+)(?:__\d+x\d+)?$")
_VARIANT: Final = re.compile(r"__[0-9a-f]{8}$")
_MASK: Final = "_mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One array of pixels."""

    path: str
    group: str
    factor: int
    asset: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    has_variants: bool

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def grid(self) -> str:
        return grid_of(self.group)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Bands with tiles of their own (1 where tiles hold all), rows and columns of tiles."""
        counts = [-(-size // chunk) for size, chunk in zip(self.shape[1:], self.chunks[1:], strict=True)]
        return (counts[0] if len(counts) == 3 else 1, counts[-2], counts[-1])  # noqa: PLR2004 - band, y, x


def tiles(
    view: View, *, columns: Sequence[str] | None = None, where: Any = None, batch: int = BATCH
) -> pa.RecordBatchReader:
    """Stream the tiles of a view's scenes.

    Parameters
    ----------
    view
        The collection.
    columns
        Those wanted, in this order; others are not made. None: all of `TILE_SCHEMA`, the scene's flat columns and the
        labels by tile.
    where
        CQL2 text or a pyarrow expression over any of the columns. Of CQL2 text, conditions on scenes and on arrays
        are decided before any manifest is read.
    batch
        Tiles of a batch, about.

    Returns
    -------
    pyarrow.RecordBatchReader
        Made while it is read; DuckDB, Polars and pyarrow take it as it is.

    Raises
    ------
    QueryError
        A column that there is not.
    """
    stream = _Stream(view, batch)
    names = list(stream.schema.names) if columns is None else list(columns)
    unknown_names(stream.schema.names, names, "column of tiles")
    filters = [] if where is None else conditions(where)
    for condition in filters:
        unknown_names(stream.schema.names, sorted(condition.names or ()), "column of tiles")
    needed = _needed(names, filters, stream.schema.names)
    schema = pa.schema([stream.schema.field(name) for name in names])
    return pa.RecordBatchReader.from_batches(schema, stream.batches(names, needed, filters))


def _needed(names: Sequence[str], filters: Sequence[Condition], everything: Sequence[str]) -> frozenset[str]:
    if any(condition.names is None for condition in filters):
        return frozenset(everything)
    return frozenset(names).union(*(condition.names or () for condition in filters))


class _Stream:
    """Tiles of a view, array by array."""

    def __init__(self, view: View, batch: int) -> None:
        self.view = view
        self.batch = batch
        self.sealed = view.refset.sealed
        self._ids: dict[str, list[str]] = {}
        self._held: dict[str, npt.NDArray[np.bool_] | None] = {}
        self._positions = {name: row for row, name in enumerate(view.table["id"].to_pylist())}
        self.labels = TileLabels(view.tiles if view.tiles is not None else view.refset.tiles())
        self.label_table = view.tiles if view.tiles is not None else view.refset.tiles()
        taken = {*TILE_SCHEMA.names, *RESERVED, DROPPED} - {"collection", "datetime", "start_datetime", "end_datetime"}
        self.of_scenes = [
            field for field in view.table.schema if field.name not in taken and not pa.types.is_nested(field.type)
        ]
        own = {field.name: field.type for field in self.of_scenes}
        self.label_names = {
            name: name if own.get(name, kind) == kind and name not in TILE_SCHEMA.names else f"tiles:{name}"
            for name, kind in self.labels.columns.items()
        }
        extra = [
            pa.field(name, self.labels.columns[label]) for label, name in self.label_names.items() if name not in own
        ]
        self.schema = pa.schema([*TILE_SCHEMA, *self.of_scenes, *extra])

    def batches(
        self, names: Sequence[str], needed: frozenset[str], filters: Sequence[Condition]
    ) -> Iterator[pa.RecordBatch]:
        scene_names = {field.name for field in self.of_scenes if field.name not in self.label_names.values()} | {"id"}
        early = [f for f in filters if f.names is not None and f.names <= scene_names]
        on_arrays = [f for f in filters if f.names is not None and f.names <= _OF_ARRAYS and f not in early]
        late = [f for f in filters if f not in early and f not in on_arrays]
        keep = np.ones(len(self.view), bool)
        for condition in early:
            keep &= condition.mask(self.view.table)
        for image in self.images():
            if all(condition.mask(_described(image))[0] for condition in on_arrays):
                for table in self._tables(image, keep, needed):
                    chosen = table
                    for condition in late:
                        chosen = chosen.filter(pa.array(condition.mask(chosen)))
                    if len(chosen):
                        schema = pa.schema([self.schema.field(name) for name in names])
                        yield from chosen.select(list(names)).cast(schema).combine_chunks().to_batches()

    def images(self) -> Iterator[_Image]:
        documents = self.sealed.documents
        names: dict[str, set[str]] = {}
        for key, attributes in documents.items():
            path, _, leaf = key.rpartition("/")
            if leaf == ".zattrs" and is_image(attributes):
                group, _, name = path.rpartition("/")
                names.setdefault(group, set()).add(name)
        for group, here in names.items():
            found = _FACTOR.search(group)
            for name in sorted(here):
                base = name.removesuffix(_MASK) if name.endswith(_MASK) and name.removesuffix(_MASK) in here else name
                asset = _VARIANT.sub("", base)
                document = documents[f"{group}/{name}/.zarray"]
                yield _Image(
                    path=f"{group}/{name}",
                    group=group,
                    factor=int(found.group(1)) if found else 1,
                    asset=asset,
                    shape=tuple(document["shape"]),
                    chunks=tuple(document["chunks"]),
                    has_variants=any(_VARIANT.sub("", other) == asset and other != base for other in here),
                )

    def _tables(self, image: _Image, keep: npt.NDArray[np.bool_], needed: frozenset[str]) -> Iterator[pa.Table]:
        """Tiles of one array, a few scenes at a time."""
        axis, rows = self._scenes_of(image)
        kept = keep[rows]
        axis, rows = axis[kept], rows[kept]
        if not len(axis):
            return
        where = places(self.sealed, image.group, image.name)
        step = max(1, self.batch // int(np.prod(image.numbers)))
        for start in range(0, len(axis), step):
            part = slice(start, start + step)
            here = [where[k] for k in axis[part].tolist()] if isinstance(where, list) else [where]
            yield self._table(image, axis[part], rows[part], here, needed)

    def _scenes_of(self, image: _Image) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Numbers along the axis, and rows of the view's table, of the scenes that have an image in an array."""
        if image.grid not in self._ids:
            self._ids[image.grid] = stored_values(self.sealed, f"{image.group}/id").astype(str).tolist()
        ids, positions = self._ids[image.grid], self._positions
        try:
            axis = self.view.axis_rows(image.grid)
        except KeyError:
            axis = None
        numbers = np.arange(len(ids)) if axis is None else axis
        holding = self._holding(image)
        pairs = [(k, positions[ids[k]]) for k in numbers.tolist() if ids[k] in positions]
        pairs = [(k, row) for k, row in pairs if holding is None or holding[row]]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _holding(self, image: _Image) -> npt.NDArray[np.bool_] | None:
        """Which scenes have the asset, in this array; None where the scene table does not tell."""
        key = image.name if image.has_variants else image.asset
        if key not in self._held:
            self._held[key] = self._found_holding(image)
        return self._held[key]

    def _found_holding(self, image: _Image) -> npt.NDArray[np.bool_] | None:
        assets = self.view.table["assets"].combine_chunks()
        position = assets.type.get_field_index(image.asset)
        if position < 0 or assets.type.field(position).type.get_field_index("refs:array") < 0:
            return None
        asset = assets.field(position)
        here: npt.NDArray[np.bool_] = np.array(asset.is_valid(), bool)
        if not image.has_variants:
            return here
        arrays = asset.field(asset.type.get_field_index("refs:array")).to_pylist()
        base = image.name.removesuffix(_MASK) if image.name != image.asset else image.name
        here &= np.array([name == base for name in arrays], bool)
        return here

    def _table(
        self,
        image: _Image,
        axis: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        where: Sequence[Place],
        needed: frozenset[str],
    ) -> pa.Table:
        """Tiles of some scenes of one array; `where` has one place for each, or one for all."""
        count = int(np.prod(image.numbers))
        scenes = pa.array(np.repeat(rows, count))
        data = self._described(image, scenes, where, needed)
        if needed & {"url", "offset", "length", "inlined"}:
            data |= self._references(image, axis, count)
        for field in self.of_scenes:
            if field.name in needed:
                data[field.name] = self.view.table[field.name].combine_chunks().take(scenes)
        if image.factor == 1 and needed & set(self.label_names.values()):
            data |= self._labelled(image, rows, data)
        inside = data.pop(_INSIDE, None)
        for field in self.schema:
            if field.name in needed and field.name not in data:
                data[field.name] = pa.nulls(len(scenes), field.type)
        table = pa.table(data)
        return table if inside is None else table.filter(inside)

    def _described(
        self, image: _Image, scenes: pa.Array, where: Sequence[Place], needed: frozenset[str]
    ) -> dict[str, pa.Array]:
        """What tiles are and where they lie; under `_INSIDE`, which of them an image that is padded has."""
        planes, down, across = image.numbers
        total, repeats = len(scenes), len(scenes) // (planes * down * across)
        height, width = image.chunks[-2:]
        band, row, column = (np.tile(part.ravel(), repeats) for part in np.indices((planes, down, across)))
        one = slice(0, planes * down * across)
        ends = (
            np.minimum((column[one] + 1) * width, image.shape[-1]),
            np.minimum((row[one] + 1) * height, image.shape[-2]),
        )
        windows = Windows(np.stack([column[one] * width, row[one] * height, *ends], axis=1), repeats, where)
        x0, y0, x1, y1 = windows.pixels.T
        makers: dict[str, Any] = {
            "id": lambda: self.view.table["id"].combine_chunks().take(scenes),
            "asset": lambda: _constant(image.asset, total),
            "array": lambda: _constant(image.name, total),
            "group": lambda: _constant(image.grid, total),
            "factor": lambda: pa.array(np.full(total, image.factor, np.int32)),
            "row": lambda: pa.array(row, pa.int32()),
            "column": lambda: pa.array(column, pa.int32()),
            "band": lambda: pa.array(band, pa.int32()) if _has_planes(image) else pa.nulls(total, pa.int32()),
            "x_offset": lambda: pa.array(x0, pa.int64()),
            "y_offset": lambda: pa.array(y0, pa.int64()),
            "width": lambda: pa.array(x1 - x0, pa.int64()),
            "height": lambda: pa.array(y1 - y0, pa.int64()),
            "crs": lambda: pa.array(windows.crs(), pa.string()).dictionary_encode(),
            "bounds": lambda: _boxes(windows.boxes("bounds")),
            "bbox": lambda: _boxes(windows.boxes("degrees")),
        }
        data = {name: make() for name, make in makers.items() if name in needed}
        if windows.inside is not None:
            data[_INSIDE] = pa.array(windows.inside)
        return data

    def _references(self, image: _Image, axis: npt.NDArray[np.int64], count: int) -> dict[str, pa.Array]:
        numbers = (axis[:, np.newaxis] * count + np.arange(count)).ravel()
        manifest = chosen_references(self.sealed, image.path, numbers)
        inlined = manifest.url_index < 0
        codes = pa.array(manifest.url_index, mask=inlined)
        return {
            "url": pa.DictionaryArray.from_arrays(codes, pa.array(list(manifest.urls), pa.string())),
            "offset": pa.array(manifest.offsets, mask=inlined),
            "length": pa.array(manifest.sizes, mask=inlined),
            "inlined": pa.array(inlined),
        }

    def _labelled(
        self, image: _Image, rows: npt.NDArray[np.int64], data: Mapping[str, pa.Array]
    ) -> dict[str, pa.Array]:
        """Labels of each tile; where a column is the scene's as well, the tile's own value comes first."""
        planes, down, across = image.numbers
        ids = self.view.table["id"].combine_chunks().take(pa.array(rows)).to_pylist()
        tile = (int(image.chunks[-2]), int(image.chunks[-1]))
        parts = []
        for scene in ids:
            found = self.labels.of(image.grid, tile, (down, across), scene, image.asset)
            one = np.full(down * across, -1, np.int64) if found is None else found.ravel()
            parts.append(np.tile(one, planes))
        at = np.concatenate(parts)
        if self.label_table is None or not (at >= 0).any():
            return {}
        taken = pa.array(at, mask=at < 0)
        result = {}
        for label, name in self.label_names.items():
            values = self.label_table[label].combine_chunks().take(taken)
            result[name] = _first(values, data[name]) if name in data else values
        return result


def _boxes(values: Boxes) -> pa.StructArray:
    mask = pa.array(np.isnan(values).any(axis=1))
    return pa.StructArray.from_arrays([pa.array(values[:, k]) for k in range(4)], fields=list(BBOX), mask=mask)


def _first(values: pa.Array, others: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.coalesce(values, others)


def _constant(value: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value], pa.string()))


def _has_planes(image: _Image) -> bool:
    """Whether each band has tiles of its own."""
    return len(image.shape) == 4 and image.numbers[0] > 1  # noqa: PLR2004 - scene, band, y, x


def _described(image: _Image) -> pa.Table:
    return pa.table({"asset": [image.asset], "array": [image.name], "group": [image.grid], "factor": [image.factor]})


def tile_counts(view: View) -> dict[str, tuple[int, int]]:
    """Rows and columns of full-resolution tiles of each grid, of the asset that has most."""
    found: dict[str, tuple[int, int]] = {}
    for image in _Stream(view, BATCH).images():
        if image.factor == 1:
            old = found.get(image.grid, (0, 0))
            found[image.grid] = (max(old[0], image.numbers[1]), max(old[1], image.numbers[2]))
    return found
