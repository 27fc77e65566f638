"""Views: table and arrays always tell of the same scenes, whatever narrowed them."""

import pickle
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import shapely

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.tombstones import drop_scenes
from tests.collection.scenes import START, item, items, pixels_of, read, transform_of, write_cog
from tests.servers.range_server import serve


def rows_of(location: Path, condition: str) -> list[str]:
    """Ids by DuckDB."""
    query = f"select id from '{location}/scenes.parquet' where {condition} order by id"  # noqa: S608
    return [name for (name,) in duckdb.sql(query).fetchall()]


def assert_consistent(view: rr.Collection) -> None:
    """Each grid's dataset holds just the view's scenes of that grid, by time, with the pixels that rasterio reads."""
    seen = []
    hrefs = {row["id"]: row["assets"] for row in view.scenes.select(["id", "assets"]).to_pylist()}
    for group in view.groups:
        dataset = view.to_xarray(group.path)
        assert dataset.sizes["time"] == group.scenes
        assert bool((np.diff(dataset["time"].to_numpy()) >= np.timedelta64(0, "ns")).all())
        for position, name in enumerate(dataset["id"].to_numpy().tolist()):
            seen.append(name)
            for band in ("red", "nir"):
                assert np.array_equal(dataset[band][position], read(hrefs[name][band]["href"]))
    assert sorted(seen) == sorted(hrefs)


@pytest.mark.parametrize(
    ("cql2", "sql"),
    [
        ('"eo:cloud_cover" < 15', '"eo:cloud_cover" < 15'),
        ("eo:cloud_cover < 15 AND id LIKE '%GQ%'", "\"eo:cloud_cover\" < 15 and id like '%GQ%'"),
        ("platform = 'sentinel-2a'", "platform = 'sentinel-2a'"),
        ("NOT id IN ('S2A_43PGQ_000')", "id not in ('S2A_43PGQ_000')"),
    ],
)
def test_a_condition_selects_the_rows_that_duckdb_selects_and_just_their_pixels(refs, location, cql2, sql):
    view = refs.where(cql2)
    assert sorted(view.scenes["id"].to_pylist()) == rows_of(location, sql)
    assert len(view) == view.scenes.num_rows
    assert_consistent(view)


def test_an_arrow_expression_is_a_condition_too(refs, location):
    view = refs.where(pc.field("eo:cloud_cover") >= 15)
    assert sorted(view.scenes["id"].to_pylist()) == rows_of(location, '"eo:cloud_cover" >= 15')


def test_views_of_views_narrow_further_and_leave_their_origin_as_it_is(refs):
    clear = refs.where('"eo:cloud_cover" < 30')
    both = clear.select(["S2A_43PGQ_000", "S2A_43PHQ_001"]).subset(platform="sentinel-2a")
    assert sorted(both.scenes["id"].to_pylist()) == ["S2A_43PGQ_000", "S2A_43PHQ_001"]
    assert_consistent(both)
    assert len(refs) == 8
    assert both.reader is refs.reader
    with pytest.raises(QueryError, match="S2A_43PHQ_003"):
        both.select(["S2A_43PHQ_003"])


def test_a_view_of_one_grid_needs_no_group_and_one_of_several_names_them(refs):
    assert refs.where("id LIKE '%43PGQ%'").to_xarray()["id"].to_numpy().tolist() == [
        f"S2A_43PGQ_{number:03d}" for number in (6, 4, 2, 0)
    ]
    with pytest.raises(QueryError) as refusal:
        refs.where('"eo:cloud_cover" >= 0').to_xarray()
    assert all(group.path in str(refusal.value) for group in refs.groups)
    other = refs.to_xarray(id="S2A_43PHQ_001")
    assert "S2A_43PHQ_001" in str(other["id"].to_numpy())
    grid = refs.where("id LIKE '%43PHQ%'").groups[0].path
    with pytest.raises(QueryError, match="scenes of this view"):
        refs.where("id LIKE '%43PGQ%'").to_xarray(grid)
    with pytest.raises(QueryError, match="without any"):
        refs.where("id = 'none'").to_xarray()


