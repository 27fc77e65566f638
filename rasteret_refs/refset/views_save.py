"""Saving a view: a set of its own with only the view's scenes; references are copied, nothing is requested."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.coordinates import stored_coordinate
from rasteret_refs.refset.geoparquet import DROPPED, with_geo_metadata
from rasteret_refs.refset.labels import coordinate_values
from rasteret_refs.refset.metadata import DIMENSIONS, chunk_count
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.sealed import SealedSet
from rasteret_refs.refset.views import View, grid_of
from rasteret_refs.refset.write import write_reference_set
from rasteret_refs.virtual.coordinates import scene_coordinate
from rasteret_refs.virtual.sparing import leaves_out, without_repeated
from rasteret_refs.virtual.values import (
    ChunkManifest,
    CodecChain,
    CoordinateArray,
    ReferenceSetPlan,
    VirtualArray,
    VirtualGroup,
)

Rows = npt.NDArray[np.int64]


def save_view(view: View, out: str | os.PathLike[str], *, overwrite: bool = False) -> Seal:
    """Write a set with the scenes, columns and labels of a view.

    Parameters
    ----------
    view
        Of a local or remote set.
    out
        Directory to create, `NAME.refs`. Scenes stand in it in order of time, then id; grids without scenes are left
        out; dropped scenes are gone.
    overwrite
        Replace a set that is there, atomically.

    Returns
    -------
    Seal
        What was written.

    Raises
    ------
    QueryError
        The view has no scenes.
    ExistsError
        The output exists.
    DamagedError
        A file of the set is not what its seal says.
    """
    if not len(view):
        raise QueryError("expected scenes to save, got a view without any")
    sealed = view.refset.sealed
    grids = _axes(view, sealed)
    groups: Sequence[VirtualGroup] = tuple(_groups(sealed, view, grids))
    if groups and leaves_out(groups[0].attributes):
        groups = without_repeated(groups)
    table = _renumbered(view.table, grids)
    plan = ReferenceSetPlan(groups=tuple(groups), placements=(), layout=sealed.seal.layout)
    recipe = {**sealed.seal.recipe, **view.record}
    failures = view.refset.failures()
    tiles = view.tiles if view.tiles is not None else view.refset.tiles()
    with staged(out, overwrite=overwrite) as directory:
        return write_reference_set(
            plan,
            directory,
            scenes=table,
            failures=failures if len(failures) else None,
            recipe={name: value for name, value in recipe.items() if value is not None},
            storage=sealed.seal.storage,
            tiles=None if tiles is None else _tiles_of(tiles, table, grids),
            record_size=sealed.record_size,
            based_on=(sealed.digest,),
        )


def _axes(view: View, sealed: SealedSet) -> dict[str, Rows]:
    """Numbers along each grid's scene axis that are kept, in the order that they get: by time, then id."""
    ids = view.table["id"].combine_chunks()
    columns = [name for name in ("datetime", "start_datetime") if name in view.table.column_names]
    times = pc.coalesce(*(view.table[name].combine_chunks() for name in columns))
    numbers = pc.fill_null(pc.cast(times, pa.int64()), np.iinfo(np.int64).max).to_numpy(zero_copy_only=False)
    texts = ids.to_pylist()
    found: dict[str, Rows] = {}
    for key in sealed.documents:
        path, _, leaf = key.rpartition("/")
        group, _, name = path.rpartition("/")
        if leaf != ".zarray" or name != "id" or grid_of(group) in found:
            continue
        axis_ids = stored_coordinate(sealed, path).values.astype(str)
        rows = pc.index_in(pa.array(axis_ids.tolist(), pa.string()), ids)
        at = rows.fill_null(-1).to_numpy(zero_copy_only=False)
        kept = _kept(view, grid_of(group), at)
        order = sorted(range(len(kept)), key=lambda k: (numbers[at[kept[k]]], texts[at[kept[k]]]))
        found[grid_of(group)] = kept[np.array(order, np.int64)] if len(kept) else kept
    return found


