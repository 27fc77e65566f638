"""Mosaics over grids, CRSs and times: against rasterio's WarpedVRT and plain NumPy."""

import pickle
from datetime import UTC, datetime

import numpy as np
import odc.geo.xr  # noqa: F401 - registers .odc
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import QueryError
from tests.read.conftest import noise, set_of, write_cog

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's own

EAST = 600000.0 + 10 * 400
"""Origin of the second tile: it overlaps the first by 200 of 600 columns."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two tiles of one CRS on two days, and one of the neighbouring zone; red at 10 m, classes at 20 m."""
    directory = tmp_path_factory.mktemp("mosaic")
    places = {
        "a1": (600000.0, "EPSG:32643", 1), "b1": (EAST, "EPSG:32643", 1), "a2": (600000.0, "EPSG:32643", 2),
        "z1": (-49000.0, "EPSG:32644", 1),
    }  # fmt: skip
    found = {}
    for number, (name, (x, crs, day)) in enumerate(places.items()):
        red = noise((1, 600, 600), seed=number)
        red[0, :, :50] = 0
        classes = (noise((1, 300, 300), seed=50 + number) % 12).astype("u1")
        found[name] = (
            write_cog(directory / f"{name}_red.tif", red, origin=(x, 1500000.0), crs=crs, nodata=0),
            write_cog(directory / f"{name}_scl.tif", classes, origin=(x, 1500000.0), crs=crs, pixel=20.0, nodata=0),
            day,
        )
    return found


@pytest.fixture(scope="module", params=["grids", "stack"])
def collection(request, files, tmp_path_factory):
    scenes = [
        Scene(
            id=name,
            datetime=datetime(2024, 1, day, 5, 30, number, tzinfo=UTC),
            assets=(Asset(name="red", href=str(red)), Asset(name="scl", href=str(scl))),
            properties={"eo:cloud_cover": float(10 - number), "tile": name[0]},
        )
        for number, (name, (red, scl, day)) in enumerate(files.items())
    ]
    return set_of(scenes, tmp_path_factory.mktemp("sets") / f"{request.param}.refs", layout=request.param)


def box(*, width=420, height=200, x=601000.0, y=1498000.0, size=10.0, crs="EPSG:32643"):
    return GeoBox((height, width), rasterio.Affine(size, 0, x, 0, -size, y), crs)


def warped(path, geobox, resampling="nearest"):
    """rasterio's own view of a file on a grid."""
    with rasterio.open(path) as file, WarpedVRT(
        file, crs=str(geobox.crs), transform=geobox.affine, height=geobox.shape[0], width=geobox.shape[1],
        resampling=Resampling[resampling],
    ) as view:  # fmt: skip
        return view.read(1)


def merged(*layers, nodata=0):
    out = np.full(layers[0].shape, nodata, layers[0].dtype)
    for layer in layers:
        out = np.where(out == nodata, layer, out)
    return out


def red(files, name, geobox, **options):
    return warped(files[name][0], geobox, **options)


def test_each_scene_alone_on_its_own_grid(collection, files):
    geobox = box()
    found = collection.read(geobox=geobox, assets=["red"], groupby="id")
    assert found.red.dtype == np.dtype("u2")
    for name in ("a1", "b1", "a2"):
        position = found.id.to_numpy().tolist().index(name)
        np.testing.assert_array_equal(found.red[position], red(files, name, geobox))


def test_a_solar_day_merges_tiles_the_earlier_one_on_top(collection, files):
    geobox = box(width=700)
    found = collection.read(geobox=geobox, assets=["red"], groupby="solar_day")
    assert found.time.dt.day.to_numpy().tolist() == [1, 2]
    layers = [red(files, name, geobox) for name in ("a1", "b1")]
    expected = merged(*layers)
    with_data = expected != 0
    np.testing.assert_array_equal(found.red[0].to_numpy()[with_data], expected[with_data])
    np.testing.assert_array_equal(found.red[1], red(files, "a2", geobox))


def test_the_order_decides_who_is_on_top(collection, files):
    geobox = box(x=EAST + 500)
    found = collection.read(geobox=geobox, assets=["red"], groupby=None, order="eo:cloud_cover")
    layers = [red(files, name, geobox) for name in ("z1", "a2", "b1", "a1")]
    assert found.red.dims == ("y", "x")
    same_zone = merged(*layers[1:])
    apart = layers[0] == 0
    np.testing.assert_array_equal(found.red.to_numpy()[apart], same_zone[apart])


def test_a_mask_hides_pixels_before_merging(collection, files):
    geobox = box(width=400)
    found = collection.read(geobox=geobox, assets=["red"], groupby=None, mask={"scl": [3, 8, 9]})
    layers = []
    for name in ("a1", "b1", "z1", "a2"):
        hidden = np.isin(warped(files[name][1], geobox), [3, 8, 9])
        layers.append(np.where(hidden, 0, red(files, name, geobox)))
    expected = merged(*layers)
    agree = (found.red.to_numpy() == expected).mean()
    assert agree == 1.0


