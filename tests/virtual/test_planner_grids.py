"""Plans of the `grids` layout, opened by plain xarray and compared with rasterio."""

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import odc.geo.xr
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin
from rioxarray.enum import Convention

from rasteret_refs.virtual.planner import plan
from tests.virtual.plain_refs import opened, references, scene_of
from tests.virtual.tiffs import UTM, pixels, read, write

assert odc.geo.xr  # registers the accessor

# odc-geo and rioxarray still multiply affines by `*`.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def test_scenes_of_one_grid_stack_by_time_at_the_root_with_their_overviews(tmp_path):
    paths = [write(tmp_path / f"{i}.tif", pixels(i, (1, 130, 150)), overviews=(2, 4), **UTM) for i in range(3)]
    times = ["2024-01-03T10:00:00.5", "2024-01-01T10:00:00.123456", "2024-01-02"]
    planned = plan([scene_of({"red": p}, f"s{i}", t) for i, (p, t) in enumerate(zip(paths, times, strict=True))])
    assert [group.path for group in planned.groups] == ["", "factor_1", "factor_2", "factor_4"]
    assert [(p.scene_id, p.array, p.index) for p in planned.placements] == [
        ("s1", "red", 0),
        ("s2", "red", 1),
        ("s0", "red", 2),
    ]
    for factor, level in ((1, None), (2, 0), (4, 1)):
        dataset = opened(planned, f"factor_{factor}")
        assert dataset.red.dims == ("time", "y", "x")
        assert dataset.red.dtype == np.uint16
        assert dataset.id.values.tolist() == ["s1", "s2", "s0"]
        expected = np.array([times[1], times[2], times[0]], "datetime64[us]")
        np.testing.assert_array_equal(dataset.time.values.astype("datetime64[us]"), expected)
        for row, number in enumerate((1, 2, 0)):
            np.testing.assert_array_equal(dataset.red[row].values, read(paths[number], level, 1))


@pytest.mark.parametrize("level", [None, 0])
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32643", from_origin(600000, 1500000, 10, 10)),
        ("EPSG:4326", from_origin(77.123456789, 13.1, 1 / 3600, 1 / 3600)),
        ("EPSG:4326", Affine(0.1, 0, 5, 0, 0.1, -3)),
        (
            "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m",
            from_origin(-1111950.5, 4447802.1, 463.3127165, 463.3127165),
        ),
    ],
)
def test_rioxarray_and_odc_find_the_crs_and_transform_that_rasterio_says(tmp_path, crs, transform, level):
    path = write(tmp_path / "a.tif", pixels(0, (1, 131, 151)), overviews=(2,), crs=crs, transform=transform)
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1" if level is None else "factor_2")
    with rasterio.open(path, **({} if level is None else {"overview_level": level})) as source:
        for found in (dataset.rio.crs, dataset.a.rio.crs, rasterio.crs.CRS.from_wkt(dataset.odc.crs.to_wkt())):
            assert found == source.crs
        assert dataset.a.rio.transform(recalc=False) == source.transform
        np.testing.assert_allclose(dataset.odc.geobox.affine[:6], source.transform[:6], rtol=1e-9)
        assert dataset.a.attrs["spatial:transform"] == list(source.transform[:6])
        assert dataset.a.attrs["spatial:bbox"] == pytest.approx(
            [
                source.bounds.left,
                min(source.bounds.bottom, source.bounds.top),
                source.bounds.right,
                max(source.bounds.bottom, source.bounds.top),
            ]
        )
    reference = rioxarray.open_rasterio(path, **({} if level is None else {"overview_level": level}))
    np.testing.assert_array_equal(dataset.x.values, reference.x.values)
    np.testing.assert_array_equal(dataset.y.values, reference.y.values)


def test_the_zarr_conventions_alone_give_crs_and_transform(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    bare = xr.DataArray(
        np.zeros((70, 80)),
        dims=("y", "x"),
        attrs={name: value for name, value in dataset.a.attrs.items() if ":" in name or name == "zarr_conventions"},
    )
    with rioxarray.set_options(convention=Convention.ZARR):
        assert bare.rio.crs.to_epsg() == 32643
        assert bare.rio.transform() == UTM["transform"]


def test_rotated_images_have_a_transform_but_no_axes(tmp_path):
    transform = Affine.translation(600000, 1500000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), crs="EPSG:32643", transform=transform)
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    assert "x" not in dataset.coords
    assert "y" not in dataset.coords
    with rasterio.open(path) as source:
        assert dataset.rio.transform(recalc=False) == source.transform
        assert dataset.odc.geobox.affine == source.transform
        assert dataset.rio.crs == source.crs