def _kept(view: View, grid: str, at: Rows) -> Rows:
    try:
        rows = view.axis_rows(grid)
    except KeyError:  # further pages: known by their scenes' ids alone
        rows = np.flatnonzero(at >= 0)
    return np.arange(len(at), dtype=np.int64) if rows is None else rows


def _groups(sealed: SealedSet, view: View, grids: Mapping[str, Rows]) -> Iterator[VirtualGroup]:
    """The set's groups with the kept rows of their arrays; parents before children, as the set has them."""
    arrays: dict[str, list[str]] = {}
    paths: list[str] = []
    for key in sealed.documents:
        path, _, leaf = key.rpartition("/")
        if leaf == ".zgroup":
            paths.append(path)
        elif leaf == ".zarray":
            arrays.setdefault(path.rpartition("/")[0], []).append(path)
    for path in sorted(paths, key=lambda path: (path.count("/") + bool(path), paths.index(path))):
        attributes = sealed.documents.get(f"{path}/.zattrs" if path else ".zattrs", {})
        here = arrays.get(path, [])
        if not here and path and path in grids and not len(grids[path]):
            continue  # a grid none of whose scenes is kept
        if not here:
            yield VirtualGroup(path=path, attributes=attributes)
            continue
        rows = grids.get(grid_of(path))
        if rows is None or not len(rows):
            continue
        images, coordinates = _members(sealed, view, path, here, rows)
        yield VirtualGroup(path=path, attributes=attributes, arrays=images, coordinates=coordinates)


def _members(
    sealed: SealedSet, view: View, path: str, members: list[str], rows: Rows
) -> tuple[tuple[VirtualArray, ...], tuple[CoordinateArray, ...]]:
    """A group's arrays and coordinates with the kept rows, and the view's own columns."""
    axis = sealed.documents[f"{path}/id/.zattrs"][DIMENSIONS][0]
    images: list[VirtualArray] = []
    coordinates: dict[str, CoordinateArray] = {}
    for member in members:
        dims = sealed.documents.get(f"{member}/.zattrs", {}).get(DIMENSIONS, [])
        if list(dims[-2:]) == ["y", "x"]:
            images.append(_image(sealed, member, rows))
            continue
        coordinate = stored_coordinate(sealed, member)
        if dims and dims[0] == axis:
            coordinate = replace(coordinate, values=np.ascontiguousarray(coordinate.values[rows]))
        coordinates[coordinate.name] = coordinate
    kept_ids = pa.array(coordinates["id"].values.astype(str).tolist(), pa.string())
    at = pc.index_in(kept_ids, view.table["id"].combine_chunks())
    new: list[str] = []
    for name, column in view.coordinates.items():
        values = coordinate_values(column.take(at)) if name in view.along_scenes else None
        if values is not None:
            coordinates[name] = scene_coordinate(name, values, axis=axis)
            new.append(name)
    return tuple(_listing(image, new) for image in images), tuple(coordinates.values())


def _listing(image: VirtualArray, names: list[str]) -> VirtualArray:
    listed = dict.fromkeys([*str(image.attributes.get("coordinates", "")).split(), *names])
    return replace(image, attributes={**image.attributes, "coordinates": " ".join(listed)})


def _image(sealed: SealedSet, path: str, rows: Rows) -> VirtualArray:
    """An array's kept rows: its references as they stand."""
    document = sealed.documents[f"{path}/.zarray"]
    attributes = dict(sealed.documents[f"{path}/.zattrs"])
    dims = tuple(attributes.pop(DIMENSIONS))
    shape, chunks = tuple(document["shape"]), tuple(document["chunks"])
    a_row = chunk_count(shape[1:], chunks[1:])
    numbers = (rows[:, np.newaxis] * a_row + np.arange(a_row)).ravel()
    return VirtualArray(
        name=path.rpartition("/")[2],
        shape=(len(rows), *shape[1:]),
        chunks=chunks,
        chain=CodecChain(
            dtype=document["dtype"],
            chunk_shape=chunks[1:],
            filters=tuple(document["filters"] or ()),
            compressor=document["compressor"],
        ),
        dims=dims,
        attributes=attributes,
        manifest=chosen_references(sealed, path, numbers),
    )


