"""PyTorch datasets: dtypes, batches, workers of every kind, epochs, shares."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, WeightedRandomSampler

import rasteret_refs as rr
from rasteret_refs.ml.torch_data import ToFloat
from tests.ml.scenes import AssetSpec, SceneSpec, collection, read, write_scenes
from tests.servers.range_server import serve

SCENES = [
    SceneSpec(id=f"s{n}", x=600_000.0 + 3000 * n, day=n, properties=(("kind", "ab"[n % 2]), ("split", "train")))
    for n in range(3)
]
ASSETS = [AssetSpec(name="red"), AssetSpec(name="scl", dtype="uint8", pixel=20.0, high=12)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("torch")
    return directory, collection(directory, SCENES, ASSETS)


def images(loader):
    """All images of a pass, by their places in the index."""
    found = {}
    for batch in loader:
        for place, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            assert place not in found, "a chip came twice"
            found[place] = image.clone()
    return found


def test_samples_hold_native_dtypes(made):
    directory, found = made
    dataset = found.to_torch(100, ["red"], label="kind", mask_assets={"scl": [3]})
    sample = dataset[4]
    kinds = {name: value.dtype for name, value in sample.items()}
    assert kinds == {
        "image": torch.uint16, "label": torch.int64, "valid": torch.bool, "scene": torch.int64, "index": torch.int64,
    }  # fmt: skip
    chip = dataset.chips.to_pylist()[4]
    whole = read(directory, chip["scene"], "red")[:, chip["row"] : chip["row"] + 100, chip["col"] : chip["col"] + 100]
    assert np.array_equal(sample["image"].numpy(), whole)
    assert found.to_torch(100, ["red"], label="scl")[0]["mask"].dtype == torch.int64
    assert dataset.classes == ("a", "b")


def test_what_torch_can_do_with_uint16_on_the_cpu_is_what_the_readme_says():
    one = torch.from_numpy(np.array([1, 2, 60_000], np.uint16))
    torch.stack([one, one])
    torch.where(one == 2, one, one)
    assert (one * one).dtype == torch.uint16
    assert one.float().dtype == (one / 2).dtype == torch.float32
    one.clamp(1, 2)
    fails = [torch.add, torch.sub, torch.floor_divide, torch.gt]  # elementwise maximum works, the reduction does not
    for call in fails:
        with pytest.raises((RuntimeError, NotImplementedError)):
            call(one, one)
    with pytest.raises((RuntimeError, NotImplementedError)):
        one.max()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_iterable_gives_each_chip_once_whatever_the_workers(made, workers):
    _, found = made
    stream = found.to_torch(64, ["red"], iterable=True, memory=64 * 64 * 2 * 40, seed=5)
    expected = images(DataLoader(found.to_torch(64, ["red"]), batch_size=16))
    stream.set_epoch(2)
    got = images(DataLoader(stream, batch_size=8, num_workers=workers))
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[place], expected[place]) for place in got)


def test_the_iterable_fetches_each_tile_once_a_pass(tmp_path):
    with serve(tmp_path) as server:
        items = write_scenes(tmp_path / "data", SCENES[:2], ASSETS[:1], base=f"{server.url}data/")
        found = rr.build(items, tmp_path / "x.refs")
        whole = sum(found.tiles().read_all()["length"].to_pylist())
        stream = found.to_torch(90, ["red"], iterable=True)  # chips across the borders of tiles
        server.reset()
        assert len(list(stream)) == len(stream.chips)
        spans = [(request.path, request.start, request.stop) for request in server.requests()]
    assert sum(stop - start for _, start, stop in spans) <= whole * 1.02  # with the few bytes between neighbours
    assert len(set(spans)) == len(spans)


def test_ranks_divide_the_chips(made):
    from rasteret_refs.ml.torch_data import ChipStream

    _, found = made
    source = found.to_torch(64, ["red"]).source
    parts = [[int(sample["index"]) for sample in ChipStream(source, None, rank=r, world_size=3)] for r in range(3)]
    assert sorted(place for part in parts for place in part) == list(range(len(source)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_epochs_change_the_order_for_persistent_workers_too(made):
    _, found = made
    stream = found.to_torch(64, ["red"], iterable=True, memory=64 * 64 * 2 * 40)
    loader = DataLoader(stream, batch_size=8, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append([place for batch in loader for place in batch["index"].tolist()])
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_random_chips_change_with_the_epoch_in_workers(made):
    _, found = made
    dataset = found.to_torch(64, ["red"], random=12)
    loader = DataLoader(dataset, batch_size=4, num_workers=2, persistent_workers=True)
    first = images(loader)
    dataset.set_epoch(1)
    second = images(loader)
    assert any(not torch.equal(first[place], second[place]) for place in first)
    here = {place: dataset[place]["image"] for place in second}
    assert all(torch.equal(here[place], second[place]) for place in second)


def test_weights_balance_a_sampler(made):
    _, found = made
    dataset = found.to_torch(64, ["red"], label="kind")
    weights = dataset.weights("label")
    sampler = WeightedRandomSampler(weights, 600, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([dataset.source.labels.values[place] for place in sampler])
    assert 0.4 < labels.float().mean() < 0.6


def test_to_float_runs_on_batches_and_leaves_them(made):
    _, found = made
    batch = next(iter(DataLoader(found.to_torch(64, ["red", "scl"]), batch_size=3)))
    scaled = ToFloat([1e-4, 1.0], [-0.1, 0.0])(batch)
    assert batch["image"].dtype == torch.uint16
    assert scaled["image"].dtype == torch.float32
    assert torch.allclose(scaled["image"][:, 0], batch["image"][:, 0].float() * 1e-4 - 0.1)
    assert torch.equal(scaled["image"][:, 1], batch["image"][:, 1].float())
    transformed = found.to_torch(64, ["red"], transform=ToFloat(2.0))[0]["image"]
    assert transformed.dtype == torch.float32


def test_series_come_with_validity_and_time(made):
    _, found = made
    dataset = found.to_torch(64, ["red"], series={"freq": "MS", "length": 2})
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert batch["image"].shape == (4, 2, 1, 64, 64)
    assert batch["valid"].dtype == torch.bool
    assert batch["time"].dtype == torch.int64
    assert batch["valid"][:, 0].all()
    assert not batch["valid"][:, 1].any()
