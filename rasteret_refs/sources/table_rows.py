"""Rows of tables to scenes."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import RasteretRefsError, SourceError
from rasteret_refs.sources.files import unique_ids
from rasteret_refs.sources.geometry import wkb_from_geojson
from rasteret_refs.sources.hrefs import absolute, rewritten, unsigned
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.kept import without_credentials
from rasteret_refs.sources.stac_items import ItemReader
from rasteret_refs.sources.tables import ColumnMapping, Table
from rasteret_refs.sources.times import parse_datetime
from rasteret_refs.sources.values import Refusals

_STAC_FIELDS = frozenset(
    {"id", "geometry", "bbox", "links", "assets", "collection", "stac_version", "stac_extensions", "type"}
)
_YEARS = range(1800, 2200)


def table_scenes(
    table: Table, mapping: ColumnMapping, reader: ItemReader, wanted: ItemFilter, refusals: Refusals
) -> Iterator[Scene]:
    """One scene a row.

    Parameters
    ----------
    table, mapping
        The table, and what its columns mean.
    reader
        Makes scenes of STAC rows, and knows url rewriting and consent.
    wanted
        Conditions on the rows' footprints, times and properties.
    refusals
        Takes rows without times where the table has a column for them, without hrefs, or with bad ones.
    """
    tests = wanted.tests()
    names = iter(_ids(table, mapping)) if mapping.id is None and not mapping.stac else None
    for number, row in enumerate(table.rows()):
        label = row.get(mapping.id) if mapping.id else (next(names) if names is not None else None)
        name = str(label) if label is not None else f"row {number}"
        try:
            if mapping.stac:
                item = stac_item(row)
                if all(test(item) for test in tests):
                    yield reader.scene(item, table.location)
                continue
            if label is None:
                raise SourceError(f"{name}: expected an id in column {mapping.id!r}, found none")
            scene = _scene(name, row, mapping, reader, table.location)
            if not tests or all(test(_pseudo_item(scene)) for test in tests):
                yield scene
        except RasteretRefsError as error:
            refusals.refuse(error, scene=name)


def stac_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """The STAC item of a row of STAC-GeoParquet.

    See https://github.com/radiantearth/stac-geoparquet-spec: properties stand in columns of their own, `bbox` is a
    struct, assets that an item lacks are null.
    """
    assets = row.get("assets")
    if isinstance(assets, str):
        assets = json.loads(assets)
    if isinstance(assets, list):  # an Arrow map
        assets = dict(assets)
    bbox = row.get("bbox")
    if isinstance(bbox, Mapping):
        bbox = [bbox["xmin"], bbox["ymin"], bbox["xmax"], bbox["ymax"]]
    return {
        "type": "Feature",
        "id": row.get("id"),
        "collection": row.get("collection"),
        "bbox": bbox,
        "geometry": row.get("geometry"),
        "links": _parsed(row.get("links")) or [],
        "properties": {key: value for key, value in row.items() if key not in _STAC_FIELDS and value is not None},
        "assets": {key: _without_nulls(asset) for key, asset in (assets or {}).items() if asset is not None},
    }


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _without_nulls(value: Any) -> Any:
    # A struct column gives every asset every field; null stands for "not there".
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value


def _ids(table: Table, mapping: ColumnMapping) -> list[str]:
    first = next(iter(mapping.href.values()))
    hrefs = [str(row[first]) for batch in table.batches() for row in batch.select([first]).to_pylist()]
    distinct = list(dict.fromkeys(hrefs))
    names = dict(zip(distinct, unique_ids(distinct), strict=True))
    return [names[href] for href in hrefs]


def _scene(
    name: str, row: Mapping[str, Any], mapping: ColumnMapping, reader: ItemReader, location: str | None
) -> Scene:
    assets = []
    for asset, column in mapping.href.items():
        href = row[column]
        if href is None or href == "":
            continue  # a hole
        clean, signature = unsigned(absolute(str(href), location))
        clean = rewritten(clean, reader.url_rewrite)
        reader.consent.check(clean)
        assets.append(Asset(name=asset, href=clean, properties={"refs:signed": signature} if signature else {}))
    if not assets:
        raise SourceError(f"{name}: expected an href in {', '.join(mapping.href.values())}, found none")
    times = {part: _time(row, getattr(mapping, part), last=part == "end_datetime") for part in _TIME_PARTS}
    timed = any(getattr(mapping, part) for part in ("datetime", "start_datetime"))
    if timed and times["datetime"] is None and times["start_datetime"] is None:
        raise SourceError(f"{name}: expected a time in {mapping.datetime or mapping.start_datetime!r}, found none")
    used = mapping.used()
    collection = row.get(mapping.collection) if mapping.collection else None
    return Scene(
        id=name,
        assets=tuple(assets),
        geometry=_geometry(row.get(mapping.geometry)) if mapping.geometry else None,
        collection=str(collection) if collection is not None else None,
        properties={key: without_credentials(value) for key, value in row.items() if key not in used},
        **times,
    )


_TIME_PARTS = ("datetime", "start_datetime", "end_datetime")


def _time(row: Mapping[str, Any], column: str | None, *, last: bool) -> datetime | None:
    value = row.get(column) if column else None
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return None
    if isinstance(value, int | float) and int(value) in _YEARS:
        # Annual products have a year: its first moment, or its last.
        year = int(value)
        return (
            datetime(year + 1, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
            if last
            else datetime(year, 1, 1, tzinfo=UTC)
        )
    return parse_datetime(value, column or "datetime")


def _geometry(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, Mapping):
        return wkb_from_geojson(value)
    if isinstance(value, str):
        try:
            import shapely
        except ImportError as error:
            raise SourceError("geometries as WKT need the `geo` extra (shapely); WKB and GeoJSON do not") from error
        try:
            return bytes(shapely.to_wkb(shapely.from_wkt(value)))
        except shapely.errors.GEOSException as error:
            raise SourceError(f"expected a geometry as WKB, WKT or GeoJSON, found {value[:60]!r}") from error
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise SourceError(f"expected a geometry as WKB, WKT or GeoJSON, found {type(value).__name__}")


def _pseudo_item(scene: Scene) -> dict[str, Any]:
    times = {"datetime": scene.datetime, "start_datetime": scene.start_datetime, "end_datetime": scene.end_datetime}
    return {
        "id": scene.id,
        "collection": scene.collection,
        "geometry": scene.geometry,
        "properties": {**scene.properties, **times},
    }


def has_times(mapping: ColumnMapping, names: Iterable[str]) -> bool:
    """Whether a table's scenes come with times."""
    return bool(mapping.datetime or mapping.start_datetime) or (mapping.stac and "datetime" in set(names))
