"""The order of iterable datasets: each chip once, whoever takes part; tiles stay together."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_refs.ml.blocks import batches, blocks, share, shuffled


@given(
    sizes=st.lists(st.integers(1, 12), max_size=30),
    most=st.integers(1, 40),
    ranks=st.integers(1, 4),
    workers=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_every_chip_comes_once_whatever_the_ranks_and_workers(sizes, most, ranks, workers, seed):
    tiles = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(seed).permutation(len(tiles))
    parts = shuffled(blocks(order, tiles, most), np.random.default_rng(seed))
    given_out, by_rank = [], []
    for rank in range(ranks):
        mine = share(parts, rank, ranks)
        by_rank.append(sum(map(len, mine)))
        for worker in range(workers):
            for read in batches(share(mine, worker, workers), most, np.random.default_rng([seed, rank, worker])):
                given_out += read.tolist()
    assert sorted(given_out) == list(range(len(tiles)))
    assert max(by_rank) - min(by_rank) <= 1


@given(sizes=st.lists(st.integers(1, 12), max_size=30), most=st.integers(1, 40))
def test_blocks_are_small_enough_and_cut_tiles_only_where_one_alone_is_too_large(sizes, most):
    tiles = np.repeat(np.arange(len(sizes)), sizes)
    parts = blocks(np.arange(len(tiles)), tiles, most)
    assert np.concatenate([*parts, np.empty(0, int)]).tolist() == list(range(len(tiles)))
    assert all(len(part) <= most for part in parts)
    for one, following in itertools.pairwise(parts):
        if tiles[one[-1]] == tiles[following[0]]:
            assert sizes[tiles[one[-1]]] > most


def test_reads_keep_their_size():
    parts = [np.arange(5) + 5 * n for n in range(9)]
    found = list(batches(parts, 12, None))
    assert [len(read) for read in found] == [10, 10, 10, 10, 5]
    assert np.concatenate(found).tolist() == list(range(45))


@pytest.mark.parametrize("seed", range(3))
def test_another_seed_is_another_order(seed):
    parts = [np.array([n]) for n in range(50)]
    one = np.concatenate(shuffled(parts, np.random.default_rng([seed, 0])))
    assert one.tolist() != np.concatenate(shuffled(parts, np.random.default_rng([seed, 1]))).tolist()
    assert one.tolist() == np.concatenate(shuffled(parts, np.random.default_rng([seed, 0]))).tolist()
