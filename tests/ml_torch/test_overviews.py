"""Coarser pixels come from overviews, as TorchGeo on rasterio has them: equal pixels, and fewer bytes."""

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import Resampling
from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler

import rasteret_refs as rr
from tests.ml.scenes import AssetSpec, SceneSpec, write_scenes
from tests.ml_torch.peer import Scenes
from tests.servers.range_server import serve

pytestmark = pytest.mark.filterwarnings("ignore")
SCENES = [SceneSpec(id="a", size=700), SceneSpec(id="b", day=20, x=603_000.0, size=700)]


class Nearest(Scenes):
    """TorchGeo's own, by nearest neighbour."""

    resampling = property(lambda self: Resampling.nearest)


@pytest.fixture(scope="module", params=["grids", "stack"])
def made(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("overviews")
    items = write_scenes(directory, SCENES, [AssetSpec(name="red", blank=0.1)])
    for scene in SCENES:
        path = directory / f"{scene.id}_red.tif"
        with rasterio.open(path) as file:
            data, profile = file.read(), file.profile
        place = {name: profile[name] for name in ("width", "height", "count", "dtype", "crs", "transform", "nodata")}
        with rasterio.open(path, "w", driver="COG", blocksize=128, overview_resampling="average", **place) as file:
            file.write(data)
    return directory, rr.build(items, directory / "x.refs", layout=request.param)


@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("res", [15, 20, 25, 40, 50, 100])
def test_coarser_pixels_are_those_of_raster_dataset(made, res, series):
    directory, found = made
    ours = found.to_torchgeo(["red"], res=res, time_series=series)
    other = Nearest(f"{directory}/", ["a", "b"], [0, 20], ("red",), res=res, time_series=series)
    slices = [
        *RandomPatchSampler(other, size=24, length=5, generator=1),
        *GriddedPatchSampler(other, size=16, stride=13),
    ]
    for index in slices[:10]:
        wanted = other[index]["image"]
        assert torch.equal(ours[index]["image"].to(wanted.dtype), wanted)


def test_a_pickled_dataset_reads_overviews_too(made):
    import pickle

    _, found = made
    dataset = found.to_torchgeo(["red"], res=40)
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert torch.equal(sent[:, :]["image"], dataset[:, :]["image"])


def write_cog(directory, data, **options):
    profile = {
        "driver": "COG", "blocksize": 128, "width": data.shape[-1], "height": data.shape[-2], "count": 1,
        "dtype": data.dtype, "nodata": 0, "crs": "EPSG:32643",
        "transform": rasterio.transform.from_origin(600_000, 1_500_000, 10, 10), **options,
    }  # fmt: skip
    with rasterio.open(directory / "a.tif", "w", **profile) as file:
        file.write(data)
    return directory / "a.tif"


def test_a_coarse_read_fetches_few_bytes(tmp_path):
    data = np.random.default_rng(0).integers(1, 4000, (1, 1024, 1024)).astype(np.uint16)
    path = write_cog(tmp_path, data)
    with serve(tmp_path) as server:
        dataset = rr.build(f"{server.url}a.tif", tmp_path / "x.refs").to_torchgeo(res=80)
        server.reset()
        image = dataset[:, :]["image"].numpy()
        assert server.stats().bytes_sent < data.nbytes / 30
    with rasterio.open(path, overview_level=2) as file:
        assert np.array_equal(image, file.read())


@pytest.mark.parametrize("crs", ["EPSG:32644", "EPSG:3857"])
def test_warps_read_overviews_too(tmp_path, crs):
    rows = np.linspace(0, 3000, 1024)
    data = (rows[:, None] + rows)[None].astype(np.uint16) + 1
    write_cog(tmp_path, data, compress="none", overview_resampling="average")
    with serve(tmp_path) as server:
        collection = rr.build(f"{server.url}a.tif", tmp_path / "x.refs")
        server.reset()
        coarse = collection.to_torchgeo(res=100, crs=crs, resampling="bilinear")
        image = coarse[:, :]["image"][0].numpy()
        assert server.stats().bytes_sent < data.nbytes / 8
    place = coarse.index.geometry.iloc[0].bounds
    wanted = np.zeros_like(image)
    with rasterio.open(tmp_path / "a.tif") as file:
        rasterio.warp.reproject(
            file.read(1), wanted, src_transform=file.transform, src_crs=file.crs, dst_crs=crs, src_nodata=0,
            dst_transform=rasterio.transform.from_origin(place[0], place[3], 100, 100), resampling=Resampling.bilinear,
        )  # fmt: skip
    both = (image != 0) & (wanted != 0)
    assert both.mean() > 0.6
    assert np.abs(image[both].astype(int) - wanted[both].astype(int)).max() <= 40  # half a pixel's slope at 100 m
