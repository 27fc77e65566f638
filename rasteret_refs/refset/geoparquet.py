"""The scene table: GeoParquet 1.1 with STAC-GeoParquet's columns and where each asset lies in the Zarr hierarchy.

Sources of the rules: https://geoparquet.org/releases/v1.1.0/ and
https://github.com/stac-utils/stac-geoparquet/blob/main/spec/stac-geoparquet-spec.md.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from rasteret_refs.errors import DamagedError, RefsetError
from rasteret_refs.refset.bounded import read_bounded
from rasteret_refs.refset.columns import column, timestamps
from rasteret_refs.refset.encodings import column_encodings
from rasteret_refs.refset.secrets import redacted_text, refuse_secrets
from rasteret_refs.refset.wkb import WkbSummary, summarise
from rasteret_refs.virtual.values import Placement

STAC_VERSION: Final = "1.1.0"
BBOX: Final = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
LINKS: Final = pa.list_(pa.struct([(name, pa.string()) for name in ("href", "rel", "type", "title")]))
RESERVED: Final = (
    "type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "collection", "datetime", "start_datetime",
    "end_datetime", "refs:group", "refs:index", "links", "assets",
)  # fmt: skip
"""Columns of every scene table, in order; a property of such a name is kept as `properties:<name>`. The ends of periods
are left out where no scene has one: STAC allows no null there."""

ASSET_FIELDS: Final = pa.schema([
    ("href", pa.string()),
    ("refs:size", pa.int64()),
    ("refs:etag", pa.string()),
    ("refs:last_modified", pa.string()),
    ("refs:profile", pa.string()),
    ("refs:group", pa.string()),
    ("refs:array", pa.string()),
    ("refs:index", pa.int64()),
])  # fmt: skip
"""Fields of each asset, before those that STAC gave: the object as it was indexed, and where it lies."""

FAILURES_SCHEMA: Final = pa.schema([
    ("url", pa.string()),
    ("scene", pa.string()),
    ("asset", pa.string()),
    ("phase", pa.string()),
    ("error", pa.string()),
    ("message", pa.string()),
    ("attempts", pa.int32()),
])  # fmt: skip
"""Columns of `failures.parquet`; `error` is the class's name."""

PAGE: Final = "refs:page"
"""Field of assets that are further full-resolution pages of another asset's file: the page's number, from 1 on."""

DROPPED: Final = "refs:dropped"
"""Column that marks dropped scenes; there only once a scene was dropped. Their place on the scene axis stays."""

ROW_GROUP: Final = 10_000
COMPRESSION_LEVEL: Final = 19
"""Every append writes the whole table anew, so its size counts; it is small, so the time does not."""


