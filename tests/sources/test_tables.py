"""Tables with hrefs: files of all formats, frames in memory, filters, column mappings, STAC-GeoParquet."""

import datetime as dt
import json

import duckdb
import geopandas
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import shapely
import stac_geoparquet.arrow

from rasteret_refs.errors import AccessError, NotFoundError, QueryError, SourceError
from rasteret_refs.sources.resolve import resolve

UTC = dt.UTC


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "id": ["a", "b", "c"],
            "href": [f"https://data.example/{name}.tif" for name in "abc"],
            "datetime": pa.array(
                [dt.datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)], pa.timestamp("us", "UTC")
            ),
            "geometry": [shapely.to_wkb(shapely.box(x, 0, x + 1, 1)) for x in (0, 10, 20)],
            "cloud": [5, 50, 20],
            "split": ["train", "test", None],
        }
    )


def check(stream, expected="abc"):
    scenes = list(stream)
    assert [scene.id for scene in scenes] == list(expected)
    assert [scene.assets[0].href for scene in scenes] == [f"https://data.example/{name}.tif" for name in expected]
    return scenes


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow", "feather"])
def test_files_of_all_formats_are_read(table, tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    elif ending == "csv":
        pyarrow.csv.write_csv(table.drop_columns("geometry"), path)
    else:
        pyarrow.feather.write_feather(table, path)
    stream = resolve(path)
    scenes = check(stream)
    assert stream.axis == "time"
    assert stream.total == 3
    assert scenes[1].datetime == dt.datetime(2024, 1, 2, tzinfo=UTC)
    assert scenes[1].properties == {"cloud": 50, "split": "test"}
    if ending != "csv":
        assert shapely.from_wkb(scenes[1].geometry) == shapely.box(10, 0, 11, 1)


def test_frames_and_relations_in_memory_are_read(table):
    check(resolve(table))
    check(resolve(table.to_pandas().set_index("cloud")))
    check(resolve(pl.from_arrow(table)))
    check(resolve(pl.from_arrow(table).lazy()))
    with duckdb.connect() as connection:
        check(resolve(connection.from_arrow(table).order("id")))


def test_a_geodataframe_in_another_crs_gets_footprints_in_degrees(table):
    frame = geopandas.GeoDataFrame(
        table.drop_columns("geometry").to_pandas(),
        geometry=geopandas.GeoSeries.from_wkb(table.column("geometry").to_pylist(), crs=4326),
    )
    scenes = check(resolve(frame.to_crs(3857)))
    assert shapely.from_wkb(scenes[2].geometry).equals_exact(
        shapely.box(20, 0, 21, 1).normalize(), 1e-9, normalize=True
    )


def test_columns_are_mapped_and_the_others_kept(table):
    odd = table.rename_columns(["name", "file", "when", "shape", "cloud", "split"])
    stream = resolve(odd, columns={"id": "name", "href": "file", "datetime": "when", "geometry": "shape"})
    assert check(stream)[0].properties == {"cloud": 5, "split": "train"}


def test_several_href_columns_are_several_assets_with_holes(table):
    nir = pa.array(["https://data.example/a_nir.tif", None, ""])
    wide = table.append_column("nir", nir)
    scenes = list(resolve(wide, columns={"href": {"red": "href", "nir": "nir"}}))
    assert [[asset.name for asset in scene.assets] for scene in scenes] == [["red", "nir"], ["red"], ["red"]]
    same = list(resolve(wide, columns={"href.red": "href", "href.nir": "nir"}))
    assert [[asset.href for asset in scene.assets] for scene in same] == [
        [asset.href for asset in scene.assets] for scene in scenes
    ]
    scenes = list(resolve(wide.slice(0, 1), columns={"href": {"red": "href", "nir": "nir"}}, assets={"n": "nir"}))
    assert [asset.name for asset in scenes[0].assets] == ["n"]
    with pytest.raises(SourceError, match="swir"):
        resolve(wide, columns={"href": {"red": "href"}}, assets=["swir"])


def test_a_missing_mapped_column_names_those_that_there_are(table):
    with pytest.raises(SourceError, match=r"lacks id='nix'; it has id, href, datetime"):
        resolve(table, columns={"id": "nix"})
    with pytest.raises(SourceError, match="found colour"):
        resolve(table, columns={"colour": "id"})
    with pytest.raises(SourceError, match=r"column of hrefs.*id, cloud"):
        resolve(table.select(["id", "cloud"]))


def test_without_ids_the_file_names_give_them_and_without_times_the_axis_is_scene(table):
    stream = resolve(table.select(["href", "cloud"]))
    assert stream.axis == "scene"
    check(stream)


def test_rows_without_a_time_or_an_href_are_failures(table):
    broken = table.set_column(2, "datetime", pa.array([None, dt.datetime(2024, 1, 2, tzinfo=UTC), None]))
    broken = broken.set_column(1, "href", pa.array(["https://data.example/a.tif", "https://data.example/b.tif", None]))
    stream = resolve(broken, on_error="skip")
    check(stream, "b")
    assert [failure.scene for failure in stream.failures] == ["a", "c"]
    assert "'datetime'" in str(stream.failures[0].error)
    with pytest.raises(SourceError, match="a: expected a time"):
        list(resolve(broken))


def test_a_year_stands_for_its_whole_length(table):
    yearly = table.drop_columns("datetime").append_column("year", pa.array([2020, 2021, 2022]))
    scenes = list(resolve(yearly, columns={"datetime": "year", "end_datetime": "year"}))
    assert scenes[0].datetime == dt.datetime(2020, 1, 1, tzinfo=UTC)
    assert scenes[0].end_datetime == dt.datetime(2020, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    "where", ["cloud < 30 AND split IS NOT NULL", (pc.field("cloud") < 30) & pc.field("split").is_valid()]
)
def test_rows_are_filtered_by_sql_and_by_expressions(table, tmp_path, where):
    check(resolve(table, filter=where), "a")
    pq.write_table(table, tmp_path / "t.parquet")
    check(resolve(tmp_path / "t.parquet", filter=where), "a")


def test_a_filter_keeps_the_order_of_the_rows(table):
    many = pa.concat_tables([table] * 3000)
    assert [scene.id for scene in resolve(many, filter="cloud < 30")] == ["a", "c"] * 3000


@pytest.mark.parametrize("where", ["nope = 1", "cloud <", pc.field("nope") == 1, 7])
def test_a_filter_that_fits_no_column_is_refused(table, where):
    with pytest.raises(QueryError, match=r"cloud|int"):
        resolve(table, filter=where)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"bbox": (9, 0, 12, 1)}, "b"),
        ({"intersects": shapely.Point(20.5, 0.5)}, "c"),
        ({"datetime": "2024-01-02/.."}, "bc"),
        ({"query": {"split": {"eq": "train"}}}, "a"),
        ({"limit": 2}, "ab"),
    ],
)
def test_tables_are_searched_by_footprint_time_and_properties(table, search, expected):
    check(resolve(table, **search), expected)