def test_overviews_and_dask_show_the_view_s_scenes(refs):
    view = refs.select(["S2A_43PGQ_004", "S2A_43PGQ_000"])
    coarse = view.to_xarray(factor=2)
    assert coarse["id"].to_numpy().tolist() == ["S2A_43PGQ_004", "S2A_43PGQ_000"]
    chunked = view.to_xarray(chunks={})
    assert chunked["red"].chunks is not None
    assert np.array_equal(chunked["red"].to_numpy(), view.to_xarray()["red"].to_numpy())


def test_places_select_what_shapely_selects(refs):
    footprints = {row["id"]: shapely.from_wkb(row["geometry"]) for row in refs.scenes.to_pylist()}
    box = shapely.box(*footprints["S2A_43PHQ_001"].centroid.buffer(0.001).bounds)
    expected = sorted(name for name, shape in footprints.items() if shape.intersects(box))
    assert 0 < len(expected) < 8
    for view in (
        refs.subset(bbox=box.bounds),
        refs.subset(intersects=box),
        refs.subset(geometry=shapely.geometry.mapping(box)),
        refs.subset(intersects={"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(box)}),
    ):
        assert sorted(view.scenes["id"].to_pylist()) == expected
    assert len(refs.subset(bbox=(170, -10, -170, 10))) == 0
    assert len(refs.subset(bbox=(70, -10, -170, 60))) == 8  # across the antimeridian
    with pytest.raises(QueryError, match="bbox"):
        refs.subset(bbox=(1, 2, 3))
    with pytest.raises(QueryError, match="GeoJSON"):
        refs.subset(intersects="POINT (1 2)")


def test_times_and_values_select_what_duckdb_selects(refs, location):
    middle = START + timedelta(days=5 * 96)
    sql = f"datetime <= timestamptz '{middle.isoformat()}'"
    expected = rows_of(location, sql)
    assert 0 < len(expected) < 8
    for when in (f"../{middle.isoformat()}", (None, middle), (None, middle.replace(tzinfo=None))):
        assert sorted(refs.subset(datetime=when).scenes["id"].to_pylist()) == expected
    day = middle.date().isoformat()
    assert refs.subset(datetime=day).scenes["id"].to_pylist() == rows_of(location, f"datetime::date = '{day}'")
    values = refs.subset(**{"eo:cloud_cover": [0, 7, None]})
    assert sorted(values.scenes["id"].to_pylist()) == rows_of(location, '"eo:cloud_cover" in (0, 7)')
    assert len(refs.subset(platform="sentinel-2b")) == 0
    with pytest.raises(QueryError, match="cloud_cover"):
        refs.subset(cloud_cover=3)
    with pytest.raises(QueryError, match="ends after it begins"):
        refs.subset(datetime=(middle, START))


def test_an_expression_that_names_no_column_names_near_ones(refs):
    with pytest.raises(QueryError, match="did you mean"):
        refs.where("platfrm = 'sentinel-2a'")
    with pytest.raises(QueryError, match="CQL2"):
        refs.where("platform ==== 3")


def test_latest_keeps_one_of_each_set_of_duplicates(tmp_path):
    path = write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ"))
    when = datetime(2024, 1, 1, 5, 30, tzinfo=UTC)
    stac = [
        item("first", {"red": path}, when, created="2024-01-01T08:00:00Z"),
        item("again", {"red": path}, when + timedelta(seconds=0.5), created="2024-03-01T08:00:00Z"),
        item("other-day", {"red": path}, when + timedelta(days=5), created="2024-01-06T08:00:00Z"),
        item("other-platform", {"red": path}, when, platform="sentinel-2b", created="2024-01-01T08:00:00Z"),
    ]
    refs = rr.build(stac, tmp_path / "x.refs")
    assert sorted(refs.latest().scenes["id"].to_pylist()) == ["again", "other-day", "other-platform"]
    assert len(refs) == 4
    assert sorted(refs.latest(within=0).scenes["id"].to_pylist()) == sorted(refs.scenes["id"].to_pylist())
    wide = refs.latest(by=["collection"], within=10 * 86400)
    assert wide.scenes["id"].to_pylist() == ["again"]
    with pytest.raises(QueryError, match="no column"):
        refs.latest(by=["nothing"])


def test_scenes_of_one_id_are_told_apart_and_latest_picks_one(tmp_path):
    paths = [write_cog(tmp_path / f"{k}.tif", pixels_of(k), transform_of("43PGQ")) for k in range(2)]
    stac = [
        item("twice", {"red": paths[0]}, START, updated="2024-03-01T00:00:00Z"),
        item("twice", {"red": paths[1]}, START + timedelta(hours=1), updated="2024-05-01T00:00:00Z"),
    ]
    refs = rr.build(stac, tmp_path / "x.refs")
    assert len(refs) == 2
    latest = refs.latest()
    assert len(latest) == 1
    assert np.array_equal(latest.to_xarray()["red"][0], pixels_of(1))


def test_dropped_scenes_are_in_no_view_and_no_dataset(own):
    grid = own.where("id LIKE '%GQ%'").groups[0].path
    place = Path(own.location)
    with staged(place, overwrite=True) as directory:
        drop_scenes(place, directory, ["S2A_43PGQ_002"])
    refs = rr.open(place)
    assert len(refs) == 7
    assert refs.to_xarray(grid)["id"].to_numpy().tolist() == [f"S2A_43PGQ_{number:03d}" for number in (6, 4, 0)]
    assert_consistent(refs)
    with pytest.raises(QueryError, match="S2A_43PGQ_002"):
        refs.to_xarray(id="S2A_43PGQ_002")


@pytest.mark.parametrize("layout", ["grids", "stack"])
def test_views_work_in_both_layouts_and_where_assets_lack_or_lie_in_other_grids(tmp_path, layout):
    stac = items(tmp_path, count=4)
    del stac[2]["assets"]["nir"]
    coarse = write_cog(tmp_path / "scl.tif", pixels_of(5)[::2, ::2].copy(), transform_of("43PGQ") @ scaled(2))
    stac[0]["assets"]["scl"] = {**stac[0]["assets"]["red"], "href": str(coarse)}
    refs = rr.build(stac, tmp_path / "x.refs", layout=layout)
    view = refs.select([stac[0]["id"], stac[3]["id"]])
    found = {}
    for group in view.groups:
        dataset = view.to_xarray(group.path)
        for position, name in enumerate(dataset["id"].to_numpy().tolist()):
            for band in set(dataset.data_vars) & {"red", "nir", "scl"}:
                found[name, band] = dataset[band][position].to_numpy()
    expected = {(one["id"], band): asset["href"] for one in (stac[0], stac[3]) for band, asset in one["assets"].items()}
    assert {key for key in expected if key in found} == set(expected)
    for key, href in expected.items():
        assert np.array_equal(found[key], read(href)), key


def scaled(factor):
    from rasterio.transform import Affine

    return Affine.scale(factor)


def test_a_view_of_a_set_behind_http_reads_only_its_scenes(location):
    with serve(location.parent) as server:
        view = rr.open(server.url + location.name).where("id LIKE '%GQ%'")
        assert view.to_xarray()["id"].to_numpy().tolist()[-1] == "S2A_43PGQ_000"


def test_views_travel_to_other_processes(refs):
    view = refs.where("id LIKE '%GQ%'")
    again = pickle.loads(pickle.dumps(view))  # noqa: S301 - our own bytes
    assert again.scenes["id"].to_pylist() == view.scenes["id"].to_pylist()
    assert np.array_equal(again.to_xarray()["red"][0, :5, :5], view.to_xarray()["red"][0, :5, :5])


def test_a_collection_shows_its_grids_and_a_map_without_the_network(refs):
    view = refs.where("id LIKE '%GQ%'")
    assert "View of" in repr(view)
    assert "4 scenes" in repr(view)
    html = view._repr_html_()
    assert html.count("<path ") == 1  # four scenes of one footprint
    addresses = set(re.findall(r"https?://[^\"'<> ]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert refs._repr_html_().count("<path ") == 2
    assert "<svg" not in refs.where("id = 'none'")._repr_html_()


def test_columns_of_a_view_stay_arrow(refs):
    assert isinstance(refs.where("id LIKE '%GQ%'").scenes, pa.Table)
