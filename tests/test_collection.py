"""Collections: what `to_xarray` gives, against rasterio, rioxarray and odc-geo."""

import asyncio
import datetime as dt
import pickle

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers the accessor
from rasterio.transform import Affine, from_origin

import rasteret_refs as rr
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import QueryError, RasteretRefsError

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's

UTM = from_origin(600000, 1500000, 10, 10)


def write(path, *, seed=0, dtype="uint16", bands=1, size=(300, 200), transform=UTM, crs="EPSG:32643", nodata=None,
          overviews=(2,), scales=None, offsets=None, mask=None):  # fmt: skip
    width, height = size
    pixels = np.random.default_rng(seed).integers(1, 250, (bands, height, width)).astype(dtype)
    if nodata is not None and np.isfinite(nodata):
        pixels[:, :20, :30] = nodata
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": bands, "width": width, "height": height, "crs": crs,
        "transform": transform, "nodata": nodata, "tiled": True, "blockxsize": 128, "blockysize": 128,
        "compress": "deflate", "predictor": 3 if np.dtype(dtype).kind == "f" else 2,
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        if scales:
            file.scales = scales
            file.offsets = offsets
        if mask is not None:
            file.write_mask(mask)
        if overviews:
            file.build_overviews(overviews, rasterio.enums.Resampling.nearest)
    return path


def scene(name, path, **options):
    when = options.pop("datetime", None)
    return Scene(id=name, assets=(Asset(name=options.pop("asset", "image"), href=str(path)),), datetime=when)


def test_pixels_dtype_and_grid_are_those_of_the_tiff(tmp_path):
    path = write(tmp_path / "a.tif", dtype="int16")
    dataset = rr.build(path, tmp_path / "x.refs").to_xarray()
    assert dataset["image"].dtype == np.int16
    with rasterio.open(path) as file:
        assert np.array_equal(dataset["image"].isel(scene=0).to_numpy(), file.read(1))
        image = dataset["image"].isel(scene=0)
        assert image.rio.crs == file.crs
        assert image.rio.transform() == file.transform
        geobox = dataset.isel(scene=0).odc.geobox
        assert geobox.crs == file.crs.to_epsg()
        assert geobox.transform == file.transform
        assert geobox.shape == file.shape


def test_overviews_are_factors(tmp_path):
    path = write(tmp_path / "a.tif", overviews=(2, 4))
    collection = rr.build(path, tmp_path / "x.refs")
    assert collection.groups[0].factors == (1, 2, 4)
    for level, factor in enumerate((2, 4)):
        with rasterio.open(path, overview_level=level) as file:
            assert np.array_equal(collection.to_xarray(factor=factor)["image"][0], file.read(1))
    with pytest.raises(QueryError, match="factor"):
        collection.to_xarray(factor=3)


def test_scaling_and_masking_happen_only_when_asked(tmp_path):
    path = write(tmp_path / "a.tif", bands=2, nodata=0, scales=(0.5, 0.25), offsets=(-10.0, 3.0))
    collection = rr.build(path, tmp_path / "x.refs")
    with rasterio.open(path) as file:
        raw, masked = file.read(), file.read(masked=True)
        scales, offsets = np.array(file.scales)[:, None, None], np.array(file.offsets)[:, None, None]
    expected = raw * scales + offsets
    assert np.array_equal(collection.to_xarray()["image"][0], raw)
    found = collection.to_xarray(scale=True)["image"][0]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.astype("float32"))
    hidden = collection.to_xarray(masked=True)["image"][0]
    assert hidden.dtype == np.float32
    assert np.array_equal(hidden, masked.astype("float32").filled(np.nan), equal_nan=True)
    both = collection.to_xarray(masked=True, scale=True)["image"][0]
    assert np.array_equal(both, np.where(masked.mask, np.nan, expected).astype("float32"), equal_nan=True)


