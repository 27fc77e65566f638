"""Saved views: sets of their own that every reader opens, made without a request; and scene tables that others read."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import stac_geoparquet.arrow
import xarray as xr

import rasteret_refs as rr
from rasteret_refs.errors import ExistsError, QueryError
from tests.collection.scenes import START, item, items, pixels_of, read, transform_of, write_cog
from tests.servers.range_server import serve


@pytest.mark.parametrize("layout", ["grids", "stack"])
def test_a_saved_view_holds_just_its_scenes_in_order_and_plain_readers_see_their_pixels(tmp_path, stac_items, layout):
    refs = rr.build(stac_items, tmp_path / "all.refs", layout=layout)
    view = refs.where('"eo:cloud_cover" < 30')
    saved = view.save(tmp_path / "saved.refs")
    assert sorted(saved.scenes["id"].to_pylist()) == sorted(view.scenes["id"].to_pylist())
    hrefs = {row["id"]: row["assets"] for row in saved.scenes.select(["id", "assets"]).to_pylist()}
    store, seen = rr.plain_store(saved.location), []
    for group in saved.groups:
        for factor in group.factors:
            path = f"{group.path}/factor_{factor}".strip("/")
            dataset = xr.open_zarr(store, group=path, consolidated=False, zarr_format=2, chunks=None)
            times = dataset["time"].to_numpy()
            assert bool((times[1:] >= times[:-1]).all())
            for position, name in enumerate(dataset["id"].to_numpy().tolist()):
                seen.append((name, factor))
                with rasterio.open(hrefs[name]["red"]["href"], **({"overview_level": 0} if factor > 1 else {})) as file:
                    assert np.array_equal(dataset["red"][position], file.read(1))
    assert sorted(seen) == sorted((name, factor) for name in hrefs for factor in (1, 2))
    assert saved.verify().files > 0
    for row in saved.scenes.to_pylist():
        one = saved.to_xarray(id=row["id"])
        assert np.array_equal(one["nir"], read(row["assets"]["nir"]["href"]))
        array = saved.reader.read(f"{row['refs:group']}/nir", (row["refs:index"],))
        assert np.array_equal(array, read(row["assets"]["nir"]["href"]))


def test_saving_asks_no_object_for_anything(tmp_path, stac_items):
    folder = Path(stac_items[0]["assets"]["red"]["href"]).parent
    with serve(folder) as server:
        moved = json.loads(json.dumps(stac_items).replace(f"{folder}/", server.url))
        refs = rr.build(moved, tmp_path / "all.refs", layout="grids")
        server.reset()
        saved = refs.where("id LIKE '%GQ%'").save(tmp_path / "saved.refs")
        saved.verify()
        assert server.stats().requests == 0
        assert np.array_equal(saved.to_xarray(id="S2A_43PGQ_000")["red"], read(stac_items[0]["assets"]["red"]["href"]))
        assert server.stats().requests > 0


def test_a_view_of_a_remote_set_is_saved_and_grows_on(location, tmp_path, stac_items):
    with serve(location.parent) as server:
        saved = rr.open(server.url + location.name).select(["S2A_43PGQ_004", "S2A_43PGQ_000"]).save(tmp_path / "s.refs")
    grown = saved.append(stac_items)
    assert len(grown) == 8
    for row in grown.scenes.select(["id", "assets"]).to_pylist():
        assert np.array_equal(grown.to_xarray(id=row["id"])["red"], read(row["assets"]["red"]["href"]))


def test_saving_twice_gives_the_same_bytes_and_an_existing_output_stays(refs, tmp_path):
    view = refs.where("id LIKE '%GQ%'")
    for name in ("a.refs", "b.refs"):
        view.save(tmp_path / name)
    left, right = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a.refs", "b.refs")
    )
    assert left == right
    with pytest.raises(ExistsError):
        view.save(tmp_path / "a.refs")
    view.select(["S2A_43PGQ_000"]).save(tmp_path / "a.refs", overwrite=True)
    assert len(rr.open(tmp_path / "a.refs")) == 1
    with pytest.raises(QueryError, match="without any"):
        refs.where("id = 'none'").save(tmp_path / "none.refs")
    assert not (tmp_path / "none.refs").exists()


def test_a_view_is_pushed_and_exported_with_just_its_scenes(refs, tmp_path):
    view = refs.where("id LIKE '%GQ%'").annotate({"id": ["S2A_43PGQ_000"], "kind": ["a"]})
    report = view.push(str(tmp_path / "public"), version="v1")
    pushed = rr.open(report.url)
    assert sorted(pushed.scenes["id"].to_pylist()) == sorted(view.scenes["id"].to_pylist())
    assert pushed.where("kind = 'a'").scenes["id"].to_pylist() == ["S2A_43PGQ_000"]
    assert np.array_equal(pushed.to_xarray()["red"].to_numpy(), view.to_xarray()["red"].to_numpy())
    told = view.export(tmp_path / "view.json").read_text()
    assert "S2A_43PGQ_002_red.tif" in told
    assert "S2A_43PHQ" not in told


def test_a_saved_view_weighs_what_its_scenes_weigh(tmp_path):
    refs = rr.build(items(tmp_path, count=10), tmp_path / "all.refs", layout="grids")
    saved = refs.where("id LIKE '%GQ%'").save(tmp_path / "half.refs")
    weights = [
        sum(path.stat().st_size for path in Path(c.location).rglob("*") if path.is_file()) for c in (saved, refs)
    ]
    assert weights[0] < 0.6 * weights[1]


@pytest.fixture(params=["built", "annotated", "saved"])
def table(request, own, tmp_path):
    """The scene table as each of its writers leaves it."""
    if request.param == "built":
        return Path(own.location) / "scenes.parquet"
    own.assign_splits()
    if request.param == "annotated":
        return Path(own.location) / "scenes.parquet"
    return Path(own.where("id LIKE '%GQ%'").save(tmp_path / "saved.refs").location) / "scenes.parquet"


def test_the_scene_table_passes_a_geoparquet_validator(table):
    program = shutil.which("geoparquet-validator", path=str(Path(sys.executable).parent)) or shutil.which(
        "geoparquet-validator"
    )
    if program is None:
        pytest.skip("the package geoparquet-validator is not installed")
    done = subprocess.run(
        [program, "check", "--json", str(table)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert '"fail"' not in done.stdout.lower().replace('"fail":0', "").replace('"fail": 0', "")


def test_items_of_the_scene_table_are_valid_stac(table):
    """Core schemas come with pystac: nothing is fetched."""
    found = list(stac_geoparquet.arrow.stac_table_to_items(pq.read_table(table)))
    assert len(found) == pq.read_metadata(table).num_rows > 0
    for one in found:
        checked = pystac.Item.from_dict(one)
        assert checked.validate() == ["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"]
        assert checked.collection_id == "scenes"


def test_duckdb_polars_and_geopandas_read_the_scene_table_as_it_is(table):
    count = pq.read_metadata(table).num_rows
    assert duckdb.sql(f"select count(*) from '{table}' where assets.red.href is not null").fetchall() == [(count,)]  # noqa: S608
    assert pl.read_parquet(table)["assets"].struct.field("red").struct.field("href").null_count() == 0
    frame = geopandas.read_parquet(table)
    assert frame.crs == "OGC:CRS84"
    assert frame.geometry.is_valid.all()
    bounds = frame.total_bounds
    assert len(geopandas.read_parquet(table, bbox=tuple(bounds))) == count
    assert len(geopandas.read_parquet(table, bbox=(bounds[0] - 2, bounds[1], bounds[0] - 1, bounds[3]))) == 0


def test_gdal_reads_the_scene_table_where_it_has_the_driver(table):
    pyogrio = pytest.importorskip("pyogrio")
    if "Parquet" not in pyogrio.list_drivers():
        pytest.skip("this GDAL has no Parquet driver")
    assert len(pyogrio.read_dataframe(table)) == pq.read_metadata(table).num_rows


def test_views_of_assets_in_several_profiles_are_saved_and_read_under_one_name(tmp_path):
    """JPEG tables, compression and predictor change from scene to scene."""
    jpeg = {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"}
    ways = [
        {**jpeg, "jpeg_quality": 75}, {**jpeg, "jpeg_quality": 90}, {"compress": "zstd", "interleave": "band"},
        {"compress": "lzw", "predictor": 1, "interleave": "pixel"}, {**jpeg, "jpeg_quality": 75},
    ]  # fmt: skip
    paths = []
    for number, way in enumerate(ways):
        smooth = np.kron(pixels_of(number)[:30, :26] % 256, np.ones((10, 10))).astype("uint8")
        planes = np.stack([smooth, smooth // 2, 255 - smooth])
        paths.append(write_cog(tmp_path / f"{number}.tif", planes, transform_of("43PGQ"), **{"predictor": 1, **way}))
    stac = [item(f"s{n}", {"visual": path}, START + timedelta(days=n), number=n) for n, path in enumerate(paths)]
    refs = rr.build(stac, tmp_path / "x.refs")
    for rows in ([0, 1, 2, 3, 4], [1, 2], [3]):
        view = refs.where(f"number IN ({', '.join(map(str, rows))})")
        saved = view.save(tmp_path / f"saved_{len(rows)}.refs")
        for collection in (view, saved):
            dataset = collection.to_xarray()
            assert list(dataset.data_vars) == ["visual"]
            for row, number in enumerate(rows):
                with rasterio.open(paths[number]) as file:
                    np.testing.assert_array_equal(dataset["visual"][row], file.read())
        saved.verify()