def test_ungeoreferenced_images_have_neither_axes_nor_spatial_ref(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)))
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    assert set(dataset.coords) == {"id"}
    assert not {"grid_mapping", "spatial:transform", "proj:code"} & set(dataset.a.attrs)


def test_ground_control_points_are_kept_without_a_transform(tmp_path):
    points = [
        GroundControlPoint(row, col, 70 + col / 100, 10 - row / 100, 5.0)
        for row, col in ((0, 0), (0, 80), (70, 0), (70, 80))
    ]
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), gcps=points, crs="EPSG:4326")
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    assert set(dataset.coords) == {"id"}
    assert rasterio.crs.CRS.from_wkt(dataset.a.attrs["gdal"]["gcps_crs"]).to_epsg() == 4326
    assert dataset.a.attrs["gdal"]["gcps"] == [[p.col, p.row, p.x, p.y, p.z] for p in points]
    assert not {"spatial:transform", "proj:code", "grid_mapping"} & set(dataset.a.attrs)


def test_two_grids_have_a_group_each_named_by_crs_corner_and_resolution(tmp_path):
    coarse = {"crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 20, 20)}
    red = write(tmp_path / "r.tif", pixels(0, (1, 128, 128)), **UTM)
    swir = write(tmp_path / "s.tif", pixels(1, (1, 64, 64)), **coarse)
    planned = plan([scene_of({"red": red, "swir": swir}, "s", "2024-01-01")])
    names = ["32643_600000_1500000_10", "32643_600000_1500000_20"]
    assert [group.path for group in planned.groups] == [
        "",
        names[0],
        f"{names[0]}/factor_1",
        names[1],
        f"{names[1]}/factor_1",
    ]
    np.testing.assert_array_equal(opened(planned, f"{names[0]}/factor_1").red[0].values, read(red, band=1))
    np.testing.assert_array_equal(opened(planned, f"{names[1]}/factor_1").swir[0].values, read(swir, band=1))


def test_grids_that_share_a_label_are_told_apart_by_their_shape(tmp_path):
    paths = [write(tmp_path / f"{n}.tif", pixels(n, (1, n, n)), **UTM) for n in (128, 64)]
    planned = plan([scene_of({"a": path}, str(i)) for i, path in enumerate(paths)], axis="scene")
    tops = [group.path for group in planned.groups if "multiscales" in group.attributes]
    assert tops == ["32643_600000_1500000_10", "32643_600000_1500000_10__64x64"]


def test_a_scene_without_an_asset_reads_as_nodata_there_and_nothing_is_missing(tmp_path):
    paths = [write(tmp_path / f"{i}.tif", pixels(i, (1, 130, 150)), nodata=7, **UTM) for i in range(3)]
    planned = plan(
        [
            scene_of({"red": paths[0]}, "a", "2024-01-01"),
            scene_of({"nir": paths[1]}, "b", "2024-01-02"),
            scene_of({"red": paths[2], "nir": paths[1]}, "c", "2024-01-03"),
        ]
    )
    dataset = opened(planned, "factor_1")
    np.testing.assert_array_equal(dataset.red[0].values, read(paths[0], band=1))
    assert (dataset.red[1].values == 7).all()
    assert (dataset.nir[0].values == 7).all()
    np.testing.assert_array_equal(dataset.nir[2].values, read(paths[1], band=1))
    keys = [key for key in references(planned) if key.startswith("factor_1/red/") and ".z" not in key]
    assert len(keys) == 3 * 3 * 3
    red = next(array for array in planned.groups[1].arrays if array.name == "red")
    assert len(red.manifest.inlined) == 1


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", float("nan")), ("float32", -9999.0), ("uint8", None), ("int16", -1)]
)
def test_sparse_tiles_read_as_rasterio_reads_them(tmp_path, dtype, nodata):
    path = tmp_path / "a.tif"
    profile = {
        "driver": "GTiff",
        "width": 200,
        "height": 200,
        "count": 1,
        "dtype": dtype,
        "tiled": True,
        "blockxsize": 64,
    }
    with rasterio.open(
        path, "w", **profile, blockysize=64, SPARSE_OK=True, nodata=nodata, compress="deflate", **UTM
    ) as file:
        file.write(pixels(0, (64, 64), dtype), 1, window=rasterio.windows.Window(64, 64, 64, 64))
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    np.testing.assert_array_equal(dataset.a[0].values, read(path, band=1))
    assert dataset.a.dtype == dtype


