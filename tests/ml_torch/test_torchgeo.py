"""TorchGeo datasets over a collection, beside TorchGeo's own `RasterDataset` over the same files."""

import copy
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import GeoDataset, IntersectionDataset, UnionDataset, splits, stack_samples
from torchgeo.samplers import (
    GriddedPatchSampler,
    GridGeoSampler,
    PreChippedGeoSampler,
    RandomBatchGeoSampler,
    RandomGeoSampler,
    RandomPatchSampler,
    RandomPeriodSampler,
    RandomTimedeltaSampler,
    RandomTimestampSampler,
    SequentialPeriodSampler,
    SequentialTimedeltaSampler,
    SequentialTimestampSampler,
)

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.torchgeo_data import CollectionDataset, CollectionIntersection, CollectionUnion
from tests.ml.scenes import AssetSpec, SceneSpec, collection
from tests.ml_torch.peer import Scenes

pytestmark = pytest.mark.filterwarnings("ignore")  # TorchGeo deprecates samplers that are tested here on purpose

SCENES = [
    SceneSpec(id="a", day=0), SceneSpec(id="b", day=20, x=601_500.0), SceneSpec(id="c", day=40),
    SceneSpec(id="d", day=60, x=603_000.0, y=1_501_000.0),
]  # fmt: skip
ASSETS = [
    AssetSpec(name="red", blank=0.2), AssetSpec(name="nir", blank=0.1),
    AssetSpec(name="classes", dtype="uint8", nodata=None, low=0, high=5),
    AssetSpec(name="dem", dtype="float32", nodata=-9999.0, blank=0.3),
]  # fmt: skip
NAMES, DAYS = [scene.id for scene in SCENES], [scene.day for scene in SCENES]


