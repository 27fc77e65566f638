"""Threads, event loops, forks and spawned processes read the same pixels, and none of them hangs."""

import asyncio
import concurrent.futures
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import zarr

from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.pipeline import open_array
from rasteret_refs.read.store import ReferenceStore

PATH = "factor_1/image"


def checksum(reader):
    return int(reader.read(PATH).sum(dtype=np.int64))


def checksum_through_zarr(reader):
    array = zarr.open_array(ReferenceStore(reader), path=PATH, mode="r", zarr_format=2)
    return int(array[:].sum(dtype=np.int64))


@pytest.fixture(params=["refs", "remote_refs"])
def reader(request):
    return open_reader(request.getfixturevalue(request.param))


@pytest.fixture
def expected(pixels):
    return int(pixels.sum(dtype=np.int64))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_read_after_their_parent_has_read(reader, expected, method):
    assert checksum(reader) == expected
    context = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads is what is tested
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            answers = [pool.submit(work, reader) for work in (checksum, checksum_through_zarr, checksum)]
            assert [answer.result(timeout=60) for answer in answers] == [expected] * 3


def test_many_threads_share_a_reader(reader, expected):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: checksum(reader), range(32))) == {expected}


def test_every_new_event_loop_reads(reader, pixels):
    async def read():
        store = ReferenceStore(reader)
        array = await zarr.api.asynchronous.open_array(store=store, path=PATH, mode="r", zarr_format=2)
        return await array.getitem((2, slice(10, 300), slice(5, 600)))

    for _ in range(3):
        np.testing.assert_array_equal(asyncio.run(read()), pixels[2, 10:300, 5:600])


def test_reading_works_inside_a_running_event_loop(reader, expected):
    async def read():
        return checksum(reader)

    assert asyncio.run(read()) == expected


def test_a_pickled_zarr_array_keeps_its_pipeline(reader, pixels):
    array = pickle.loads(pickle.dumps(open_array(ReferenceStore(reader), PATH)))  # noqa: S301 - our own bytes
    assert type(array.async_array.codec_pipeline).__name__ == "BulkReadPipeline"
    np.testing.assert_array_equal(array[3, 100:200], pixels[3, 100:200])