def chosen_references(sealed: SealedSet, path: str, numbers: Rows) -> ChunkManifest:
    """References of some chunks of an array, by their C-order numbers, as a manifest of its own."""
    size = sealed.record_size
    files = numbers // size
    parts = []
    for number in np.unique(files).tolist():
        table = sealed.table(path, int(number))
        parts.append(table.take(pa.array(numbers[files == number] % size)))
    order = np.argsort(np.argsort(files, kind="stable"), kind="stable")
    table = pa.concat_tables(parts).unify_dictionaries().combine_chunks().take(pa.array(order))
    paths, raws = (_dictionary(table[name]) for name in ("path", "raw"))
    inline = raws[1]
    url_codes = np.where(inline >= 0, -1, paths[1])
    used = np.unique(url_codes[url_codes >= 0])
    return ChunkManifest(
        urls=tuple(paths[0][code] for code in used.tolist()),
        url_index=np.where(url_codes >= 0, np.searchsorted(used, url_codes), -1).astype(np.int32),
        offsets=table["offset"].to_numpy().astype(np.int64),
        sizes=table["size"].to_numpy().astype(np.int64),
        inlined=tuple(raws[0]),
        inline=inline,
    )


def _dictionary(column: pa.ChunkedArray) -> tuple[list[Any], npt.NDArray[np.int32]]:
    """Distinct values and codes of a column, -1 where it is null."""
    whole = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return whole.dictionary.to_pylist(), codes


def _renumbered(table: pa.Table, grids: Mapping[str, Rows]) -> pa.Table:
    """The scene table with the new numbers along the axes, in their order."""
    new = {grid: {int(old): position for position, old in enumerate(rows)} for grid, rows in grids.items()}
    index = _indices(table["refs:group"].combine_chunks(), table["refs:index"].combine_chunks(), new)
    table = table.set_column(table.schema.get_field_index("refs:index"), "refs:index", index)
    if DROPPED in table.column_names:
        table = table.drop_columns([DROPPED])
    assets = table["assets"].combine_chunks()
    fields = []
    for number in range(assets.type.num_fields):
        asset = assets.field(number)
        columns = [asset.field(k) for k in range(asset.type.num_fields)]
        place, groups = asset.type.get_field_index("refs:index"), asset.type.get_field_index("refs:group")
        if place >= 0 and groups >= 0:
            columns[place] = _indices(columns[groups], columns[place], new)
        fields.append(pa.StructArray.from_arrays(columns, fields=list(asset.type.fields), mask=asset.is_null()))
    if fields:
        whole = pa.StructArray.from_arrays(fields, fields=list(assets.type.fields), mask=assets.is_null())
        table = table.set_column(table.schema.get_field_index("assets"), "assets", whole)
    order = sorted(range(len(table)), key=lambda row: (index[row].as_py() or 0, table["id"][row].as_py()))
    return with_geo_metadata(table.take(pa.array(order)).combine_chunks())


def _indices(groups: pa.Array, old: pa.Array, new: Mapping[str, Mapping[int, int]]) -> pa.Array:
    pairs = zip(groups.to_pylist(), old.to_pylist(), strict=True)
    found = [None if group is None or index is None else new[grid_of(group)][index] for group, index in pairs]
    return pa.array(found, pa.int64())


def _tiles_of(tiles: pa.Table, scenes: pa.Table, grids: Mapping[str, Rows]) -> pa.Table | None:
    """Labels of the tiles that are left."""
    if "id" in tiles.column_names:
        here = pc.is_in(tiles["id"], scenes["id"].combine_chunks())
        tiles = tiles.filter(pc.or_(here, pc.is_null(tiles["id"])))
    if "group" in tiles.column_names:
        left = [grid for grid, rows in grids.items() if len(rows)]
        tiles = tiles.filter(pc.is_in(tiles["group"], pa.array(left, pa.string())))
    return tiles if len(tiles) else None