@pytest.fixture(scope="module", params=["grids", "stack"])
def made(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("torchgeo")
    return directory, collection(directory, SCENES, ASSETS, layout=request.param)


def theirs(directory, bands=("red", "nir"), **options):
    return Scenes(f"{directory}/", NAMES, DAYS, bands, **options)


def same(ours, other):
    for key in other:
        wanted = other[key]
        assert ours[key].shape == wanted.shape, key
        assert torch.equal(ours[key].to(wanted.dtype), wanted), key


def spatial(dataset):
    yield from RandomPatchSampler(dataset, size=64, length=12, generator=1)
    yield from GriddedPatchSampler(dataset, size=100, stride=70)


def test_the_index_is_as_torchgeo_has_it(made):
    directory, found = made
    ours, other = found.to_torchgeo(["red", "nir"]), theirs(directory)
    assert isinstance(ours, GeoDataset)
    assert ours.index.index.equals(other.index.index)
    assert ours.index.index.closed == "both"
    assert ours.index.index.name == "datetime"
    assert ours.index.index.left.tz is None
    assert ours.index.index.length[0] == pd.Timedelta(seconds=1) - pd.Timedelta(microseconds=1)
    assert ours.index.geometry.geom_equals(other.index.geometry).all()
    assert ours.crs == other.crs
    assert ours.res == other.res
    assert ours.bounds == other.bounds
    assert ours.all_bands == ("red", "nir")
    assert ours.rgb_bands == ("red",)


@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("bands", [("red", "nir"), ("dem",), ("classes",)])
def test_samples_equal_those_of_raster_dataset(made, bands, series):
    directory, found = made
    ours = found.to_torchgeo(bands, time_series=series)
    other = theirs(directory, bands, time_series=series)
    slices = list(spatial(ours))
    assert slices == list(spatial(other))
    for sample, index in zip(ours.__getitems__(slices), slices, strict=True):
        same(sample, other[index])


def test_masks_equal_those_of_raster_dataset(made):
    directory, found = made
    ours = found.to_torchgeo(["classes"], is_image=False)
    other = theirs(directory, ("classes",), is_image=False)
    for index in spatial(ours):
        sample = ours[index]
        assert sample["mask"].dtype == torch.int64
        same(sample, other[index])


def test_intersections_equal_theirs_and_stay_batched(made):
    directory, found = made
    ours = found.to_torchgeo(["red", "nir"]) & found.to_torchgeo(["classes"], is_image=False)
    mixed = found.to_torchgeo(["red", "nir"]) & theirs(directory, ("classes",), is_image=False)
    other = theirs(directory) & theirs(directory, ("classes",), is_image=False)
    assert isinstance(ours, CollectionIntersection)
    assert isinstance(ours, IntersectionDataset)
    slices = list(spatial(other))
    assert list(spatial(ours)) == slices
    for index, sample, half in zip(slices, ours.__getitems__(slices), mixed.__getitems__(slices), strict=True):
        wanted = other[index]
        same(sample, wanted)
        same(half, wanted)
    same((theirs(directory) & found.to_torchgeo(["classes"], is_image=False))[slices[0]], other[slices[0]])


def test_unions_equal_theirs_for_uint16_too(made):
    directory, found = made
    ours = found.to_torchgeo(["red"], time="2024-01") | found.to_torchgeo(["red"], time="2024-02/..")
    other = Scenes(f"{directory}/", NAMES[:2], DAYS[:2], ("red",)) | Scenes(
        f"{directory}/", NAMES[2:], DAYS[2:], ("red",)
    )
    assert isinstance(ours, CollectionUnion)
    assert isinstance(ours, UnionDataset)
    for index in spatial(other):
        sample = ours[index]
        assert sample["image"].dtype == torch.uint16
        same(sample, other[index])


def test_operators_nest(made):
    _, found = made
    one = found.to_torchgeo(["red"])
    nested = ((one & found.to_torchgeo(["nir"])) & found.to_torchgeo(["dem"])) & found.to_torchgeo(
        ["classes"], is_image=False
    )
    sample = nested[next(iter(RandomPatchSampler(nested, size=32, length=1, generator=0)))]
    assert sample["image"].shape == (3, 32, 32)
    assert sample["image"].dtype == torch.float32
    assert sample["mask"].shape == (32, 32)


def test_slices_may_be_partial_stepped_or_empty(made):
    directory, found = made
    for series in (False, True):
        ours, other = found.to_torchgeo(["red"], time_series=series), theirs(directory, ("red",), time_series=series)
        start, stop = pd.Timestamp("2024-01-10"), pd.Timestamp("2024-03-10")
        for index in [
            slice(600_000, 601_000), (slice(600_000, 601_000), slice(1_498_000, 1_499_000)),
            (slice(None), slice(None), slice(start, stop)), (slice(None), slice(None), slice(None, None, 2)),
            (slice(600_000, 601_000, 20), slice(1_498_000, 1_499_000, 20)) if series is None else slice(None),
            (slice(599_000, 600_500), slice(1_499_000, 1_500_700)),
            *((slice(600_000, 601_000), slice(1_498_000, 1_499_000), t)
              for t in (slice(start, None), slice(None, stop), slice(start, stop), slice(None, None, 2))),
        ]:  # fmt: skip
            same(ours[index], other[index])
        with pytest.raises(IndexError, match="not found in dataset"):
            ours[0:10, 0:10]
        with pytest.raises(IndexError, match="not found in dataset"):
            ours[:, :, pd.Timestamp("1999-01-01") : pd.Timestamp("1999-02-01")]


def test_sizes_are_extent_over_resolution_and_outside_is_padded(made):
    _, found = made
    dataset = found.to_torchgeo(["dem"])
    sample = dataset[599_000:600_333, 1_499_500:1_500_777]
    assert sample["image"].shape == (1, 128, 133)
    assert (sample["image"][:, :77] == -9999).all()
    assert sample["bounds"].shape == sample["transform"].shape == (9,)


def test_a_mosaic_stops_reading_once_it_is_full(tmp_path):
    import rasteret_refs as rr
    from tests.ml.scenes import write_scenes
    from tests.servers.range_server import serve

    scenes = [SceneSpec(id=f"s{n}", day=n, size=128) for n in range(5)]
    with serve(tmp_path) as server:
        items = write_scenes(tmp_path / "data", scenes, [AssetSpec(name="red")], base=f"{server.url}data/")
        dataset = rr.build(items, tmp_path / "x.refs").to_torchgeo(["red"])
        server.reset()
        dataset[:, :]
        assert server.stats().requests == 1


@pytest.mark.parametrize("make", [
    lambda d: GridGeoSampler(d, size=100, stride=80), PreChippedGeoSampler,
    lambda d: RandomGeoSampler(d, size=64, length=6, generator=torch.Generator().manual_seed(0)),
    lambda d: GriddedPatchSampler(d, size=128), lambda d: RandomPatchSampler(d, size=64, length=6),
    lambda d: RandomPeriodSampler(d, freq="M", length=3), lambda d: SequentialPeriodSampler(d, freq="M"),
    lambda d: RandomTimedeltaSampler(d, delta=pd.Timedelta(days=30), length=3),
    lambda d: SequentialTimedeltaSampler(d, delta=pd.Timedelta(days=30)),
    RandomTimestampSampler, SequentialTimestampSampler,
    lambda d: RandomPatchSampler(d, size=64, length=4) @ RandomTimestampSampler(d),
    lambda d: GriddedPatchSampler(d, size=200) @ SequentialTimestampSampler(d),
])  # fmt: skip
def test_every_sampler_feeds_a_data_loader(made, make):
    _, found = made
    dataset = found.to_torchgeo(["red", "nir"])
    count = 0
    for batch in DataLoader(dataset, sampler=make(dataset), collate_fn=stack_samples):
        assert batch["image"].dtype == torch.uint16
        assert batch["image"].shape[:2] == (1, 2)
        count += 1
    assert count


def test_the_batch_sampler_feeds_a_data_loader(made):
    _, found = made
    dataset = found.to_torchgeo(["red"])
    sampler = RandomBatchGeoSampler(dataset, size=64, batch_size=5, length=15)
    shapes = [b["image"].shape for b in DataLoader(dataset, batch_sampler=sampler, collate_fn=stack_samples)]
    assert shapes == [(5, 1, 64, 64)] * 3


def _halves(dataset):
    """Whole microseconds: with fractions TorchGeo 0.10.1 refuses a time of an odd number of them, as here."""
    _, _, t = dataset.bounds
    half = ((t.stop - t.start) / 2).floor("s")
    return [half, t.stop - t.start - half]


@pytest.mark.parametrize("split", [
    lambda d: splits.random_bbox_assignment(d, [0.5, 0.5]), lambda d: splits.random_bbox_splitting(d, [0.5, 0.5]),
    lambda d: splits.random_grid_cell_assignment(d, [0.5, 0.5], grid_size=2),
    lambda d: splits.roi_split(d, [shapely.box(600_000, 1_496_000, 601_500, 1_501_000),
                                   shapely.box(601_500, 1_496_000, 607_000, 1_501_000)]),
    lambda d: splits.time_series_split(d, _halves(d)),
])  # fmt: skip
def test_every_splitter_gives_datasets_that_read(made, split):
    _, found = made
    dataset = found.to_torchgeo(["red"])
    before = dataset.index.copy()
    parts = split(dataset)
    assert dataset.index.equals(before)
    for part in parts:
        assert isinstance(part, CollectionDataset)
        loader = DataLoader(part, sampler=GriddedPatchSampler(part, size=50), batch_size=4, collate_fn=stack_samples)
        assert next(iter(loader))["image"].shape[1:] == (1, 50, 50)


def test_copies_are_cheap_and_pickles_read(made):
    _, found = made
    dataset = found.to_torchgeo(["red"])
    index = next(spatial(dataset))
    begin = time.perf_counter()
    for _ in range(20):
        copy.deepcopy(dataset)
    assert (time.perf_counter() - begin) / 20 < 0.05
    assert copy.deepcopy(dataset).ground is dataset.ground
    sent = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    same(sent[index], dataset[index])


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_workers_of_every_kind_read(made, start):
    _, found = made
    dataset = found.to_torchgeo(["red", "nir"])
    sampler = list(spatial(dataset))
    expected = dataset.__getitems__(sampler)
    loader = DataLoader(dataset, sampler=sampler, batch_size=1, num_workers=2, multiprocessing_context=start,
                        collate_fn=stack_samples)  # fmt: skip
    for batch, wanted in zip(loader, expected, strict=True):
        same({key: value[0] for key, value in batch.items()}, wanted)


def test_another_crs_or_resolution_is_taken_at_call_time(made):
    directory, found = made
    ours, other = found.to_torchgeo(["red"]), theirs(directory, ("red",))
    finer = found.to_torchgeo(["classes"], is_image=False)
    ours.res = 20
    finer_and = ours & finer
    assert finer.res == (20, 20)
    assert finer_and[600_000:601_000, 1_498_000:1_499_000]["mask"].shape == (50, 50)
    ours.crs = "EPSG:32644"
    assert ours.crs.to_epsg() == 32644
    x, y, _ = ours.bounds
    middle = (x.start + x.stop) / 2, (y.start + y.stop) / 2
    sample = ours[middle[0] - 500 : middle[0] + 500, middle[1] - 500 : middle[1] + 500]
    assert sample["image"].shape == (1, 50, 50)
    assert (sample["image"] != 0).any()
    del other


def test_labels_come_with_samples(made):
    _, found = made
    labelled = found.annotate({"id": NAMES, "crop": [3, 1, 2, 0]}, on="id") if hasattr(found, "annotate") else None
    if labelled is None:
        pytest.skip("collections cannot be annotated yet")
    dataset = labelled.to_torchgeo(["red"], label="crop")
    sampler = RandomPatchSampler(dataset, size=32, length=4) @ SequentialTimestampSampler(dataset)
    batch = next(iter(DataLoader(dataset, sampler=sampler, batch_size=2, collate_fn=stack_samples)))
    assert batch["label"].shape == (2,)
    assert batch["label"].dtype == torch.int64


def test_options_of_chips_are_refused(made):
    _, found = made
    with pytest.raises(QueryError, match="whose samplers choose the chips"):
        found.to_torchgeo(["red"], random=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resampling": "linear"}, "expected a resampling out of"),
        ({"res": 0}, "expected a pixel size above 0, got 0"),
        ({"res": (10, -10)}, "expected a pixel size above 0"),
        ({"res": "10 m"}, "expected a pixel size as one number or two"),
        ({"crs": "EPSG:99999"}, "expected a CRS, found 'EPSG:99999'"),
    ],
)
def test_what_makes_no_sense_is_refused_when_the_dataset_is_made(made, options, message):
    _, found = made
    with pytest.raises(QueryError, match=message):
        found.to_torchgeo(["red"], **options)