def scene_table(
    records: Sequence[Mapping[str, Any]],
    *,
    placements: Sequence[Placement] = (),
    columns: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Build the scene table.

    Parameters
    ----------
    records
        One a scene, with the keys `id`; optionally `datetime`, `start_datetime`, `end_datetime` (with time zone),
        `geometry` (WKB, longitude and latitude), `bbox` (four numbers; else taken from the geometry), `collection`,
        `properties` (mapping), and `assets`: name → mapping with `href`, `size`, `etag`, `last_modified`, `profile`
        and `properties` (the STAC asset's own fields).
    placements
        Where assets lie. The scene's columns `refs:group` and `refs:index` are those of its first placed asset;
        `assets.<name>.refs:*` hold each asset's own (grids of several resolutions give a scene several groups).
    columns
        Further columns by name, each as long as `records` (Arrow or NumPy arrays, or lists): the user's own.

    Returns
    -------
    pyarrow.Table
        One row a record, in order, with GeoParquet's metadata.

    Raises
    ------
    RefsetError
        Two records with one id, a record without id, a geometry that is not WKB, a column of another length, a time
        without zone.
    """
    ids = _ids(records)
    try:
        geometries = [record.get("geometry") for record in records]
        known = {wkb: summarise(wkb) for wkb in dict.fromkeys(geometries) if wkb is not None}
        summaries = [None if wkb is None else known[wkb] for wkb in geometries]
        times = {
            name: timestamps([record.get(name) for record in records], name)
            for name in ("datetime", "start_datetime", "end_datetime")
        }
    except ValueError as error:
        raise RefsetError(f"scene table: {error}") from error
    by_scene: dict[str, dict[str, Placement]] = {}
    for placement in placements:
        by_scene.setdefault(placement.scene_id, {})[placement.asset] = placement
    firsts = [next(iter(by_scene.get(scene, {}).values()), None) for scene in ids]
    data: dict[str, Any] = {
        "type": pa.repeat("Feature", len(ids)),
        "stac_version": pa.repeat(STAC_VERSION, len(ids)),
        "stac_extensions": pa.array([[]] * len(ids), pa.list_(pa.string())),
        "id": pa.array(ids, pa.string()),
        "geometry": pa.array(geometries, pa.binary()),
        "bbox": _bbox_column(records, summaries),
        "collection": pa.array([record.get("collection") for record in records], pa.string()),
        **{name: values for name, values in times.items() if name == "datetime" or values.null_count < len(values)},
        "refs:group": pa.array([None if p is None else p.group for p in firsts], pa.string()),
        "refs:index": pa.array([None if p is None else p.index for p in firsts], pa.int64()),
        "links": pa.array([_links(record.get("collection")) for record in records], LINKS),
        "assets": _assets_column(records, [by_scene.get(scene, {}) for scene in ids]),
        **_property_columns(records),
    }
    for name, values in (columns or {}).items():
        data[_free_name(name)] = values if isinstance(values, pa.Array | pa.ChunkedArray) else column(values)
    try:
        table = pa.table(data)
    except pa.ArrowInvalid as error:
        raise RefsetError(f"scene table: expected columns of {len(ids)} rows: {error}") from error
    return _with_metadata(table, [summary for summary in summaries if summary is not None])


def _links(collection: str | None) -> list[dict[str, str | None]]:
    """Links of an item: one that names its collection must have a link to it (STAC 1.1, item specification)."""
    if collection is None:
        return []
    return [{"href": quote(collection), "rel": "collection", "type": "application/json", "title": None}]


def concatenated(old: pa.Table, new: pa.Table) -> pa.Table:
    """Return the rows of two scene tables, with the columns and assets of both.

    Raises
    ------
    RefsetError
        A column whose types do not go together, or an id in both.
    """
    both = set(old["id"].to_pylist()) & set(new["id"].to_pylist())
    if both:
        raise RefsetError(f"scene table: expected new ids, got {sorted(both)[:3]} again")
    try:
        table = pa.concat_tables([old, new], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RefsetError(f"scene table: expected columns of types that go together: {error}") from error
    return with_geo_metadata(table.combine_chunks())


def with_geo_metadata(table: pa.Table) -> pa.Table:
    """Return the table with GeoParquet's and STAC-GeoParquet's metadata made from its rows."""
    return _with_metadata(table, [summarise(wkb) for wkb in table["geometry"].to_pylist() if wkb is not None])


def _with_metadata(table: pa.Table, summaries: Sequence[WkbSummary]) -> pa.Table:
    boxes = [box for summary in summaries if (box := summary.bounds) is not None]
    geometry: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted({summary.name for summary in summaries}),
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        geometry["bbox"] = [min(west), min(south), max(east), max(north)]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    return table.replace_schema_metadata(
        {
            "geo": json.dumps(geo, separators=(",", ":"), sort_keys=True),
            "stac-geoparquet": json.dumps({"version": "1.0.0"}),
        }
    )


def failure_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Build `failures.parquet`'s table; secrets in URLs and messages are struck out, so that a failure can be kept."""
    cleaned = [
        {
            name: redacted_text(value) if isinstance(value := row.get(name), str) else value
            for name in FAILURES_SCHEMA.names
        }
        for row in rows
    ]
    return pa.Table.from_pylist(cleaned, schema=FAILURES_SCHEMA)


def failures_bytes(table: pa.Table) -> pa.Buffer:
    """Encode `failures.parquet`."""
    return _table_bytes(failure_table(table.select(FAILURES_SCHEMA.names).to_pylist()))


def scenes_bytes(table: pa.Table) -> pa.Buffer:
    """Encode a scene or tile table, with page checksums.

    Raises
    ------
    RefsetError
        A text that is a URL with a secret.
    """
    for field in table.schema:
        refuse_secrets(texts_of(table[field.name]), f"column {field.name}")
    return _table_bytes(table)


def read_table(source: Any, name: str) -> pa.Table:
    """Read a table of the set with its page checksums verified.

    Raises
    ------
    DamagedError
        Not Parquet, or a page differs from its checksum.
    """
    try:
        return read_bounded(source, page_checksum_verification=True)
    except DamagedError as error:
        raise DamagedError(f"{name}: {error}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError(f"{name}: expected a Parquet table with sound pages, got: {error}") from error


def _table_bytes(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    statistics = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    covering = [f"bbox.{name}" for name in BBOX.names] if "bbox" in table.schema.names else []
    dictionaries, encodings = column_encodings(table)
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=dictionaries,
        column_encoding=encodings,
        write_page_checksum=True,
        write_statistics=[*statistics, *covering],
        store_schema=False,  # Arrow's own copy of the schema costs more than all else of a small table
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)
        if table.schema.metadata:
            writer.add_key_value_metadata(table.schema.metadata)
    return sink.getvalue()


def _ids(records: Sequence[Mapping[str, Any]]) -> list[str]:
    counts: Counter[str] = Counter()
    for record in records:
        scene = record.get("id")
        if not isinstance(scene, str) or not scene:
            raise RefsetError(f"scene table: expected a text as id of each scene, got {scene!r}")
        counts[scene] += 1
    twice = [scene for scene, count in counts.items() if count > 1]
    if twice:
        raise RefsetError(f"scene table: expected ids that stand once, got {twice[:3]} more than once")
    return list(counts)


def _bbox_column(records: Sequence[Mapping[str, Any]], summaries: Sequence[WkbSummary | None]) -> pa.StructArray:
    boxes: list[Sequence[float] | None] = []
    for record, summary in zip(records, summaries, strict=True):
        box = record.get("bbox")
        if box is None and summary is not None:
            box = summary.bounds
        if box is not None and len(box) == 6:  # noqa: PLR2004 - STAC's three-dimensional form: heights third and sixth
            box = (box[0], box[1], box[3], box[4])
        boxes.append(box)
    present = [(0.0,) * len(BBOX) if box is None else box for box in boxes]
    sides = list(zip(*present, strict=True)) if present else [()] * len(BBOX)
    columns = [pa.array(map(float, side), pa.float64()) for side in sides]
    return pa.StructArray.from_arrays(columns, fields=list(BBOX), mask=pa.array([box is None for box in boxes]))


def _assets_column(
    records: Sequence[Mapping[str, Any]], placements: Sequence[Mapping[str, Placement]]
) -> pa.StructArray:
    """Return one struct a scene, with one field an asset name; null where the scene lacks the asset."""
    names = list(dict.fromkeys(name for record in records for name in record.get("assets", {})))
    fields = []
    for name in names:
        assets = [record.get("assets", {}).get(name) for record in records]
        places = [placed.get(name) for placed in placements]
        fields.append(_asset_column(list(map(_asset_row, assets, places))))
    if not names:
        return pa.nulls(len(records), pa.struct([("image", pa.struct(list(ASSET_FIELDS)))]))
    return pa.StructArray.from_arrays(fields, names=names)


def _asset_row(asset: Mapping[str, Any] | None, placement: Placement | None) -> dict[str, Any] | None:
    if asset is None:
        return None
    row = {name: value for name, value in asset.get("properties", {}).items() if name not in ASSET_FIELDS.names}
    row["href"] = asset["href"]
    for name in ("size", "etag", "last_modified", "profile"):
        row[f"refs:{name}"] = asset.get(name)
    if placement is not None:
        row |= {"refs:group": placement.group, "refs:array": placement.array, "refs:index": placement.index}
    return row


def _asset_column(rows: Sequence[Mapping[str, Any] | None]) -> pa.StructArray:
    own = list(dict.fromkeys(name for row in rows if row for name in row if name not in ASSET_FIELDS.names))
    arrays = [pa.array([row and row.get(field.name) for row in rows], field.type) for field in ASSET_FIELDS]
    arrays += [column([row and row.get(name) for row in rows]) for name in own]
    absent = pa.array([row is None for row in rows])
    return pa.StructArray.from_arrays(arrays, names=[*ASSET_FIELDS.names, *own], mask=absent)


def _property_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for record in records for name in record.get("properties", {}))
    return {_free_name(name): column([r.get("properties", {}).get(name) for r in records]) for name in names}


def _free_name(name: str) -> str:
    return f"properties:{name}" if name in RESERVED else name


def texts_of(values: pa.ChunkedArray | pa.Array) -> list[str]:
    """Return the distinct texts of a column at any depth that may hold a URL."""
    kind = values.type
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if pa.types.is_struct(kind):
        return [text for i in range(kind.num_fields) for text in texts_of(values.field(i))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return texts_of(values.values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [text for text in values.unique().to_pylist() if text and "://" in text]
    return []