@pytest.mark.parametrize("nodata", [None, 7])
def test_sparse_tiles_of_overviews_read_as_rasterio_reads_them(tmp_path, nodata):
    data = np.zeros((1, 512, 512), "uint16") + (nodata or 0)
    data[0, :100, :100] = 5
    path = tmp_path / "a.tif"
    profile = {"driver": "COG", "width": 512, "height": 512, "count": 1, "dtype": "uint16", "blocksize": 128}
    with rasterio.open(path, "w", **profile, compress="deflate", SPARSE_OK=True, nodata=nodata, **UTM) as file:
        file.write(data)
    planned = plan([scene_of({"a": path})], axis="scene")
    assert all(group.arrays[0].manifest.inline is not None for group in planned.groups[1:3])
    for factor, level in ((1, None), (2, 0)):
        np.testing.assert_array_equal(opened(planned, f"factor_{factor}").a[0].values, read(path, level, 1))


def test_an_asset_in_very_many_profiles_has_a_group_for_each_instead_of_holes(tmp_path):
    paths = [
        write(tmp_path / f"{i}.tif", pixels(i, (1, 70, 80)), blockysize=16 * (i + 1), blockxsize=64, **UTM)
        for i in range(17)
    ]
    planned = plan([scene_of({"a": path}, str(i)) for i, path in enumerate(paths)], axis="scene")
    assert len({p.group for p in planned.placements}) == 17
    assert {p.array for p in planned.placements} == {"a"}
    for placement, path in zip(sorted(planned.placements, key=lambda p: int(p.scene_id)), paths, strict=True):
        np.testing.assert_array_equal(opened(planned, placement.group).a[0].values, read(path, band=1))


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_bands_have_a_dimension_with_their_descriptions(tmp_path, interleave):
    data = pixels(0, (3, 130, 150), "uint8")
    path = write(
        tmp_path / "a.tif", data, interleave=interleave, descriptions=("red", "", "red"), overviews=(2,), **UTM
    )
    planned = plan([scene_of({"image": path})], axis="scene")
    dataset = opened(planned, "factor_1")
    assert dataset.image.dims == ("scene", "band", "y", "x")
    assert dataset.band.values.tolist() == ["red_1", "band_2", "red_3"]
    assert planned.groups[1].arrays[0].chunks == ((1, 3, 64, 64) if interleave == "pixel" else (1, 1, 64, 64))
    np.testing.assert_array_equal(dataset.image[0].values, read(path))
    np.testing.assert_array_equal(opened(planned, "factor_2").image[0].values, read(path, 0))


def test_assets_with_different_band_counts_share_a_group_with_a_band_dimension_each(tmp_path):
    rgb = write(tmp_path / "rgb.tif", pixels(0, (3, 70, 80), "uint8"), **UTM)
    four = write(tmp_path / "four.tif", pixels(1, (4, 70, 80), "uint8"), **UTM)
    one = write(tmp_path / "one.tif", pixels(2, (1, 70, 80), "uint8"), **UTM)
    dataset = opened(plan([scene_of({"rgb": rgb, "four": four, "one": one})], axis="scene"), "factor_1")
    assert dataset.rgb.dims == ("scene", "rgb_band", "y", "x")
    assert dataset.four.dims == ("scene", "four_band", "y", "x")
    assert dataset.one.dims == ("scene", "y", "x")
    assert dataset.four_band.values.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(dataset.four[0].values, read(four))


def test_band_names_that_contradict_each_other_give_way_to_numbers(tmp_path):
    paths = [
        write(tmp_path / f"{i}.tif", pixels(i, (2, 70, 80), "uint8"), descriptions=names, **UTM)
        for i, names in enumerate((("red", "nir"), ("nir", "red")))
    ]
    dataset = opened(plan([scene_of({"a": path}, str(i)) for i, path in enumerate(paths)], axis="scene"), "factor_1")
    assert dataset.band.values.tolist() == [1, 2]