@pytest.mark.parametrize("chunks", [None, {}])
def test_scale_and_nodata_that_vary_by_scene_are_applied_scene_by_scene(tmp_path, chunks):
    cases = [(0, (0.5,), (1.0,)), (7, (0.1,), (-2.0,)), (None, None, None)]
    scenes, expected = [], []
    for number, (nodata, scales, offsets) in enumerate(cases):
        path = write(tmp_path / f"{number}.tif", seed=number, nodata=nodata, scales=scales, offsets=offsets)
        scenes.append(scene(str(number), path))
        with rasterio.open(path) as file:
            pixels = file.read(1, masked=True)
            values = pixels.data * file.scales[0] + file.offsets[0]
            expected.append(np.where(np.ma.getmaskarray(pixels), np.nan, values).astype("float32"))
    collection = rr.build(scenes, tmp_path / "x.refs", axis="scene")
    dataset = collection.to_xarray(scale=True, masked=True, chunks=chunks)
    assert (dataset["image"].chunks is None) == (chunks is None)
    assert np.array_equal(dataset["image"].to_numpy(), np.stack(expected), equal_nan=True)
    part = dataset["image"].isel(scene=[2, 0], y=slice(10, 40, 3), x=25)
    assert np.array_equal(part, np.stack(expected)[[2, 0], 10:40:3, 25], equal_nan=True)
    point = dataset["image"].isel(scene=1, y=5, x=299)
    assert float(point) == expected[1][5, 299]


@pytest.mark.parametrize("chunks", [None, {}])
def test_internal_masks_hide_pixels(tmp_path, chunks):
    mask = np.random.default_rng(1).integers(0, 2, (200, 300)).astype("uint8") * 255
    path = write(tmp_path / "a.tif", bands=3, dtype="uint8", mask=mask, overviews=())
    dataset = rr.build(path, tmp_path / "x.refs").to_xarray(masked=True, chunks=chunks)
    with rasterio.open(path) as file:
        expected = file.read(masked=True).astype("float32").filled(np.nan)
    assert np.array_equal(dataset["image"][0], expected, equal_nan=True)
    assert np.array_equal(dataset["image"][0, 1, 3:9, 7], expected[1, 3:9, 7], equal_nan=True)
    assert np.array_equal(dataset["image_mask"][0], mask)


def test_nan_nodata_and_wide_integers(tmp_path):
    deep = write(tmp_path / "deep.tif", dtype="int32", nodata=-5)
    wavy = write(tmp_path / "wavy.tif", dtype="float32", nodata=np.nan)
    for path, dtype in ((deep, "float64"), (wavy, "float32")):
        found = rr.build(path, tmp_path / "x.refs", overwrite=True).to_xarray(masked=True)["image"][0]
        with rasterio.open(path) as file:
            expected = file.read(1, masked=True).astype(dtype).filled(np.nan)
        assert found.dtype == dtype
        assert np.array_equal(found, expected, equal_nan=True)


def test_several_grids_must_be_chosen_from(tmp_path):
    paths = [write(tmp_path / "a.tif"), write(tmp_path / "b.tif", transform=from_origin(700000, 1500000, 10, 10))]
    collection = rr.build(paths, tmp_path / "x.refs", layout="grids")
    assert [group.scenes for group in collection.groups] == [1, 1]
    with pytest.raises(QueryError) as refusal:
        collection.to_xarray()
    for group in collection.groups:
        assert group.path in str(refusal.value)
        assert collection.to_xarray(group.path)["image"].shape == (1, 200, 300)
    with rasterio.open(paths[1]) as file:
        found = collection.to_xarray(id="b")["image"]
        assert np.array_equal(found, file.read(1))
        assert found.rio.transform() == file.transform


@pytest.mark.parametrize("factor", [1, 2])
def test_any_scene_of_a_stack_comes_georeferenced(tmp_path, factor):
    paths = {
        "a": write(tmp_path / "a.tif"),
        "b": write(tmp_path / "b.tif", seed=1, crs="EPSG:32644"),
        "c": write(tmp_path / "c.tif", seed=2, crs="EPSG:4326", transform=Affine(0.01, 0, 5, 0, 0.01, 40)),
        "d": write(tmp_path / "d.tif", seed=3, size=(280, 190)),
    }
    collection = rr.build([scene(name, path) for name, path in paths.items()], tmp_path / "x.refs", layout="stack",
                          tolerance=0.25, axis="scene")  # fmt: skip
    assert collection.refset.seal.layout == "stack"
    for name, path in paths.items():
        found = collection.to_xarray(id=name, factor=factor)["image"]
        options = {} if factor == 1 else {"overview_level": 0}
        with rasterio.open(path, **options) as file:
            assert np.array_equal(found, file.read(1))
            assert found.rio.crs == file.crs
            assert found.rio.transform().almost_equals(file.transform)