def test_bits_of_a_quality_band_hide(collection, files):
    geobox = box()
    found = collection.read(geobox=geobox, assets=["red"], groupby="id", mask={"scl": {"bits": [0, 3]}})
    position = found.id.to_numpy().tolist().index("a1")
    hidden = (warped(files["a1"][1], geobox) & 0b1001) != 0
    np.testing.assert_array_equal(found.red[position], np.where(hidden, 0, red(files, "a1", geobox)))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average"])
def test_warping_equals_gdals(collection, files, resampling):
    geobox = box(width=220, height=180, x=75.935, y=13.56, size=0.0001, crs="EPSG:4326")
    found = collection.read(geobox=geobox, assets=["red"], groupby="id", resampling=resampling)
    position = found.id.to_numpy().tolist().index("a2")
    expected = np.zeros(geobox.shape, "u2")
    with rasterio.open(files["a2"][0]) as file:  # in one piece: the VRT's blocks change the width of bilinear kernels
        reproject(
            rasterio.band(file, 1), expected, dst_crs=str(geobox.crs), dst_transform=geobox.affine,
            resampling=Resampling[resampling],
        )  # fmt: skip
    np.testing.assert_array_equal(found.red[position], expected)


def test_a_coarser_grid_reads_the_overview(collection, files):
    geobox = box(width=100, height=100, x=600000.0, y=1500000.0, size=20.0)
    found = collection.read(geobox=geobox, assets=["red"], groupby="id")
    with rasterio.open(files["a1"][0], overview_level=0) as file:
        np.testing.assert_array_equal(found.red[0], file.read(1)[:100, :100])


def test_masked_is_nan_where_there_is_no_data(collection, files):
    geobox = box(x=599000.0)
    found = collection.read(geobox=geobox, assets=["red"], groupby="id", masked=True)
    expected = red(files, "a1", geobox).astype("f4")
    assert found.red.dtype == np.float32
    np.testing.assert_array_equal(found.red[0], np.where(expected == 0, np.nan, expected))


def test_a_bbox_takes_the_finest_grid_of_the_commonest_crs(collection, files):
    found = collection.read(bbox=(75.935, 13.53, 75.95, 13.54), assets=["red"])
    assert found.rio.crs.to_epsg() == 32643
    assert found.rio.resolution() == (10.0, -10.0)
    geobox = found.odc.geobox
    np.testing.assert_array_equal(found.red[0], red(files, "a1", geobox))


def test_utm_and_like_give_the_same_grid(collection):
    bbox = (75.935, 13.53, 75.95, 13.54)
    first = collection.read(bbox=bbox, crs="utm", resolution=10, assets=["red"])
    second = collection.read(like=first, assets=["red"])
    xr.testing.assert_equal(first, second)


def test_lazy_selections_dask_and_pickles_read_the_same(collection):
    geobox = box()
    lazy = collection.read(geobox=geobox, assets=["red"], groupby="id")
    whole = collection.read(geobox=geobox, assets=["red"], groupby="id").load()
    np.testing.assert_array_equal(lazy.red[[2, 0], 10:50:7, [5, 250, 6]], whole.red[[2, 0], 10:50:7, [5, 250, 6]])
    np.testing.assert_array_equal(lazy.red[1, 100], whole.red[1, 100])
    chunked = collection.read(geobox=geobox, assets=["red"], groupby="id", chunks={"y": 64, "x": 64})
    xr.testing.assert_equal(chunked.compute(scheduler="threads"), whole)
    xr.testing.assert_equal(pickle.loads(pickle.dumps(lazy)).load(), whole)  # noqa: S301 - our own bytes


def test_grouping_by_a_column_names_the_dimension_after_it(collection, files):
    geobox = box()
    found = collection.read(geobox=geobox, assets=["red"], groupby="tile")
    assert found.tile.to_numpy().tolist()[:2] == ["a", "b"]
    np.testing.assert_array_equal(found.red[0], merged(red(files, "a1", geobox), red(files, "a2", geobox)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assets": ["blue"]}, "found 'blue'"),
        ({"mask": {"blue": [1]}}, "found 'blue'"),
        ({"mask": "nonsense"}, "expected masks like"),
        ({"groupby": "nothing"}, "got 'nothing'"),
        ({"order": "nothing"}, "got 'nothing'"),
        ({"bands": ["nir"]}, "found 'nir'"),
        ({"resampling": "sharpest", "crs": "EPSG:4326"}, "found 'sharpest'"),
        ({"crs": "EPSG:0"}, "found 'EPSG:0'"),
        ({"bbox": (10, 0, 5, 1)}, "expected .west, south, east, north."),
        ({"bbox": (600000, 1400000, 700000, 1500000)}, "expected longitudes"),
        ({"bbox": None}, "expected one of bbox="),
    ],
)
def test_what_fits_nothing_is_refused_by_name(collection, options, message):
    with pytest.raises(QueryError, match=message):
        collection.read(**({"bbox": (75.935, 13.53, 75.95, 13.54)} | options)).load()
