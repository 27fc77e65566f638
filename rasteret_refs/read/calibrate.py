"""Scale and offset of each scene of a dataset from the product's rule, STAC and the TIFF: equal, or refused by name."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr

from rasteret_refs.errors import QueryError
from rasteret_refs.sources.radiometry import Calibration, Origin, radiometry

ORIGINS: tuple[Origin, ...] = ("rule", "stac", "tiff")
RECORDED = "radiometry"
"""Key of the recipe in `refs.json`: the rule of the dataset that a set was built from."""
_VARIANT = re.compile(r"__[0-9a-f]{8}$")
_STATED = ("raster:bands", "bands", "raster:scale", "raster:offset")
_IMAGE_DIMS = ("y", "x")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrations:
    """What holds for one array: a row for each scene, a column for each band or one for all."""

    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    signed_square: npt.NDArray[np.bool_]
    """Shape (scenes, 1): whether sign(v) · (|v| · scale)² takes the place of v · scale."""
    unit: str | None = None
    """Where all scenes have the same one."""


def calibrations(
    dataset: xr.Dataset, scenes: pa.Table, recipe: Mapping[str, Any], prefer: Origin | None = None
) -> dict[str, Calibrations]:
    """Find scale and offset of each array about which more than the TIFF may speak.

    Parameters
    ----------
    dataset
        A group, or one scene of it, with the coordinate `id`.
    scenes
        The scene table.
    recipe
        Of the seal: names the rule of the dataset that the set was built from, for scenes whose collection has no rule
        in the catalog of its own (scenes of other datasets may have been appended).
    prefer
        The source to trust where they differ; None: all must agree.

    Returns
    -------
    dict
        By array; arrays that are not in it scale as their TIFFs say.

    Raises
    ------
    QueryError
        Contradictory sources, named with the scene and the asset.
    """
    if "assets" not in scenes.column_names or "id" not in dataset.coords:
        return {}
    assets = scenes["assets"].combine_chunks()
    ids = np.atleast_1d(dataset["id"].to_numpy())
    at = pc.index_in(pa.array(ids.astype(str).tolist(), pa.string()), scenes["id"].combine_chunks())
    found: dict[str, Calibrations] = {}
    for name, array in dataset.data_vars.items():
        asset = _VARIANT.sub("", str(name))
        position = assets.type.get_field_index(asset)
        if (
            position < 0
            or array.dims[-2:] != _IMAGE_DIMS
            or not _concerned(assets.type.field(position), recipe, scenes)
        ):
            continue
        fields = pc.struct_field(assets, [position]).take(at).to_pylist()
        facts = _Facts(str(name), asset, ids, fields, _items(scenes, at), _tiff(str(name), array, dataset, len(ids)))
        found[str(name)] = _stacked(list(facts.each(recipe.get(RECORDED), prefer)), _bands(array))
    return found


def image_calibrations(
    scenes: pa.Table,
    rows: list[int],
    asset: str,
    *,
    tiff: list[tuple[list[float], list[float]]],
    recipe: Mapping[str, Any],
    prefer: Origin | None = None,
) -> list[Calibration | None]:
    """Find scale and offset of one asset in some scenes, wherever their arrays lie.

    Parameters
    ----------
    scenes, rows
        The scene table, and the rows that are meant.
    tiff
        (scales, offsets) by band of each scene's TIFF.
    recipe, prefer
        As in `calibrations`.

    Returns
    -------
    list
        None where only the TIFF may speak.

    Raises
    ------
    QueryError
        Contradictory sources, named with the scene and the asset.
    """
    assets = scenes["assets"].combine_chunks()
    position = assets.type.get_field_index(asset)
    if position < 0 or not _concerned(assets.type.field(position), recipe, scenes):
        return [None] * len(rows)
    at = pa.array(rows, pa.int64())
    fields = pc.struct_field(assets, [position]).take(at).to_pylist()
    placeless: list[dict[str, Any] | None] = [
        {key: value for key, value in one.items() if key != "refs:array"} for one in fields
    ]
    ids = np.array(scenes["id"].take(at).to_pylist())
    facts = _Facts(asset, asset, ids, placeless, _items(scenes, at), tiff)
    return list(facts.each(recipe.get(RECORDED), prefer))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of one array's scenes, one entry each."""

    name: str
    asset: str
    ids: npt.NDArray[Any]
    fields: list[dict[str, Any] | None]
    items: list[dict[str, Any]]
    tiff: list[tuple[list[float], list[float]]]

    def each(self, rule: str | None, prefer: Origin | None) -> Iterator[Calibration | None]:
        for scene, fields, item, tiff in zip(self.ids.tolist(), self.fields, self.items, self.tiff, strict=True):
            if fields is None or fields.get("refs:array", self.name) not in {self.name, None}:
                yield None  # a hole: the scene's asset lies in another array, or there is none
                continue
            collection = item.get("collection")
            known = radiometry(
                scene,
                self.asset,
                rule=_rule_of_collection(collection or "") or rule,
                item=item,
                fields=_fields(fields),
                collection=collection,
                tiff=tiff,
            )
            try:
                yield known.calibration(prefer)
            except QueryError as error:
                hint = "" if prefer else " (scale='rule', 'stac' or 'tiff' trusts one of them)"
                raise QueryError(f"{error}{hint}") from error


