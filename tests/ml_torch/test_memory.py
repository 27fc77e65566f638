"""Memory of workers over many epochs, for each way to start them.

What counts is the proportional set size (PSS): pages of a worker's own whole, pages that processes share by parts. The
resident size counts what a forked child inherits as its own from the start, and would hide that it copies it later.
"""

import gc

import numpy as np
import psutil
import pytest
from torch.utils.data import DataLoader

from tests.ml.scenes import AssetSpec, SceneSpec, collection

EPOCHS = 13
SETTLING = 3
"""Epochs in which caches fill and allocators settle."""
SAMPLES_AN_EPOCH = 4 * 15 * 15 // 2
"""Of each of two workers."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    scenes = [SceneSpec(id=f"s{n}", x=600_000.0 + 5120 * n, size=512) for n in range(4)]
    return collection(tmp_path_factory.mktemp("memory"), scenes, [AssetSpec(name="red"), AssetSpec(name="nir")])


@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_memory_stays_flat_over_epochs(found, start, iterable):
    options = {"iterable": True, "memory": 4 * 2**20} if iterable else {}
    dataset = found.to_torch(64, ["red", "nir"], stride=32, transform=Collecting(at=EPOCHS // 2), **options)
    dataset.source.read([0])  # the parent has read before
    order = {} if iterable else {"shuffle": True}
    loader = DataLoader(
        dataset, batch_size=32, num_workers=2, multiprocessing_context=start, persistent_workers=True, **order
    )
    held = []
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)
        for _ in loader:
            pass
        workers = [psutil.Process(worker.pid) for worker in loader._iterator._workers]
        held.append(sum(process.memory_full_info().pss for process in workers))
    settled = np.array(held[SETTLING:], np.float64)
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] / settled.mean()
    print(f"{start}, {'iterable' if iterable else 'map'}: {slope:+.2%} an epoch, {settled.mean() / 2**20:.0f} MiB")
    assert slope <= 0.01


class Collecting:
    """A transform that makes Python collect all its garbage once, in the middle of the epochs, as it does by itself.

    A full collection writes to the head of every object; a forked worker then copied what it shares with its parent.
    """

    def __init__(self, at):
        self.left = at * SAMPLES_AN_EPOCH

    def __call__(self, sample):
        self.left -= 1
        if self.left == 0:
            gc.collect()
        return sample
