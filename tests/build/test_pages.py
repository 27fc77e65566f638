"""Further full-resolution pages of a TIFF are assets of the scene table, found by reads, SQL and tiles."""

import datetime as dt

import duckdb
import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from odc.geo.geobox import GeoBox

import rasteret_refs as rr
from rasteret_refs.build.append import append
from rasteret_refs.build.merge import merge
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene

GRID = GeoBox((96, 96), Affine(10, 0, 600000, 0, -10, 1500000), "EPSG:32643")
GEOTIFF = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 600000.0, 1500000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32643), True),
]


@pytest.fixture
def paths(tmp_path):
    """Two files of two pages each, on one grid; rasterio sees a page as a subdataset."""
    found = []
    for number in range(2):
        path = tmp_path / f"{number}.tif"
        with tifffile.TiffWriter(path) as file:
            for page in range(2):
                pixels = np.arange(96 * 96, dtype="uint16").reshape(96, 96) + 10000 * number + 20000 * page
                file.write(pixels, tile=(32, 32), compression="zlib", extratags=GEOTIFF, metadata=None)
        found.append(path)
    return found


def scene(path):
    when = dt.datetime(2024, 1, 1 + int(path.stem), tzinfo=dt.UTC)
    return Scene(id=f"s{path.stem}", assets=(Asset(name="red", href=str(path)),), datetime=when)


@pytest.fixture
def out(paths, tmp_path):
    build([scene(path) for path in paths], tmp_path / "x.refs")
    return tmp_path / "x.refs"


def test_a_further_page_is_an_asset_of_its_own_in_the_scene_table(out, paths):
    query = f"""
        select id, assets.red.href, assets.red_1.href, assets.red_1."refs:page", assets.red_1."refs:array"
        from '{out}/scenes.parquet' order by id
    """  # noqa: S608
    assert duckdb.sql(query).fetchall() == [(f"s{n}", str(p), str(p), 1, "red_1") for n, p in enumerate(paths)]


def test_reads_find_the_pixels_of_a_further_page(out, paths):
    for asset, page in (("red", 1), ("red_1", 2)):
        found = rr.open(out).read(geobox=GRID, assets=[asset])[asset]
        for number, path in enumerate(paths):
            with rasterio.open(f"GTIFF_DIR:{page}:{path}") as file:
                np.testing.assert_array_equal(found[number].to_numpy().squeeze(), file.read(1))


def test_tiles_of_a_further_page_can_be_selected(out):
    tiles = rr.open(out).tiles().read_all()
    assert sorted(set(tiles["asset"].to_pylist())) == ["red", "red_1"]


def test_a_set_with_further_pages_grows_without_repeating_them(out, paths, tmp_path):
    report = append([scene(path) for path in paths], out)
    assert (report.known, report.appended) == (2, ())
    third = tmp_path / "2.tif"
    third.write_bytes(paths[0].read_bytes())
    append([scene(third)], out)
    other = tmp_path / "other.refs"
    fourth = tmp_path / "3.tif"
    fourth.write_bytes(paths[1].read_bytes())
    build([scene(fourth)], other)
    merge(out, rr.open(other).refset)
    refs = rr.open(out)
    pages = [row["red_1"]["refs:page"] for row in refs.scenes["assets"].to_pylist()]
    assert pages == [1, 1, 1, 1]
    assert list(refs.scenes["assets"].type.names) == ["red", "red_1"]
    assert refs.verify().files
    refs.select(["s3"]).save(tmp_path / "view.refs")
    with rasterio.open(f"GTIFF_DIR:2:{fourth}") as file:
        saved = rr.open(tmp_path / "view.refs").read(geobox=GRID, assets=["red_1"])["red_1"]
        np.testing.assert_array_equal(saved[0].to_numpy().squeeze(), file.read(1))