@pytest.mark.parametrize("box", [(9, 0, 12, 1), (170, 0, 1, 1), (-180, -90, 180, 90), (40, 0, 50, 1)])
def test_a_covering_of_boxes_prunes_without_changing_what_is_found(table, tmp_path, box):
    boxes = [{"xmin": x, "ymin": 0.0, "xmax": x + 1.0, "ymax": 1.0} for x in (0.0, 10.0, 20.0)]
    covered = table.append_column("bbox", pa.array([*boxes[:2], None]))
    pq.write_table(covered, tmp_path / "t.parquet", row_group_size=1)
    expected = [scene.id for scene in resolve(table, bbox=box)]
    assert [scene.id for scene in resolve(tmp_path / "t.parquet", bbox=box)] == expected


def test_relative_hrefs_are_relative_to_the_table_and_rewritten(table, tmp_path):
    local = table.set_column(1, "href", pa.array([f"img/{name}.tif" for name in "abc"]))
    pq.write_table(local, tmp_path / "t.parquet")
    scenes = list(resolve(tmp_path / "t.parquet", url_rewrite={f"{tmp_path}/": "s3://mirror/"}))
    assert scenes[0].assets[0].href == "s3://mirror/img/a.tif"


def test_signed_and_paid_hrefs_are_treated_as_in_items(table):
    hrefs = [
        "https://x.blob.core.windows.net/a.tif?sig=SECRET&sv=1",
        "https://h/b.tif?token=SECRET",
        "s3://usgs-landsat/c.TIF",
    ]
    stream = resolve(table.set_column(1, "href", pa.array(hrefs)), on_error="skip")
    [scene] = stream
    assert scene.assets[0].href == "https://x.blob.core.windows.net/a.tif"
    assert [type(failure.error) for failure in stream.failures] == [SourceError, AccessError]
    assert "SECRET" not in "".join(str(failure.error) for failure in stream.failures)