def test_one_epoch_of_a_torchgeo_trainer(made):
    from lightning.pytorch import Trainer
    from torchgeo.trainers import SemanticSegmentationTask

    from rasteret_refs.ml.torch_data import ToFloat

    _, found = made
    dataset = found.to_torchgeo(["red", "nir"], transforms=ToFloat(1 / 4000))
    both = dataset & found.to_torchgeo(["classes"], is_image=False)
    loader = DataLoader(
        both, sampler=RandomPatchSampler(both, size=32, length=4), batch_size=2, collate_fn=_for_training
    )
    task = SemanticSegmentationTask(model="unet", backbone="resnet18", in_channels=2, num_classes=5, weights=None)
    before = next(task.model.parameters()).clone()
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(task, loader, loader)
    assert np.isfinite(float(trainer.callback_metrics["train_loss"]))
    assert not torch.equal(before, next(task.model.parameters()))


def _for_training(samples):
    return {key: value for key, value in stack_samples(samples).items() if key in ("image", "mask")}


def test_a_transparent_pixel_gives_way_to_the_next_scene(tmp_path):
    """RGBA without nodata: GDAL takes the alpha band for a mask, and so does TorchGeo's mosaic."""
    import rasterio

    import rasteret_refs as rr

    random = np.random.default_rng(0)
    features = []
    for number, name in enumerate(("a", "b")):
        data = random.integers(1, 255, (4, 256, 256)).astype(np.uint8)
        data[3] = 255
        data[3, :100, : 100 + 50 * number] = 0
        path = tmp_path / f"{name}_rgba.tif"
        profile = {
            "driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "count": 4, "dtype": "uint8",
            "width": 256, "height": 256, "crs": "EPSG:32643", "photometric": "RGB", "alpha": "yes",
            "transform": rasterio.transform.from_origin(600_000, 1_500_000, 10, 10), "interleave": "pixel",
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(data)
            assert file.colorinterp[-1] == rasterio.enums.ColorInterp.alpha
        features.append({
            "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": [],
            "properties": {"datetime": f"2024-01-{1 + 20 * number:02d}T05:00:00Z"},
            "assets": {"rgba": {"href": str(path), "type": "image/tiff", "roles": ["data"]}},
        })  # fmt: skip
    found = rr.build({"type": "FeatureCollection", "features": features}, tmp_path / "x.refs")

    class Whole(Scenes):
        separate_files = False
        all_bands = ()

        def __init__(self, prefix, names, days, **options):
            super().__init__(prefix, names, days, ("rgba",), **options)

    for series in (False, True):
        ours = found.to_torchgeo(["rgba"], time_series=series)
        other = Whole(f"{tmp_path}/", ["a", "b"], [0, 20], time_series=series)
        other.band_indexes = None
        same(ours[:, :], other[:, :])


def test_colours_of_classes_come_along(tmp_path):
    import rasterio

    import rasteret_refs as rr

    colours = {number: (number, 255 - number, number // 2, 255) for number in range(256)}
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "width": 64, "height": 64, "crs": "EPSG:32643",
               "transform": rasterio.transform.from_origin(600_000, 1_500_000, 10, 10)}  # fmt: skip
    with rasterio.open(tmp_path / "a_classes.tif", "w", **profile) as file:
        file.write(np.zeros((1, 64, 64), np.uint8))
        file.write_colormap(1, colours)
    dataset = rr.build(tmp_path / "a_classes.tif", tmp_path / "x.refs").to_torchgeo(is_image=False)
    other = Scenes(f"{tmp_path}/", ["a"], [0], ("classes",), is_image=False)
    assert np.array_equal(np.array(dataset.cmap.colors)[:, :3], np.array(other.cmap.colors)[:, :3])