def test_scenes_with_times_stack_along_time(tmp_path):
    days = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (3, 1, 2)]
    scenes = [
        scene(f"s{n}", write(tmp_path / f"{n}.tif", seed=n), datetime=day, asset="red") for n, day in enumerate(days)
    ]
    dataset = rr.build(scenes, tmp_path / "x.refs").to_xarray()
    assert dataset["red"].dims == ("time", "y", "x")
    assert dataset["id"].to_numpy().tolist() == ["s1", "s2", "s0"]
    assert dataset["time"].to_numpy().astype("M8[D]").tolist() == [day.date() for day in sorted(days)]
    with rasterio.open(tmp_path / "2.tif") as file:
        assert np.array_equal(dataset["red"].sel(time="2024-01-02").squeeze(), file.read(1))


def test_the_same_sources_give_the_same_bytes(tmp_path):
    scenes = [scene(f"s{n}", write(tmp_path / f"{n}.tif", seed=n)) for n in range(5)]
    for name, order in (("one", scenes), ("two", scenes[::-1])):
        rr.build(order, tmp_path / f"{name}.refs", axis="scene")
    one, two = tmp_path / "one.refs", tmp_path / "two.refs"
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_dataset_survives_pickling_and_dask(tmp_path):
    path = write(tmp_path / "a.tif", nodata=0)
    collection = rr.build(path, tmp_path / "x.refs")
    lazy = collection.to_xarray(masked=True)
    again = pickle.loads(pickle.dumps(lazy))  # noqa: S301 - our own
    chunked = collection.to_xarray(masked=True, chunks={})
    assert np.array_equal(again["image"], lazy["image"], equal_nan=True)
    assert np.array_equal(chunked["image"].compute(scheduler="threads"), lazy["image"], equal_nan=True)


def test_collections_print_what_they_hold(tmp_path):
    collection = rr.build(write(tmp_path / "a.tif"), tmp_path / "x.refs")
    assert "1 scenes" in repr(collection)
    assert "EPSG:32643" in repr(collection)
    assert "<table>" in collection._repr_html_()
    assert len(collection) == 1
    assert collection.scenes["id"].to_pylist() == ["a"]


def test_build_and_reading_work_inside_a_running_event_loop(tmp_path):
    path = write(tmp_path / "a.tif")

    async def notebook():
        return rr.build(path, tmp_path / "x.refs").to_xarray()["image"].to_numpy()

    with rasterio.open(path) as file:
        assert np.array_equal(asyncio.run(notebook())[0], file.read(1))


def test_a_scene_without_a_time_among_timed_ones_is_refused_or_recorded(tmp_path):
    path = write(tmp_path / "a.tif")
    scenes = [scene("dated", path, datetime=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)), scene("undated", path)]
    with pytest.raises(RasteretRefsError, match="undated"):
        rr.build(scenes, tmp_path / "x.refs", axis="time")
    collection = rr.build(scenes, tmp_path / "x.refs", axis="time", on_error="skip")
    assert collection.scenes["id"].to_pylist() == ["dated"]
    assert [failure.scene for failure in collection.report.failures] == ["undated"]


def test_unknown_ids_are_named(tmp_path):
    collection = rr.build(write(tmp_path / "a.tif"), tmp_path / "x.refs")
    with pytest.raises(QueryError, match="nobody"):
        collection.to_xarray(id="nobody")


def test_a_set_is_opened_over_http_and_may_be_pinned(tmp_path, server):
    write(tmp_path / "a.tif")
    built = rr.build(f"{server.url}a.tif", tmp_path / "x.refs")
    collection = rr.open(f"{server.url}x.refs", sha256=built.refset.sha256)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert np.array_equal(collection.to_xarray()["image"][0], file.read(1))
    with pytest.raises(RasteretRefsError, match="sha256"):
        rr.open(f"{server.url}x.refs", sha256="0" * 64)
