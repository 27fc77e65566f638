"""DataLoaders of every kind: start methods, numbers of workers, persistent or not, pinned or not."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.ml.scenes import AssetSpec, SceneSpec, collection

pytestmark = pytest.mark.timeout(240)
STARTS = ("fork", "forkserver", "spawn")
SCENES = [SceneSpec(id=f"s{n}", x=600_000.0 + 3000 * n, day=n, properties=(("kind", n % 2),)) for n in range(2)]
ASSETS = [AssetSpec(name="red"), AssetSpec(name="scl", dtype="uint8", pixel=20.0, high=12)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return collection(tmp_path_factory.mktemp("workers"), SCENES, ASSETS)


def passes(loader, count=1):
    """All samples of passes, by their places in the index; each place once a pass."""
    found = []
    for _ in range(count):
        seen = {}
        for batch in loader:
            for number, place in enumerate(batch["index"].tolist()):
                assert place not in seen, "a chip came twice"
                seen[place] = {name: value[number].clone() for name, value in batch.items()}
        found.append(seen)
    return found


def same(got, wanted):
    assert got.keys() == wanted.keys()
    for place in got:
        for name, value in wanted[place].items():
            assert got[place][name].dtype == value.dtype
            assert torch.equal(got[place][name], value), name


CASES = [(None, 0, False), (None, 0, True)]
CASES += [(start, workers, iterable) for start in STARTS for workers, iterable in ((2, False), (4, False), (2, True))]


@pytest.mark.parametrize(("start", "workers", "iterable"), CASES)
def test_every_start_method_and_number_of_workers_gives_the_same_chips(found, start, workers, iterable):
    options = {"label": "kind", "mask_assets": {"scl": [3]}}
    wanted = passes(DataLoader(found.to_torch(75, ["red"], **options), batch_size=8))[0]
    how = {"multiprocessing_context": start, "persistent_workers": True} if workers else {}
    dataset = found.to_torch(75, ["red"], iterable=iterable, **options)
    dataset.source.read([0])  # the parent has threads, connections and caches before there are workers
    for got in passes(DataLoader(dataset, batch_size=8, num_workers=workers, **how), 2 if workers == 2 else 1):
        same(got, wanted)


@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_memory_works_where_there_is_no_accelerator(found, workers, iterable):
    options = {"label": "kind", "mask_assets": {"scl": [3]}, "series": {"freq": "MS", "length": 2}}
    dataset = found.to_torch(75, ["red"], iterable=iterable, **options)
    wanted = passes(DataLoader(dataset, batch_size=8))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it pins nothing here
        got = passes(DataLoader(dataset, batch_size=8, num_workers=workers, pin_memory=True))[0]
    kinds = {value.dtype for value in got[0].values()}
    assert {torch.uint16, torch.int64, torch.bool} <= kinds
    same(got, wanted)


def test_samples_of_torchgeo_can_be_pinned(found):
    from torchgeo.datasets import stack_samples
    from torchgeo.samplers import GriddedPatchSampler

    dataset = found.to_torchgeo(["red"]) & found.to_torchgeo(["scl"], is_image=False, res=10)
    sampler = GriddedPatchSampler(dataset, size=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = list(DataLoader(dataset, sampler=sampler, batch_size=4, pin_memory=True, collate_fn=stack_samples))
    assert {(batch["image"].dtype, batch["mask"].dtype) for batch in batches} == {(torch.uint16, torch.int64)}


def test_workers_that_do_not_persist_see_a_new_epoch(found):
    dataset = found.to_torch(50, ["red"], random=6)
    orders = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        samples = passes(DataLoader(dataset, batch_size=3, num_workers=2))[0]
        orders.append(np.stack([samples[place]["image"].numpy() for place in range(6)]))
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
