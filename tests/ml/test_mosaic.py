"""Mosaics by the first valid pixel, against rasterio's pixels put together by NumPy; warps against GDAL's own."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, transform_bounds

from rasteret_refs.ml.images import images_of
from rasteret_refs.ml.mosaic import ImageLayer, Mosaic, _on_grid, fill, layer
from rasteret_refs.ml.pieces import Place
from rasteret_refs.ml.reads import WorkerReader, run, through
from rasteret_refs.ml.warp_queue import WarpBatch
from tests.ml.scenes import AssetSpec, SceneSpec, collection, read

SCENES = [SceneSpec(id="first"), SceneSpec(id="second", x=601_000.0, day=1), SceneSpec(id="third", day=2)]
ASSETS = [
    AssetSpec(name="plain", low=0), AssetSpec(name="blank", blank=0.4), AssetSpec(name="full", nodata=None, low=0),
    AssetSpec(name="far", nodata=4000.0, blank=0.4),
    AssetSpec(name="float", dtype="float32", nodata=-9999.0, blank=0.4),
    AssetSpec(name="holes", dtype="float32", nodata=float("nan"), blank=0.4),
]  # fmt: skip
SIDE = 120
PLACES = {"inside": (30, 20), "across_the_edge": (-40, 250), "outside": (900, 900)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mosaic")
    found = collection(directory, SCENES, ASSETS)
    return directory, found, images_of(found.reader, found.scenes, [asset.name for asset in ASSETS])


def filled(found, mosaic):
    run(through(WorkerReader(found.reader), fill([mosaic])))
    return mosaic.out


def boundless(directory, scene, asset, place, value):
    """A scene's pixels at a place, as rasterio has them; `value` outside."""
    with rasterio.open(directory / f"{scene.id}_{asset}.tif") as file:
        column, row = (place.transform[2] - file.transform.c) / 10, (file.transform.f - place.transform[5]) / 10
        padded = np.pad(file.read(), [(0, 0), (2000, 2000), (2000, 2000)], constant_values=value)
    top, left = 2000 + round(row), 2000 + round(column)
    return padded[:, top : top + SIDE, left : left + SIDE]


def same(pixels, value):
    return np.isnan(pixels) if np.isnan(value) else pixels == value


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("rows", [(0,), (1, 0), (0, 1, 2)])
@pytest.mark.parametrize("asset", [asset.name for asset in ASSETS])
@pytest.mark.parametrize("how", [{"known"}, set(), {"known", "other"}, {"other"}])
def test_each_pixel_is_the_first_valid_one(made, asset, rows, where, how):
    """The number of layers may be known, and the fill value another one than the images' nodata."""
    directory, found, images = made
    one = images[asset]
    top, left = PLACES[where]
    place = Place(crs=None, transform=(10.0, 0.0, 600_000.0 + left * 10, 0.0, -10.0, 1_500_000.0 - top * 10),
                  height=SIDE, width=SIDE)  # fmt: skip
    nodata = one.nodata[0]
    value = one.dtype.type(17 if "other" in how else 0 if nodata is None else nodata)
    layers = (ImageLayer(one, row, place, fill=value) for row in rows)
    out = np.full((1, SIDE, SIDE), 99, one.dtype)
    got = filled(found, Mosaic(out=out, fill=value, layers=layers, most=len(rows) if "known" in how else None))
    expected = np.full((1, SIDE, SIDE), value, one.dtype)
    for row in rows:
        pixels = boundless(directory, SCENES[row], asset, place, value)
        valid = np.ones(pixels.shape, bool) if nodata is None else ~same(pixels, nodata)
        np.copyto(expected, pixels, where=valid & same(expected, value))
    assert np.array_equal(got, expected, equal_nan=one.dtype.kind == "f")


def warped(path, resampling, *, beside, alpha):
    """A file on a grid of zone 44, `beside` pixels east of its middle: place, GDAL's pixels, and where it has data."""
    with rasterio.open(path) as file:
        west, south, east, north = transform_bounds(file.crs, "EPSG:32644", *file.bounds)
        x, y = round((west + east) / 2 - SIDE * 5, -1) + beside * 10, round((south + north) / 2 + SIDE * 5, -1)
        grid = {"crs": "EPSG:32644", "transform": from_origin(x, y, 10, 10), "width": SIDE, "height": SIDE}
        with WarpedVRT(file, resampling=Resampling[resampling], add_alpha=alpha, **grid) as found:
            place = Place(crs="EPSG:32644", transform=(10.0, 0.0, x, 0.0, -10.0, y), height=SIDE, width=SIDE)
            return place, found.read(1)[None], found.dataset_mask()[None] > 0


def mosaic_of_warp(made, asset, place, resampling, value):
    _, found, images = made
    layers = [
        layer(images[asset], 0, place, same_crs=False, resampling=resampling, fill=value, batch=WarpBatch()),
    ]  # fmt: skip
    return filled(found, Mosaic(out=np.full((1, SIDE, SIDE), 99, "uint16"), fill=value, layers=layers, most=1))


@pytest.mark.parametrize("asset", ["plain", "blank", "full", "far"])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_a_warped_image_is_gdal_s_where_it_has_data_and_the_fill_value_elsewhere(made, asset, resampling):
    directory, _, images = made
    nodata = images[asset].nodata[0]
    value = 0 if nodata is None else nodata
    place, expected, valid = warped(directory / f"first_{asset}.tif", resampling, beside=0, alpha=False)
    assert 0.3 < valid.mean() < 0.9 if asset in {"blank", "far"} else valid.mean() > 0.99
    got = mosaic_of_warp(made, asset, place, resampling, value)
    assert np.array_equal(got, np.where(valid | (nodata is None), expected, value))


def test_a_warped_image_without_nodata_ends_where_it_ends(made):
    directory, _, _ = made
    place, expected, valid = warped(directory / "first_full.tif", "nearest", beside=120, alpha=True)
    assert 0.3 < valid.mean() < 0.9
    assert np.array_equal(
        mosaic_of_warp(made, "full", place, "nearest", 17), np.where(valid & (expected != 17), expected, 17)
    )


def test_rasterio_has_the_pixels_that_are_put_together_here(made):
    directory, _, _ = made
    place = Place(crs=None, transform=(10.0, 0.0, 600_000.0, 0.0, -10.0, 1_500_000.0), height=SIDE, width=SIDE)
    assert np.array_equal(
        boundless(directory, SCENES[0], "plain", place, 0), read(directory, "first", "plain")[:, :SIDE, :SIDE]
    )


@pytest.mark.parametrize("grid", [
    Affine(10, 0, 600_000, 0, -10, 1_500_000), Affine(3, 4, 600_000, 4, -3, 1_500_000), Affine(1e-4, 0, 7, 0, -1e-4, 9),
])  # fmt: skip
def test_grids_share_their_pixels_where_they_are_whole_pixels_apart(grid):
    for across, down, shared in [(0, 0, True), (-3, 40, True), (1e-5, 5, True), (0.5, 0, False), (2, 0.01, False)]:
        moved = grid @ Affine.translation(across, down)
        assert _on_grid(tuple(grid)[:6], tuple(moved)[:6]) is shared
    for other in (grid @ Affine.scale(2), grid @ Affine.rotation(1), grid @ Affine.scale(1, -1)):
        assert not _on_grid(tuple(grid)[:6], tuple(other)[:6])
