"""Odd grids on odd targets, against GDAL: kernels, half pixels, the antimeridian, south-up and rotated images."""

import threading
import warnings
from datetime import UTC, datetime
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401 - registers .odc
import pytest
import rasterio
import rioxarray
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import SUPPORTED_RESAMPLING, reproject

import rasteret_refs as rr
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import QueryError
from rasteret_refs.read import clip, resample
from rasteret_refs.read.resample import METHODS
from tests.read.conftest import set_of

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's own
UTM = "EPSG:32643"
PLACE = Affine(10, 0, 600000, 0, -10, 1400000)


def noise(shape, dtype="u2", seed=0):
    return np.random.default_rng(seed).integers(1, 4000, shape).astype(dtype)


def write(path, pixels, transform=PLACE, crs=UTM, mask=None, **options):
    """Write (bands, rows, columns) as a tiled TIFF."""
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    profile = {
        "driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "width": pixels.shape[2],
        "height": pixels.shape[1], "crs": crs, "transform": transform, "tiled": True, "blockxsize": 128,
        "blockysize": 128, "compress": "deflate", **options,
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


@pytest.fixture
def make(tmp_path):
    """Build a set of images, one a scene; the asset is called `image`."""

    def build(*images: Any, **options: Any) -> rr.Collection:
        paths = [
            str(write(tmp_path / f"{n}.tif", pixels, **options, **more)) for n, (pixels, more) in enumerate(images)
        ]
        return rr.build(paths, tmp_path / "x.refs")

    return build


def gdal(pixels, geobox, method="nearest", *, transform=PLACE, crs=UTM, nodata=None):
    """The whole image onto the whole grid in one piece."""
    out = np.full((*pixels.shape[:-2], *geobox.shape), 0 if nodata is None else nodata, pixels.dtype)
    reproject(
        pixels, out, src_transform=transform, src_crs=crs, dst_transform=geobox.affine, dst_crs=str(geobox.crs),
        resampling=Resampling[method], src_nodata=nodata, dst_nodata=nodata,
    )  # fmt: skip
    return out


def test_the_methods_are_those_of_gdals_warper():
    assert set(METHODS) == {method.name for method in SUPPORTED_RESAMPLING}


@pytest.mark.parametrize("method", ["bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode"])
@pytest.mark.parametrize("size", [3e-5, 6.3e-4])
def test_kernels_have_all_pixels_that_they_look_at(make, method, size):
    pixels = noise((700, 700))
    refs = make((pixels, {"nodata": 0}))
    geobox = GeoBox.from_bbox((75.94, 12.62, 75.955, 12.63), "EPSG:4326", resolution=size)
    found = refs.read(geobox=geobox, resampling=method)["image"][0]
    np.testing.assert_array_equal(found, gdal(pixels, geobox, method, nodata=0))


@pytest.mark.parametrize("shift", [0.3, 0.5, 0.7, 1.5])
def test_nearest_takes_the_pixel_that_holds_the_centre(make, shift):
    pixels = noise((300, 300))
    geobox = GeoBox((200, 200), PLACE @ Affine.translation(20 + shift, 30 + shift), UTM)
    found = make((pixels, {})).read(geobox=geobox)["image"][0]
    np.testing.assert_array_equal(found, gdal(pixels, geobox))


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_south_up_images_lie_the_right_way_on_north_up_grids(make, dtype):
    south = Affine(10, 0, 600000, 0, 10, 1400000)
    pixels = noise((300, 500), dtype)
    refs = make((pixels, {"transform": south}))
    geobox = GeoBox((280, 480), Affine(10, 0, 600100, 0, -10, 1402900), UTM)
    found = refs.read(geobox=geobox)["image"][0]
    np.testing.assert_array_equal(found, pixels[10:290, 10:490][::-1])
    np.testing.assert_array_equal(refs.read(like=refs.to_xarray())["image"][0], pixels)


def test_rotated_images_are_warped_onto_straight_grids_and_moved_on_their_own(make):
    turned = PLACE @ Affine.rotation(30)
    pixels = noise((400, 400))
    refs = make((pixels, {"transform": turned, "nodata": 0}))
    geobox = GeoBox((300, 300), Affine(10, 0, 600500, 0, -10, 1401000), UTM)
    expected = gdal(pixels, geobox, transform=turned, nodata=0)
    np.testing.assert_array_equal(refs.read(geobox=geobox)["image"][0], expected)
    own = GeoBox((100, 100), turned @ Affine.translation(20, 30), UTM)
    np.testing.assert_array_equal(refs.read(geobox=own)["image"][0], pixels[30:130, 20:120])


SIDES = noise((400, 800), seed=3)
"""One degree on either side of the antimeridian."""


@pytest.fixture
def pacific(make):
    degree = Affine(1 / 400, 0, 179, 0, -1 / 400, -16)
    west, east = degree, Affine(1 / 400, 0, -180, 0, -1 / 400, -16)
    halves = [(SIDES[:, :400], {"transform": west}), (SIDES[:, 400:], {"transform": east})]
    return make(*halves, crs="EPSG:4326", nodata=0)


@pytest.mark.parametrize(
    "area",
    [
        (179.5, -16.8, -179.5, -16.2),
        (179.5, -16.8, 180.5, -16.2),
        (-180.5, -16.8, -179.5, -16.2),
        shapely.union(shapely.box(179.5, -16.8, 180, -16.2), shapely.box(-180, -16.8, -179.5, -16.2)),
    ],
)
def test_an_area_across_the_antimeridian_is_one_area(pacific, area):
    how = {"geometry": area} if isinstance(area, shapely.Geometry) else {"bbox": area}
    found = pacific.read(**how, groupby=None)["image"]
    np.testing.assert_array_equal(found, SIDES[80:320, 200:600])


def test_metres_reach_both_sides_of_the_antimeridian(pacific):
    found = pacific.read((179.5, -16.8, -179.5, -16.2), groupby=None, crs="utm", resolution=300)["image"]
    assert found.spatial_ref.attrs["crs_wkt"].startswith('PROJCRS["WGS 84 / UTM zone 1S')
    geobox = found.odc.geobox
    east = Affine(1 / 400, 0, 179, 0, -1 / 400, -16)
    expected = gdal(SIDES, geobox, transform=east, crs="EPSG:4326", nodata=0)
    assert (found.to_numpy() == expected).mean() > 0.99  # GDAL approximates, an eighth of a pixel at most
    assert (found.to_numpy() != 0).mean() > 0.95


def test_a_zone_at_the_antimeridian_is_read_in_degrees_beyond_it(make):
    place = Affine(100, 0, 140000, 0, -100, 8230000)
    pixels = noise((800, 800))
    refs = make((pixels, {"transform": place, "crs": "EPSG:32701", "nodata": 0}))
    found = refs.read((180.0, -16.5, 180.4, -16.1), crs=4326, resolution=0.001)["image"]
    assert found.sizes["scene"] == 1
    expected = gdal(pixels, found.odc.geobox, transform=place, crs="EPSG:32701", nodata=0)
    assert (expected != 0).mean() > 0.9
    assert (found[0].to_numpy() == expected).mean() > 0.98


def test_images_that_count_from_0_to_360_degrees_are_read_around_greenwich(make):
    pixels = noise((180, 360))
    refs = make((pixels, {"transform": Affine(1, 0, 0, 0, -1, 90), "crs": "EPSG:4326"}))
    found = refs.read((-10, -10, 10, 10), groupby=None)["image"]
    np.testing.assert_array_equal(found, np.hstack([pixels, pixels])[80:100, 350:370])


def test_pixels_that_the_tiff_masks_take_no_part_in_resampling(make):
    pixels, mask = np.full((300, 300), 100, "u1"), np.full((300, 300), 255, "u1")
    mask[100:150, 100:200] = 0
    pixels[mask == 0] = 255
    geobox = GeoBox((250, 250), Affine(11, 0, 600003, 0, -11, 1399997), UTM)
    found = (
        make((pixels, {"mask": mask})).read(geobox=geobox, resampling="bilinear", masked=True)["image"][0].to_numpy()
    )
    assert np.unique(found[~np.isnan(found)]).tolist() == [100]
    assert 0.04 < np.isnan(found).mean() < 0.08


@pytest.mark.parametrize("nodata", [None, 2**62 + 1])
def test_64_bit_integers_keep_all_their_bits(make, nodata):
    pixels = np.random.default_rng(0).integers(2**61, 2**63, (256, 256))
    geobox = GeoBox((200, 200), Affine(11, 0, 600003, 0, -11, 1399997), UTM)
    rows, columns = ((np.floor((offset + 11 * (np.arange(200) + 0.5)) / 10)).astype(int) for offset in (3, 3))
    found = make((pixels, {"nodata": nodata} if nodata else {})).read(geobox=geobox)["image"][0]
    np.testing.assert_array_equal(found, pixels[np.ix_(rows, columns)])


def in_the_next_zone(size=10.0):
    """A grid around 600² pixels of `PLACE`."""
    return GeoBox((int(7500 / size), int(7500 / size)), Affine(size, 0, -52900, 0, -size, 1405900), "EPSG:32644")


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "lanczos", "average", "sum"])
@pytest.mark.parametrize("size", [7.0, 10.0, 23.0])
def test_pixels_of_another_crs_are_the_same_in_any_chunks(make, method, size):
    refs = make((noise((600, 600)), {"nodata": 0}))
    how = {"geobox": in_the_next_zone(size), "resampling": method}
    whole = refs.read(**how)["image"].to_numpy()
    for y, x in ((30, 2000), (2000, 41), (57, 113)):
        np.testing.assert_array_equal(refs.read(**how, chunks={"y": y, "x": x})["image"], whole)
    np.testing.assert_array_equal(refs.read(**how)["image"][:, 100:103, 90:200:7], whole[:, 100:103, 90:200:7])