def _concerned(field: pa.Field, recipe: Mapping[str, Any], scenes: pa.Table) -> bool:
    """Tell whether anything but the TIFF may speak of an asset."""
    if recipe.get(RECORDED) or any(field.type.get_field_index(name) >= 0 for name in _STATED):
        return True
    collections = scenes["collection"].unique().to_pylist() if "collection" in scenes.column_names else []
    return any(_rule_of_collection(name) for name in collections if name)


@cache
def _rule_of_collection(collection: str) -> str | None:
    """The rule that all catalog entries of a STAC collection share, if they do."""
    from rasteret_refs.sources.catalog import load_catalog

    entry = load_catalog().of_collection(collection)
    return None if entry is None else entry.radiometry


def _items(scenes: pa.Table, at: pa.Array) -> list[dict[str, Any]]:
    """The flat properties of each scene."""
    flat = [field.name for field in scenes.schema if not pa.types.is_nested(field.type) and field.name != "geometry"]
    rows: list[dict[str, Any]] = scenes.select(flat).take(at).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An asset's fields as STAC has them: nulls of the table are absent, texts of mixed columns are JSON again."""
    kept = {name: _without_nulls(value) for name, value in fields.items() if value is not None}
    for name in ("raster:bands", "bands"):
        if isinstance(kept.get(name), str):
            kept[name] = json.loads(kept[name])
    return kept


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value


def _tiff(name: str, array: xr.DataArray, dataset: xr.Dataset, count: int) -> list[tuple[list[float], list[float]]]:
    """Scales and offsets of each scene's TIFF, by band."""
    bands = array.attrs.get("gdal", {}).get("bands", []) or [{}]
    parts = []
    for what, neutral in (("scale", 1.0), ("offset", 0.0)):
        coordinate = dataset.coords.get(f"{name}_{what}")
        if coordinate is None:
            values = np.array([[float(band.get(what, neutral)) for band in bands]])
        else:
            values = coordinate.to_numpy().astype(np.float64).reshape(count, -1)
            values = np.where(np.isnan(values), neutral, values)
        parts.append(np.broadcast_to(values, (count, values.shape[1])).tolist())
    wide = max(len(parts[0][0]), len(parts[1][0])) if count else 1
    return [
        (scales * wide if len(scales) == 1 else scales, offsets * wide if len(offsets) == 1 else offsets)
        for scales, offsets in zip(*parts, strict=True)
    ]


def _bands(array: xr.DataArray) -> int:
    dims = [dim for dim in array.dims[:-2] if dim == "band" or str(dim).endswith("_band")]
    return int(array.sizes[dims[0]]) if dims else 1


def _stacked(rows: list[Calibration | None], bands: int) -> Calibrations:
    neutral = [(1.0, 0.0)] * bands
    pairs = np.array([neutral if row is None else row.per_band(bands)[:bands] for row in rows])
    pairs = pairs.reshape(len(rows), bands, 2)
    units = {row.unit for row in rows if row is not None}
    return Calibrations(
        scale=pairs[..., 0],
        offset=pairs[..., 1],
        signed_square=np.array([[row is not None and row.signed_square] for row in rows], bool).reshape(-1, 1),
        unit=units.pop() if len(units) == 1 else None,
    )