def test_overviews_of_one_factor_but_other_sizes_go_to_groups_of_their_own(tmp_path):
    up = write(tmp_path / "up.tif", pixels(0, (1, 129, 129)), overviews=(2,), **UTM)
    down = tmp_path / "down.tif"
    profile = {"driver": "COG", "width": 129, "height": 129, "count": 1, "dtype": "uint16", "blocksize": 128}
    with rasterio.open(down, "w", **profile, compress="deflate", overview_count=1, **UTM) as file:
        file.write(pixels(1, (1, 129, 129)))
    with rasterio.open(down, overview_level=0) as file:
        assert file.shape == (64, 64)
    planned = plan([scene_of({"up": up, "down": down}, str(i)) for i in range(2)], axis="scene")
    assert {group.path for group in planned.groups} == {"", "factor_1", "factor_2", "factor_2__64x64"}
    np.testing.assert_array_equal(opened(planned, "factor_2").up[1].values, read(up, 0, 1))
    np.testing.assert_array_equal(opened(planned, "factor_2__64x64").down[0].values, read(down, 0, 1))
    assert next(p for p in planned.placements if p.asset == "down").levels[1] == (2, "factor_2__64x64", "down")


def test_an_asset_in_two_profiles_becomes_two_arrays_with_holes(tmp_path):
    paths = [
        write(tmp_path / f"{i}.tif", pixels(i, (1, 70, 80)), compress=c, **UTM)
        for i, c in enumerate(("deflate", "lzw", "deflate"))
    ]
    planned = plan([scene_of({"a": path}, str(i)) for i, path in enumerate(paths)], axis="scene")
    dataset = opened(planned, "factor_1")
    names = [p.array for p in planned.placements]
    assert names[0] == names[2] == "a"
    assert names[1].startswith("a__")
    for row, (name, path) in enumerate(zip(names, paths, strict=True)):
        np.testing.assert_array_equal(dataset[name][row].values, read(path, band=1))
    assert (dataset["a"][1].values == 0).all()


def test_masks_of_images_and_overviews_equal_rasterios(tmp_path):
    mask = np.where(pixels(9, (130, 150)) > 60, 255, 0).astype("uint8")
    masked = write(tmp_path / "m.tif", pixels(0, (3, 130, 150), "uint8"), mask=mask, overviews=(2,), **UTM)
    plain = write(tmp_path / "p.tif", pixels(1, (3, 130, 150), "uint8"), overviews=(2,), **UTM)
    other = write(tmp_path / "o.tif", pixels(1, (3, 130, 150), "uint8"), overviews=(2,), **UTM)
    planned = plan(
        [scene_of({"a": masked}, "0"), scene_of({"a": plain}, "1"), scene_of({"b": other}, "2")], axis="scene"
    )
    for factor, level in ((1, None), (2, 0)):
        dataset = opened(planned, f"factor_{factor}")
        assert dataset.a_mask.dtype == np.uint8
        for row, path in enumerate((masked, plain)):
            with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
                np.testing.assert_array_equal(dataset.a_mask[row].values, file.dataset_mask())
        assert (dataset.a_mask[2].values == 0).all()


def test_further_pages_have_names_and_groups_of_their_own(tmp_path):
    path = tmp_path / "pages.tif"
    write(path, pixels(0, (1, 70, 80)), **UTM)
    write(path, pixels(1, (1, 50, 60)), APPEND_SUBDATASET="YES", **UTM)
    planned = plan([scene_of({"image": path})], axis="scene")
    assert [p.array for p in planned.placements] == ["image", "image_1"]
    second = planned.placements[1]
    np.testing.assert_array_equal(
        opened(planned, second.group)["image_1"][0].values, read(f"GTIFF_DIR:2:{path}", band=1)
    )


def test_metadata_is_nested_per_band_and_never_changes_the_dtype(tmp_path):
    path = write(
        tmp_path / "a.tif",
        pixels(0, (2, 70, 80), "int16"),
        nodata=-1,
        scales=(0.1, 0.2),
        offsets=(1, 2),
        tags={"scale_factor": "3", "AUTHOR": "x"},
        **UTM,
    )
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    gdal = dataset.a.attrs["gdal"]
    assert dataset.a.dtype == np.int16
    assert dataset.a.attrs["nodata"] == -1
    assert dataset.a.rio.nodata == -1
    assert [(band["scale"], band["offset"]) for band in gdal["bands"]] == [(0.1, 1.0), (0.2, 2.0)]
    assert gdal["metadata"]["AUTHOR"] == "x"
    assert not {"_FillValue", "scale_factor", "add_offset", "missing_value"} & set(dataset.a.attrs)


