"""The scene table as others read it: GeoParquet, STAC-GeoParquet, DuckDB, Polars, GeoPandas."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.geoparquet import concatenated, failure_table, failures_bytes, scene_table, scenes_bytes
from rasteret_refs.refset.wkb import summarise
from rasteret_refs.virtual.values import Placement

START = datetime(2024, 1, 1, 5, 10, tzinfo=UTC)


def record(number: int) -> dict[str, Any]:
    return {
        "id": f"scene-{number}",
        "datetime": START + timedelta(days=number),
        "geometry": shapely.box(77 + number, 12, 78 + number, 13.5).wkb,
        "collection": "sentinel-2-l2a",
        "properties": {"eo:cloud_cover": number or 12.5, "platform": "sentinel-2a", "split": "train"},
        "assets": {
            "red": {
                "href": f"https://example.com/{number}/red.tif", "size": 1000 + number, "etag": '"abc"',
                "last_modified": "2024-01-02T00:00:00Z", "profile": "1234",
                "properties": {"roles": ["data"], "raster:bands": [{"scale": 0.0001, "offset": -0.1}]},
            },
            **({"scl": {"href": f"s3://bucket/{number}/scl.tif"}} if number != 1 else {}),
        },
    }  # fmt: skip


def records(count: int = 3) -> list[dict[str, Any]]:
    return [record(number) for number in range(count)]


def placements() -> list[Placement]:
    return [
        *(Placement(scene_id=f"scene-{n}", asset="red", group="g/factor_1", array="red", index=n) for n in range(3)),
        Placement(scene_id="scene-0", asset="scl", group="h/factor_1", array="scl", index=0),
        Placement(scene_id="scene-2", asset="scl", group="h/factor_1", array="scl", index=1),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "scenes.parquet"
    path.write_bytes(scenes_bytes(scene_table(records(), placements=placements(), columns={"weight": [1, 2, 3]})))
    return path


def test_places_and_objects_of_each_asset_stand_in_the_table(path: Path) -> None:
    table = pq.read_table(path)
    assert table["refs:group"].to_pylist() == ["g/factor_1"] * 3
    assert table["refs:index"].to_pylist() == [0, 1, 2]
    red = table["assets"][2]["red"].as_py()
    assert red["href"] == "https://example.com/2/red.tif"
    assert (red["refs:size"], red["refs:etag"], red["refs:last_modified"]) == (1002, '"abc"', "2024-01-02T00:00:00Z")
    assert (red["refs:profile"], red["refs:array"], red["refs:index"]) == ("1234", "red", 2)
    assert red["roles"] == ["data"]
    assert table["assets"][1]["scl"].as_py() is None
    assert table["assets"][2]["scl"].as_py()["refs:index"] == 1
    assert table["weight"].to_pylist() == [1, 2, 3]
    assert table["eo:cloud_cover"].to_pylist() == [12.5, 1.0, 2.0]


def test_the_metadata_is_geoparquet_1_1(path: Path) -> None:
    """The rules of https://geoparquet.org/releases/v1.1.0/ that hold for a WKB column with a covering."""
    file = pq.ParquetFile(path)
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == [77, 12, 80, 13.5]
    assert column["covering"]["bbox"] == {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
    assert file.schema_arrow.field("geometry").type == pa.binary()
    box = file.schema_arrow.field("bbox").type
    assert [box.field(i).name for i in range(4)] == ["xmin", "ymin", "xmax", "ymax"]
    statistics = {
        chunk.path_in_schema: chunk.statistics
        for chunk in map(file.metadata.row_group(0).column, range(file.metadata.num_columns))
    }
    assert (statistics["bbox.xmin"].min, statistics["bbox.xmax"].max) == (77, 80)


def test_geopandas_reads_footprints_and_filters_by_the_covering(path: Path) -> None:
    import geopandas

    frame = geopandas.read_parquet(path)
    assert frame.crs == "OGC:CRS84"
    assert frame.geometry.iloc[1].equals(shapely.box(78, 12, 79, 13.5))
    assert geopandas.read_parquet(path, bbox=(79.5, 12, 79.6, 12.1))["id"].tolist() == ["scene-2"]


def test_duckdb_reads_the_table_as_it_is(path: Path) -> None:
    import duckdb

    query = f"""select id, assets.red.href, "refs:index" from '{path}' where "eo:cloud_cover" > 5 and bbox.xmax < 79"""  # noqa: S608
    assert duckdb.sql(query).fetchall() == [("scene-0", "https://example.com/0/red.tif", 0)]


def test_polars_reads_the_table_as_it_is(path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(path)
    assert frame["datetime"].dtype.time_zone == "UTC"
    assert frame["datetime"].to_list()[0] == START
    assert frame["assets"].struct.field("red").struct.field("refs:size").to_list() == [1000, 1001, 1002]


def test_stac_geoparquet_turns_the_table_back_into_items(path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    items = list(arrow.stac_table_to_items(pq.read_table(path)))
    assert [item["id"] for item in items] == ["scene-0", "scene-1", "scene-2"]
    item = pystac.Item.from_dict(items[0])
    assert item.datetime == START
    assert item.collection_id == "sentinel-2-l2a"
    assert item.properties["eo:cloud_cover"] == 12.5
    assert item.bbox == [77, 12, 78, 13.5]
    assert item.assets["red"].href == "https://example.com/0/red.tif"
    assert shapely.geometry.shape(item.geometry).equals(shapely.box(77, 12, 78, 13.5))


def test_values_of_several_types_become_one_column() -> None:
    mixed = [1, "two", None, {"three": 3}]
    empty: list[Any] = [{}, None, {}, {}]
    nested = [{"a": None}, {"a": None, "b": [1]}, None, {"b": []}]
    rows = [
        {"id": str(n), "properties": {"mixed": mixed[n], "empty": empty[n], "nested": nested[n], "id": n, "none": None}}
        for n in range(4)
    ]
    table = pq.read_table(pa.BufferReader(scenes_bytes(scene_table(rows))))
    assert table["mixed"].to_pylist() == ["1", "two", None, '{"three": 3}']
    assert table["empty"].to_pylist() == ["{}", None, "{}", "{}"]
    assert table["nested"][1].as_py() == {"a": None, "b": [1]}
    assert table["none"].to_pylist() == [None] * 4
    assert table["id"].to_pylist() == ["0", "1", "2", "3"]
    assert table["properties:id"].to_pylist() == [0, 1, 2, 3]


def test_scenes_of_plain_files_have_neither_time_nor_place(tmp_path: Path) -> None:
    import geopandas

    rows = [{"id": "a", "assets": {"image": {"href": "/data/a.tif"}}}, {"id": "b", "assets": {}}]
    path = tmp_path / "scenes.parquet"
    path.write_bytes(scenes_bytes(scene_table(rows)))
    assert pq.read_table(path)["datetime"].to_pylist() == [None, None]
    assert geopandas.read_parquet(path).geometry.isna().all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "id of each scene"),
        ({"id": "a", "geometry": b"\x01nonsense"}, "WKB"),
        ({"id": "a", "datetime": datetime(2024, 1, 1)}, "time zone"),  # noqa: DTZ001 - naive on purpose
    ],
)
def test_what_is_no_scene_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(RefsetError, match=message):
        scene_table([row])