@pytest.mark.parametrize("times", [2, 4, 6])
def test_nearest_takes_the_pixel_that_begins_at_the_centre_however_degrees_are_rounded(make, times):
    place = Affine(1 / 12000, 0, 77.123, 0, -1 / 12000, 12.987)
    pixels = noise((300, 420))
    refs = make((pixels, {"transform": place, "crs": "EPSG:4326", "nodata": 0}))
    geobox = GeoBox((300 // times, 420 // times), place @ Affine.scale(times), "EPSG:4326")
    expected = pixels[times // 2 :: times, times // 2 :: times]
    np.testing.assert_array_equal(refs.read(geobox=geobox)["image"][0], expected)
    np.testing.assert_array_equal(refs.read(geobox=geobox, chunks={"y": 17, "x": 23})["image"][0], expected)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", ["u2", "i8"])
def test_windows_take_the_image_s_own_way_from_datum_to_datum(make, method, dtype):
    """From NAD27 to WGS 84 there is one way for Canada and others for the United States, 13 m apart."""
    place, crs = Affine(60, 0, 400_000, 0, -60, 5_480_000), "EPSG:26710"
    pixels = noise((2000, 2000), dtype)
    refs = make((pixels, {"transform": place, "crs": crs, "compress": "zstd"}))
    for row in (100, 300, 1000, 1600):
        for column in (100, 1600):
            geobox = GeoBox((60, 70), place @ Affine.translation(column, row), "EPSG:32610")
            found = refs.read(geobox=geobox, resampling=method)["image"][0]
            np.testing.assert_array_equal(found, gdal(pixels, geobox, method, transform=place, crs=crs))


def test_wide_targets_are_warped_in_spans_that_no_chunk_shifts(make, monkeypatch):
    monkeypatch.setattr(resample, "SPAN", 128)
    monkeypatch.setattr(resample, "PIECE_BYTES", 100_000)
    bands = noise((3, 600, 600))
    refs, geobox = make((bands, {"nodata": 0})), in_the_next_zone()
    whole = refs.read(geobox=geobox)["image"].to_numpy()
    np.testing.assert_array_equal(refs.read(geobox=geobox, chunks={"y": 57, "x": 113})["image"], whole)
    assert (whole[0] == gdal(bands, geobox, nodata=0)).mean() > 0.97  # an eighth of a pixel at most


def test_masks_of_another_crs_hide_the_same_pixels_in_any_chunks(tmp_path):
    write(tmp_path / "red.tif", noise((600, 600)), nodata=0)
    write(tmp_path / "scl.tif", (noise((300, 300)) % 12).astype("u1"), PLACE @ Affine.scale(2))
    assets = tuple(Asset(name=name, href=str(tmp_path / f"{name}.tif")) for name in ("red", "scl"))
    refs = set_of([Scene(id="a", datetime=datetime(2024, 1, 1, tzinfo=UTC), assets=assets)], tmp_path / "x.refs")
    how = {"geobox": in_the_next_zone(), "mask": {"scl": [3, 8, 9]}, "resampling": "bilinear"}
    whole = refs.read(**how)["red"].to_numpy()
    np.testing.assert_array_equal(refs.read(**how, chunks={"y": 57, "x": 113})["red"], whole)
    assert 0.1 < (whole == 0).mean() < 0.6


@pytest.mark.parametrize("all_touched", [False, True])
def test_geometries_clip_the_same_pixels_in_any_chunks(make, monkeypatch, all_touched):
    refs = make((noise((300, 400)), {"nodata": 0}))
    corners = [(75.921, 12.641), (75.95, 12.65), (75.93, 12.664)]  # edges run through centres of pixels
    how = {"geometry": shapely.Polygon(corners), "crs": 4326, "resolution": 0.0001, "all_touched": all_touched}
    whole = refs.read(**how)["image"].to_numpy()
    np.testing.assert_array_equal(refs.read(**how, chunks={"y": 37, "x": 53})["image"], whole)
    monkeypatch.setattr(clip, "_PIECE", 64)
    np.testing.assert_array_equal(refs.read(**how)["image"], refs.read(**how, chunks={"y": 37, "x": 53})["image"])
    assert (refs.read(**how)["image"].to_numpy() == whole).mean() > 0.999


def test_what_is_read_like_something_has_its_very_coordinates(make, tmp_path):
    pixels = noise((300, 400))
    refs = make((pixels, {"nodata": 0}))
    other = rioxarray.open_rasterio(tmp_path / "0.tif").rio.reproject("EPSG:4326")
    found = refs.read(like=other)["image"][0]
    np.testing.assert_array_equal(found.x, other.x)
    np.testing.assert_array_equal(found.y, other.y)
    assert (found.astype(int) - other[0]).shape == other.shape[1:]
    geobox = GeoBox.from_bbox((75.92, 12.63, 75.95, 12.66), "EPSG:4326", resolution=0.0001)
    found = refs.read(geobox=geobox)
    np.testing.assert_array_equal(found.y, geobox.coordinates["latitude"].values)
    np.testing.assert_array_equal(found.x, geobox.coordinates["longitude"].values)


def test_ways_that_do_not_exist_are_refused_before_anything_is_read(make):
    refs = make((noise((256, 256)), {}))
    with pytest.raises(QueryError, match="found 'gauss'"):
        refs.read(geobox=GeoBox((20, 20), PLACE, UTM), resampling="gauss")
    with pytest.raises(QueryError, match=r"by assets among .*'image'.*found 'imgae'"):
        refs.read(geobox=GeoBox((20, 20), PLACE, UTM), resampling={"imgae": "nearest"})


def test_warping_in_threads_changes_no_filter_of_warnings(make):
    refs = make((noise((600, 600)), {}), (noise((600, 600), seed=1), {}))
    geobox = GeoBox.from_bbox((75.93, 12.61, 75.97, 12.65), "EPSG:4326", resolution=0.0002)
    triangle = shapely.Polygon([(75.93, 12.61), (75.97, 12.61), (75.93, 12.65)])
    found: list[Any] = []

    def read() -> None:
        found.extend(refs.read(geobox=geobox, geometry=triangle)["image"].to_numpy() for _ in range(3))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before
    assert [str(one.message) for one in seen if "geotransform" in str(one.message)] == []
    assert all(np.array_equal(one, found[0]) for one in found)