def test_nodata_that_json_or_the_dtype_cannot_hold_is_text(tmp_path):
    nan = write(tmp_path / "nan.tif", pixels(0, (1, 70, 80), "float32"), nodata=float("nan"), **UTM)
    beyond = write(tmp_path / "beyond.tif", pixels(0, (1, 70, 80), "uint8"), **UTM)
    with rasterio.open(beyond, "r+") as file:
        file.nodata = 255
    data = beyond.read_bytes()
    beyond.write_bytes(data.replace(b"255\x00", b"-99\x00"))
    dataset = opened(plan([scene_of({"nan": nan, "beyond": beyond})], axis="scene"), "factor_1")
    assert dataset.nan.attrs["nodata"] == "NaN"
    assert np.isnan(dataset.nan.rio.nodata)
    assert np.isnan(dataset.nan.odc.nodata)
    assert "nodata" not in dataset.beyond.attrs
    assert dataset.beyond.attrs["gdal"]["nodata_text"] == "-99"
    assert dataset.beyond.rio.nodata is None


def test_what_varies_by_scene_becomes_coordinates(tmp_path):
    paths = [
        write(tmp_path / f"{i}.tif", pixels(i, (1, 70, 80)), scales=(scale,), offsets=(0.5,), nodata=nodata, **UTM)
        for i, (scale, nodata) in enumerate(((0.1, 0), (0.2, 0), (0.1, None)))
    ]
    dataset = opened(plan([scene_of({"a": path}, str(i)) for i, path in enumerate(paths)], axis="scene"), "factor_1")
    assert dataset.a_scale.values.tolist() == [0.1, 0.2, 0.1]
    np.testing.assert_array_equal(dataset.a_nodata.values, [0, 0, np.nan])
    assert "a_offset" not in dataset.coords
    assert "nodata" not in dataset.a.attrs
    assert dataset.a.attrs["gdal"]["bands"] == [{"offset": 0.5}]
    assert set(dataset.data_vars) == {"a"}


def test_a_palette_becomes_a_colour_table_as_rasterio_reads_it(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80), "uint8"), photometric="palette", **UTM)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {value: (value, 255 - value, value // 2, 255) for value in range(256)})
    dataset = opened(plan([scene_of({"a": path})], axis="scene"), "factor_1")
    with rasterio.open(path) as file:
        expected = [list(color[:3]) for _, color in sorted(file.colormap(1).items())]
    assert dataset.a.attrs["gdal"]["color_table"] == expected


def test_scene_columns_become_coordinates_that_select(tmp_path):
    paths = [write(tmp_path / f"{i}.tif", pixels(i, (1, 70, 80)), **UTM) for i in range(3)]
    scenes = [scene_of({"a": path}, f"s{i}", f"2024-01-0{3 - i}") for i, path in enumerate(paths)]
    columns = {
        "split": np.array(["train", None, "test"], object),
        "label": np.array([1, 2, 3]),
        "good": np.array([True, False, True]),
        "seen": [datetime(2024, 1, day, 12, tzinfo=timezone(timedelta(hours=2))) for day in (1, 2, 3)],
    }
    dataset = opened(plan(scenes, scene_columns=columns), "factor_1")
    assert dataset.split.values.tolist() == ["test", "", "train"]
    assert dataset.label.values.tolist() == [3, 2, 1]
    assert dataset.good.values.tolist() == [True, False, True]
    assert dataset.seen.values.astype("datetime64[h]").astype(str).tolist() == [f"2024-01-0{d}T10" for d in (3, 2, 1)]
    train = dataset.where(dataset.split.compute() == "train", drop=True)
    np.testing.assert_array_equal(train.a[0].values, read(paths[0], band=1))
    assert (dataset * 2).a.shape == (3, 70, 80)


def test_the_parent_describes_its_resolutions_as_multiscales(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 130, 150)), overviews=(2, 4), **UTM)
    attributes = json.loads(references(plan([scene_of({"a": path})], axis="scene"))[".zattrs"])
    layout = attributes["multiscales"]["layout"]
    assert [item["asset"] for item in layout] == ["factor_1", "factor_2", "factor_4"]
    for item, level in zip(layout, (None, 0, 1), strict=True):
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
            assert item["spatial:transform"] == list(file.transform[:6])
            assert item["spatial:shape"] == list(file.shape)
    assert {found["name"] for found in attributes["zarr_conventions"]} == {"multiscales", "spatial:", "proj:"}
