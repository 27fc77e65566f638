"""Scenes of another CRS or resolution, against rasterio's own warp of the whole file."""

import numpy as np
import pytest
import rasterio
import shapely
import torch
from rasterio.warp import Resampling, reproject

from tests.ml.scenes import AssetSpec, SceneSpec, collection

pytestmark = pytest.mark.filterwarnings("ignore")
SCENES = [
    SceneSpec(id="west", x=772_000.0, size=300), SceneSpec(id="east", x=118_500.0, crs="EPSG:32644", day=1, size=300),
]  # fmt: skip
ASSETS = [AssetSpec(name="red"), AssetSpec(name="dem", dtype="float32", nodata=-9999.0, pixel=30.0, blank=0.2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("warp")
    return directory, collection(directory, SCENES, ASSETS)


def warped(path, place, resampling, fill, crs="EPSG:32643"):
    with rasterio.open(path) as file:
        out = np.full(place["shape"], fill, file.dtypes[0])
        reproject(
            rasterio.band(file, 1), out, dst_transform=place["transform"], dst_crs=crs, dst_nodata=fill,
            resampling=Resampling[resampling],
        )  # fmt: skip
        return out


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize(("asset", "fill"), [("red", 0), ("dem", -9999.0)])
def test_a_scene_of_another_crs_is_warped_as_rasterio_does(made, asset, fill, resampling):
    directory, found = made
    dataset = found.to_torchgeo([asset], crs="EPSG:32643", res=10, resampling=resampling, time="2024-01-02")
    box = dataset.index.geometry.iloc[0].bounds
    x, y = box[0] + 500, box[1] + 600
    sample = dataset[x : x + 1280, y : y + 1280]["image"][0].numpy()
    place = {"shape": (128, 128), "transform": rasterio.transform.from_origin(x, y + 1280, 10, 10)}
    wanted = warped(directory / f"east_{asset}.tif", place, resampling, fill)
    if resampling == "nearest":
        assert (sample == wanted).mean() > 0.999  # GDAL approximates transforms; over a window less than over the file
    else:
        both = (sample != fill) & (wanted != fill)
        assert both.mean() > 0.5
        assert np.median(np.abs(sample[both].astype(float) - wanted[both].astype(float))) <= 1


def test_chips_take_the_scene_s_own_way_from_datum_to_datum(tmp_path):
    """From NAD27 to WGS 84 there is one way for Canada and others for the United States, 13 m apart."""
    scene = SceneSpec(id="border", x=400_000.0, y=5_480_000.0, crs="EPSG:26710", size=12_000)
    found = collection(tmp_path, [scene], [AssetSpec(name="red", pixel=60.0)])
    dataset = found.to_torchgeo(["red"], crs="EPSG:32610", res=60)
    west, _, _, north = dataset.index.geometry.iloc[0].bounds
    for row, column in [(200, 300), (400, 1500), (1500, 200), (1800, 1700)]:
        x, y = west + 60 * column, north - 60 * row
        sample = dataset[x : x + 6000, y - 6000 : y]["image"][0].numpy()
        place = {"shape": (100, 100), "transform": rasterio.transform.from_origin(x, y, 60, 60)}
        wanted = warped(tmp_path / "border_red.tif", place, "nearest", 0, "EPSG:32610")
        assert (sample == wanted).mean() > 0.99  # as above
        assert (wanted != 0).all()


def test_boxes_of_warped_scenes_lie_on_the_dataset_s_pixels(made):
    _, found = made
    dataset = found.to_torchgeo(["red"])
    assert dataset.crs.to_epsg() == 32643
    west, _, _, north = dataset.index.geometry.iloc[0].bounds
    for box in dataset.index.geometry:
        for edge, origin in zip(box.bounds, (west, north, west, north), strict=True):
            assert (edge - origin) % 10 == 0


def test_a_mosaic_joins_scenes_of_two_crss(made):
    _, found = made
    dataset = found.to_torchgeo(["red"])
    boxes = [shapely.box(*geometry.bounds) for geometry in dataset.index.geometry]
    west, south, east, north = boxes[0].union(boxes[1]).bounds
    joined = dataset[west:east, south:north]["image"]
    assert joined.dtype == torch.uint16
    west_alone = found.to_torchgeo(["red"], time="2024-01-01")[west:east, south:north]["image"]
    assert torch.equal(torch.where(west_alone == 0, joined, west_alone), joined)
    assert (joined != 0).sum() > (west_alone != 0).sum()


def test_a_coarser_asset_comes_in_the_dataset_s_pixels(made):
    directory, found = made
    dataset = found.to_torchgeo(["dem"], res=10, time="2024-01-01")
    with rasterio.open(directory / "west_dem.tif") as file:
        whole = file.read(1).repeat(3, axis=0).repeat(3, axis=1)
    sample = dataset[772_100:772_700, 1_499_000:1_499_500]["image"][0].numpy()
    assert np.array_equal(sample, whole[50:100, 10:70])
