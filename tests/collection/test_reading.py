"""`read`, `sample_points`, `chips` and the `get_*` calls of a collection and its views, against rasterio."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import shapely
import shapely.ops
from rasterio.features import geometry_mask
from rasterio.warp import transform, transform_geom
from rasterio.windows import Window

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from tests.collection.scenes import HEIGHT, ORIGINS, START, WIDTH, item, pixels_of, read, transform_of, write_cog

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's own
UTM = "EPSG:32643"


def lonlat(*points: tuple[float, float]) -> list[tuple[float, float]]:
    """Places given in columns and rows of tile 43PGQ, in degrees."""
    x, y = ORIGINS["43PGQ"]
    xs, ys = transform(UTM, "OGC:CRS84", [x + 10 * c for c, _ in points], [y - 10 * r for _, r in points])
    return list(zip(xs, ys, strict=True))


TRIANGLE = shapely.Polygon(lonlat((20.3, 30.7), (150.6, 60.2), (70.1, 200.4)))
SQUARE = shapely.Polygon(lonlat((100.3, 100.4), (180.2, 100.3), (180.4, 190.3), (100.2, 190.4)))


def outside(shape: Any, affine: Any, size: tuple[int, int], **options: Any) -> Any:
    moved = transform_geom("OGC:CRS84", UTM, shapely.geometry.mapping(shape))
    return geometry_mask([moved], out_shape=size, transform=affine, **options)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Sentinel-2-like scenes as Planetary Computer names their assets, with classes at 20 m and a picture."""
    directory = tmp_path_factory.mktemp("products")
    found = []
    for number in range(2):
        red, nir = (write_cog(directory / f"{n}_{number}.tif", pixels_of(number + 10 * k), transform_of("43PGQ"))
                    for k, n in enumerate(("B04", "B08")))  # fmt: skip
        classes = (pixels_of(90 + number) % 12).astype("u1")[: HEIGHT // 2, : WIDTH // 2]
        coarse = transform_of("43PGQ") * transform_of("43PGQ").scale(2)
        scl = write_cog(directory / f"SCL_{number}.tif", classes, coarse, predictor=1)
        visual = write_cog(
            directory / f"visual_{number}.tif", np.stack([pixels_of(200 + k) for k in range(3)]).astype("u1"),
            transform_of("43PGQ"),
        )  # fmt: skip
        band = {"type": "image/tiff; application=geotiff", "roles": ["data"]}
        names = [{"name": "r", "common_name": "red"}, {"name": "g", "common_name": "green"}, {"name": "b"}]
        assets = {
            "B04": {**band, "href": str(red), "eo:bands": [{"name": "B04", "common_name": "red"}]},
            "B08": {**band, "href": str(nir), "eo:bands": [{"name": "B08", "common_name": "nir"}]},
            "SCL": {**band, "href": str(scl)},
            "visual": {**band, "href": str(visual), "eo:bands": names},
        }
        when = START + timedelta(days=5 * number)
        properties = {"eo:cloud_cover": 50.0 - number, "s2:processing_baseline": "05.09"}
        found.append(item(f"s{number}", assets, when, collection="sentinel-2-l2a", **properties))
    rr.build(found, directory / "products.refs")
    return directory


@pytest.fixture
def product(products: Path) -> rr.Collection:
    return rr.open(products / "products.refs")


def hidden(directory: Path, number: int) -> Any:
    """Where the classes say cloud or shadow, in pixels of 10 m."""
    clouds = np.isin(read(directory / f"SCL_{number}.tif"), [3, 8, 9, 10])
    return clouds.repeat(2, 0).repeat(2, 1)


def whole(collection: rr.Collection) -> Any:
    """The grid of tile 43PGQ."""
    from odc.geo.geobox import GeoBox

    return GeoBox((HEIGHT, WIDTH), transform_of("43PGQ"), UTM)


def test_the_face_of_the_design_merges_masked_days_in_the_order_asked_for(product, products):
    west, south, east, north = SQUARE.bounds
    found = product.read(
        bbox=(west, south, east, north), assets=["B04"], groupby="solar_day", mask={"SCL": [3, 8, 9, 10]},
        order="eo:cloud_cover",
    )  # fmt: skip
    assert found.rio.crs.to_epsg() == 32643
    assert found.sizes["time"] == 2
    column, row = (round(v) for v in ~transform_of("43PGQ") * found.rio.transform()[2:6:3])
    window = np.s_[row : row + found.sizes["y"], column : column + found.sizes["x"]]
    for number in range(2):
        expected = np.where(hidden(products, number), 0, read(products / f"B04_{number}.tif"))[window]
        np.testing.assert_array_equal(found["B04"][number], expected)


def test_clouds_are_what_the_catalog_says_of_the_collection_and_masks_are_read_once(product, products, monkeypatch):
    asked: list[str] = []
    plan = type(product.reader).read_many

    def counting(self: Any, windows: Any) -> Any:
        asked.extend(window.array.path for window in windows if window.array.path.endswith("SCL"))
        return plan(self, windows)

    monkeypatch.setattr(type(product.reader), "read_many", counting)
    found = product.read(geobox=whole(product), assets=["B04", "B08"], mask="clouds", masked=True).load()
    assert len(asked) == 2  # one a scene, not one a scene and variable
    for band in ("B04", "B08"):
        expected = read(products / f"{band}_1.tif").astype("f4")
        expected[hidden(products, 1) | (expected == 0)] = np.nan
        np.testing.assert_array_equal(found[band][1], expected)


def test_clouds_without_any_asset_that_tells_of_them_are_refused(refs):
    with pytest.raises(QueryError, match=r"mask='clouds', found \['nir', 'red'\]|found \['red', 'nir'\]"):
        refs.read(bbox=(75.9, 13.5, 76, 13.6), mask="clouds")


def test_bands_are_found_by_common_name_alias_and_name_of_a_band(product, products):
    found = product.read(geobox=whole(product), bands=["nir", "B04", "green", "b"], groupby=None)
    assert list(found) == ["nir", "B04", "visual"]
    np.testing.assert_array_equal(found["nir"], read(products / "B08_0.tif"))
    with rasterio.open(products / "visual_0.tif") as file:
        np.testing.assert_array_equal(found["visual"], file.read([2, 3]))


def test_a_common_name_prefers_the_asset_of_that_one_band(product, products):
    found = product.read(geobox=whole(product), bands=["red"], groupby=None)
    np.testing.assert_array_equal(found["red"], read(products / "B04_0.tif"))


def test_assets_that_no_scene_of_a_view_has_are_left_out_unless_they_are_asked_for(tmp_path):
    paths = [str(write_cog(tmp_path / f"{n}.tif", pixels_of(n), transform_of("43PGQ"))) for n in range(2)]
    items = [item(f"s{n}", {["red", "thermal"][n]: paths[n]}, START + timedelta(days=n)) for n in range(2)]
    view = rr.build(items, tmp_path / "x.refs").select(["s0"])
    found = view.read(geobox=whole(view))
    assert list(found) == ["red"]
    np.testing.assert_array_equal(found["red"][0], pixels_of(0))
    with pytest.raises(QueryError, match="'thermal', found none"):
        view.read(geobox=whole(view), assets=["thermal"])


def test_a_name_that_several_bands_have_is_refused(tmp_path):
    band = {"type": "image/tiff", "roles": ["data"], "eo:bands": [{"name": "x", "common_name": "rededge"}]}
    path = str(write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ")))
    assets = {name: {**band, "href": path} for name in ("B05", "B06")}
    refs = rr.build([item("one", assets, START)], tmp_path / "x.refs")
    with pytest.raises(QueryError, match="'rededge', which may mean any of B05, B06"):
        refs.read(geobox=whole(refs), bands=["rededge"])


@pytest.mark.parametrize("touched", [False, True])
def test_a_geometry_clips(product, products, touched):
    found = product.read(geometry=TRIANGLE, assets=["B04"], all_touched=touched)
    size = (found.sizes["y"], found.sizes["x"])
    cut = outside(TRIANGLE, found.rio.transform(), size, all_touched=touched)
    column, row = (round(v) for v in ~transform_of("43PGQ") * found.rio.transform()[2:6:3])
    source = read(products / "B04_0.tif")[row : row + size[0], column : column + size[1]]
    np.testing.assert_array_equal(found["B04"][0], np.where(cut, 0, source))
    assert 0.3 < cut.mean() < 0.7
    masked = product.read(geometry=TRIANGLE, assets=["B04"], all_touched=touched, masked=True, chunks={"y": 40})
    np.testing.assert_array_equal(np.isnan(masked["B04"][0].to_numpy()), cut)


def test_a_geometry_clips_as_rioxarray_does_in_any_form(product):
    frame = geopandas.GeoSeries([TRIANGLE], crs=4326).to_crs(3857)
    expected = product.read(like=product.read(geometry=TRIANGLE), assets=["B04"]).rio.clip([TRIANGLE], 4326, drop=False)
    for form in (TRIANGLE, shapely.to_wkb(TRIANGLE), shapely.geometry.mapping(TRIANGLE), frame):
        found = product.read(geometry=form, assets=["B04"])
        np.testing.assert_array_equal(found["B04"], expected["B04"])


def test_scaled_mosaics_follow_the_rules_of_to_xarray(product, products):
    found = product.read(geobox=whole(product), assets=["B04"], scale=True)
    expected = (read(products / "B04_0.tif") * 0.0001 - 0.1).astype("f4")  # baseline 05.09: offset -1000
    np.testing.assert_allclose(found["B04"][0], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found["B04"], product.to_xarray("32643_600000_1500000_10", scale=True)["B04"])
    with pytest.raises(QueryError, match="expected scale"):
        product.read(geobox=whole(product), scale="guess")


def test_contradictory_scales_are_refused_in_mosaics_too(tmp_path):
    path = write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ"))
    red = {"href": str(path), "type": "image/tiff", "roles": ["data"], "raster:bands": [{"scale": 1e-4, "offset": 0}]}
    properties = {"s2:processing_baseline": "05.09"}
    refs = rr.build([item("odd", {"red": red}, START, collection="sentinel-2-l2a", **properties)], tmp_path / "x.refs")
    with pytest.raises(QueryError, match="odd, red: contradictory"):
        refs.read(geobox=whole(refs), scale=True)
    by_stac = refs.read(geobox=whole(refs), scale="stac")["red"][0]
    np.testing.assert_allclose(by_stac, pixels_of(1) / 10_000, atol=1e-6)


def test_views_read_their_own_scenes_only(refs, stac_items):
    hrefs = {one["id"]: one["assets"]["red"]["href"] for one in stac_items}
    names = sorted(name for name in hrefs if "43PGQ" in name)[:2]
    view = refs.select(names)
    found = view.read(bbox=SQUARE.bounds, assets=["red"])
    assert sorted(found.id.to_numpy().tolist()) == names
    place = lonlat((10.5, 20.5))
    sampled = view.sample_points(place, ["red"])
    assert sorted(sampled["id"].to_pylist()) == names
    for name, value in zip(sampled["id"].to_pylist(), sampled["red"].to_pylist(), strict=True):
        assert value == read(hrefs[name])[20, 10]
    chips = view.chips(64, assets=["red"])
    assert set(chips.table["id"].to_pylist()) == set(names)
    last = len(chips) - 1
    entry = chips.table.slice(last, 1).to_pylist()[0]
    with rasterio.open(hrefs[entry["id"]]) as file:
        expected = file.read(1, window=Window(entry["column"], entry["row"], 64, 64))
    np.testing.assert_array_equal(chips.read([last])["red"][0], expected)
    assert view.where('"eo:cloud_cover" < 0').scenes.num_rows == 0


@pytest.mark.parametrize("form", ["list", "arrow", "frame"])
def test_arrays_and_tables_of_geometries_are_what_rasterio_masks(product, products, form):
    shapes = [TRIANGLE, SQUARE]
    given: Any = {
        "list": shapes, "arrow": pa.array([shapely.to_wkb(one) for one in shapes]),
        "frame": geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs=4326).to_crs(32643),
    }[form]  # fmt: skip
    table = product.get_gdf(given, ["red", "nir"])
    assert table["geometry_id"].tolist() == [0, 0, 1, 1]
    assert table["id"].tolist() == ["s0", "s1", "s0", "s1"]
    assert table.crs.to_epsg() == 4326
    for _, row in table.iterrows():
        for band, file in (("red", "B04"), ("nir", "B08")):
            expected = masked_by_rasterio(products / f"{file}_{row['id'][1]}.tif", shapes[row["geometry_id"]])
            np.testing.assert_array_equal(row[band], expected)


def masked_by_rasterio(path: Path, shape: Any) -> Any:
    from rasterio.mask import mask

    with rasterio.open(path) as file:
        pixels, _ = mask(file, [transform_geom("OGC:CRS84", UTM, shapely.geometry.mapping(shape))], crop=True)
    return pixels[0]


def test_numpy_has_an_axis_of_bands_only_for_several(product, products):
    one = product.get_numpy(TRIANGLE, ["red"])
    two = product.get_numpy([TRIANGLE], ["nir", "red"])
    expected = masked_by_rasterio(products / "B04_1.tif", TRIANGLE)
    assert one.shape == (2, *expected.shape)
    assert two.shape == (2, 2, *expected.shape)
    assert one.dtype == np.uint16
    np.testing.assert_array_equal(one[1], expected)
    np.testing.assert_array_equal(two[:, 1], one)
    nan = product.get_numpy(TRIANGLE, ["red"], masked=True)
    np.testing.assert_array_equal(np.isnan(nan[1]), expected == 0)


def test_numpy_refuses_what_has_no_one_shape(product):
    with pytest.raises(QueryError, match=r"one shape.*get_gdf"):
        product.get_numpy([TRIANGLE, SQUARE], ["red"])
    with pytest.raises(QueryError, match="found none"):
        product.get_numpy((0, 0, 1, 1), ["red"])


def test_a_box_is_read_whole_and_beyond_the_edge_is_nodata(product, products):
    (west, south), (east, north) = lonlat((-10, 20), (30, 5))
    found = product.get_numpy((west, south, east, north), ["red"])[0]
    at = product.read((west, south, east, north), bands=["red"]).rio.transform()
    column, row = (round(v) for v in ~transform_of("43PGQ") * at[2:6:3])
    assert column < 0
    inside = read(products / "B04_0.tif")[row : row + found.shape[0], : found.shape[1] + column]
    np.testing.assert_array_equal(found[:, -column:], inside)
    assert not found[:, :-column].any()


def test_one_dataset_spans_all_geometries(product):
    found = product.get_xarray([TRIANGLE, SQUARE], ["red"], masked=True)
    cut = outside(shapely.union_all([TRIANGLE, SQUARE]), found.rio.transform(), found["red"].shape[1:])
    np.testing.assert_array_equal(np.isnan(found["red"][0].to_numpy()), cut)


@pytest.mark.parametrize("value", ["somewhere", {"type": "Nothing"}, 5])
def test_what_is_no_geometry_is_refused(product, value):
    with pytest.raises(QueryError, match="expected a geometry"):
        product.get_xarray(value, ["red"])


def test_geometries_in_another_crs_and_column_are_understood_and_tables_keep_their_columns(product):
    frame = geopandas.GeoDataFrame({"name": ["a"], "id": ["field 7"]}, geometry=[TRIANGLE], crs=4326)
    expected = product.get_numpy(frame, ["red"])
    metres = frame.to_crs(32643)
    table = pa.table({"shape": [shapely.to_wkb(metres.geometry[0])], "name": ["a"]})
    found = product.get_gdf(table, ["red"], geometry_crs=32643, geometry_column="shape")
    assert found["name"].tolist() == ["a", "a"]
    np.testing.assert_array_equal(np.stack(found["red"].tolist()), expected)
    assert product.get_gdf(frame, ["red"])["id"].tolist() == ["s0", "s1"]  # the scenes' own
    box = metres.total_bounds
    moved = product.get_xarray(tuple(box), ["red"], geometry_crs=32643, target_crs=4326, resolution=1e-4)
    assert moved.rio.crs.to_epsg() == 4326
    with pytest.raises(QueryError, match="column 'where'"):
        product.get_gdf(table, ["red"], geometry_column="where")


def test_what_is_kept_of_tiles_is_for_the_user_to_say(products, tmp_path):
    refs = rr.open(products / "products.refs", tile_cache=1 << 20, disk_cache=tmp_path / "tiles")
    assert refs.reader.cache.limit == 1 << 20
    assert refs.reader.disk_cache.directory == tmp_path / "tiles"
    assert refs.select(["s0"]).reader is refs.reader
    assert rr.open(products / "products.refs", tile_cache=0).reader.cache is None