def test_two_rows_of_one_id_are_both_kept(table):
    assert len(list(resolve(pa.concat_tables([table, table])))) == 6


def test_a_remote_table_is_read_by_ranges(table, server):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    url = server.put("tables/t.parquet", sink.getvalue().to_pybytes())
    check(resolve(url))
    check(resolve(url, filter=pc.field("cloud") == 50), "b")


def test_a_missing_or_wrong_table_is_named(tmp_path, server):
    with pytest.raises(NotFoundError, match=r"nix\.parquet"):
        resolve(tmp_path / "nix.parquet")
    (tmp_path / "odd.parquet").write_text("hello")
    with pytest.raises(SourceError, match=r"odd\.parquet"):
        resolve(tmp_path / "odd.parquet")
    url = server.put("x.txt", b"").rsplit("/", 1)[0]
    with pytest.raises(NotFoundError, match=r"gone\.parquet"):
        resolve(f"{url}/gone.parquet")


def test_collections_and_ids_mean_nothing_for_tables(table):
    with pytest.raises(SourceError, match="give a filter"):
        resolve(table, ids=["a"])


def test_stac_geoparquet_gives_the_scenes_of_its_items(stac_corpus, tmp_path):
    items = json.loads((stac_corpus / "stac-utils+stac-geoparquet__sentinel-1-rtc-pc.json").read_text())
    path = tmp_path / "items.parquet"
    stac_geoparquet.arrow.to_parquet(stac_geoparquet.arrow.parse_stac_items_to_arrow(items), path)
    stream = resolve(path)
    direct = {scene.id: scene for scene in resolve(items)}
    scenes = list(stream)
    assert len(scenes) == len(direct) == 4
    assert stream.axis == "time"
    for scene in scenes:
        other = direct[scene.id]
        assert {asset.name: asset.href for asset in scene.assets} == {asset.name: asset.href for asset in other.assets}
        assert (scene.datetime, scene.start_datetime, scene.collection) == (
            other.datetime,
            other.start_datetime,
            other.collection,
        )
        assert shapely.from_wkb(scene.geometry).equals(shapely.from_wkb(other.geometry))
        assert scene.assets[0].properties["raster:bands"][0]["nodata"] == -32768
        assert scene.properties["sat:orbit_state"] == other.properties["sat:orbit_state"]
    assert [[asset.name for asset in scene.assets] for scene in resolve(path, assets=["vv"])] == [["vv"]] * 4
    assert len(list(resolve(path, filter="id = '" + scenes[0].id + "'"))) == 1


def test_geometries_may_be_wkt_or_geojson(table):
    for texts in (["POINT (1 2)"] * 3, ['{"type": "Point", "coordinates": [1, 2]}'] * 3):
        changed = table.set_column(3, "geometry", pa.array(texts))
        assert shapely.from_wkb(next(iter(resolve(changed))).geometry) == shapely.Point(1, 2)
    with pytest.raises(SourceError, match="WKB, WKT or GeoJSON"):
        list(resolve(table.set_column(3, "geometry", pa.array(["nonsense"] * 3))))


def test_footprints_in_metres_are_refused_or_left_out(table, tmp_path):
    series = geopandas.GeoSeries.from_wkb(table.column("geometry").to_pylist(), crs=4326)
    frame = geopandas.GeoDataFrame(table.drop_columns("geometry").to_pandas(), geometry=series)
    frame.to_crs(3857).to_parquet(tmp_path / "metres.parquet")
    frame.to_parquet(tmp_path / "degrees.parquet")
    with pytest.raises(SourceError, match="Pseudo-Mercator"):
        resolve(tmp_path / "metres.parquet")
    assert check(resolve(tmp_path / "metres.parquet", columns={"geometry": None}))[0].geometry is None
    assert check(resolve(tmp_path / "degrees.parquet"))[0].geometry is not None
    with pytest.raises(SourceError, match=r"UTM zone 43N"):
        resolve(pa.table(frame.to_crs(32643).to_arrow()))


def test_times_of_pandas_may_be_missing(table):
    frame = table.to_pandas()
    frame.loc[1, "datetime"] = pd.NaT
    stream = resolve(frame, on_error="skip")
    check(stream, "ac")
    assert [failure.scene for failure in stream.failures] == ["b"]