def test_two_scenes_of_one_id_are_refused() -> None:
    with pytest.raises(RefsetError, match=r"\['a'\] more than once"):
        scene_table([{"id": "a"}, {"id": "b"}, {"id": "a"}])


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(RefsetError, match="columns of 1 rows"):
        scene_table([{"id": "a"}], columns={"split": ["train", "test"]})


@pytest.mark.parametrize(
    "href", ["https://x/a.tif?sig=abc", "https://u:p@x/a.tif", "https://x/a.tif?X-Amz-Signature=1"]
)
def test_a_signed_href_is_refused_anywhere(href: str) -> None:
    for row in (
        {"id": "a", "assets": {"image": {"href": href}}},
        {"id": "a", "properties": {"thumbnail": href}},
        {"id": "a", "properties": {"links": [{"href": href}]}},
    ):
        with pytest.raises(RefsetError, match="unsigned") as caught:
            scenes_bytes(scene_table([row]))
        assert "abc" not in str(caught.value)


def test_tables_with_other_columns_and_assets_are_joined() -> None:
    old = scene_table(records(2), placements=placements())
    rows = [{"id": "new", "properties": {"fresh": 1}, "assets": {"nir": {"href": "/nir.tif"}}}]
    joined = concatenated(old, scene_table(rows))
    assert joined["id"].to_pylist() == ["scene-0", "scene-1", "new"]
    assert joined["fresh"].to_pylist() == [None, None, 1]
    assert joined["assets"][2].as_py()["nir"]["href"] == "/nir.tif"
    assert joined["assets"][2].as_py()["red"] is None
    assert joined["assets"][0].as_py()["red"]["refs:size"] == 1000
    with pytest.raises(RefsetError, match="again"):
        concatenated(joined, scene_table(rows))


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.Point(1, 2),
        shapely.Point(1, 2, 3),
        shapely.LineString([(0, 0), (3, -1)]),
        shapely.Polygon([(0, 0), (4, 0), (4, 4)], [[(3, 1), (3, 2), (3.5, 1)]]),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 7)]),
        shapely.GeometryCollection([shapely.Point(9, 9), shapely.box(0, 0, 1, 1)]),
        shapely.Polygon(),
    ],
)
def test_bounds_of_wkb_are_those_of_shapely(geometry: shapely.Geometry) -> None:
    for options in ({}, {"byte_order": 0}, {"flavor": "iso"}, {"include_srid": True}):
        wkb = shapely.to_wkb(shapely.set_srid(geometry, 4326), **options)
        summary = summarise(wkb)
        assert summary.name == geometry.geom_type + (" Z" if geometry.has_z else "")
        assert summary.bounds == (None if geometry.is_empty else geometry.bounds)


def test_failures_keep_no_secret() -> None:
    row = {"url": "https://x/a.tif?sig=hidden", "scene": "a", "asset": "red", "phase": "scan", "error": "AccessError",
           "message": "403 for https://x/a.tif?token=hidden&y=1 at last", "attempts": 3}  # fmt: skip
    data = failures_bytes(failure_table([row]))
    table = pq.read_table(pa.BufferReader(data))
    assert table.to_pylist()[0]["url"] == "https://x/a.tif"
    assert table.to_pylist()[0]["message"] == "403 for https://x/a.tif at last"
    assert table.to_pylist()[0]["attempts"] == 3
