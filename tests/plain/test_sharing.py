"""The plain store shared: pickled, in threads, in processes, in one event loop after another."""

import asyncio
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import FsspecStore

import rasteret_refs as rr
from tests.plain.scenes import Scenes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["local", "http"])
def location(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("local")) if request.param == "local" else request.getfixturevalue("served").url


def lazy(location: str) -> xr.Dataset:
    return xr.open_zarr(rr.plain_store(location), group="factor_1", zarr_format=2, consolidated=False, chunks={})


def test_a_pickled_store_reads_the_same_pixels(location: str, scenes: Scenes) -> None:
    store = pickle.loads(pickle.dumps(rr.plain_store(location)))  # noqa: S301 - our own bytes
    group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    np.testing.assert_array_equal(group["factor_1/image"][:], scenes.pixels)


def test_a_pickled_store_reads_in_a_fresh_process(location: str, scenes: Scenes, tmp_path: Path) -> None:
    (tmp_path / "store.pickle").write_bytes(pickle.dumps(rr.plain_store(location)))
    program = (
        "import pickle, zarr, numpy\n"
        "store = pickle.load(open('store.pickle', 'rb'))\n"
        "group = zarr.open_group(store, mode='r', zarr_format=2, use_consolidated=False)\n"
        "numpy.save('pixels.npy', group['factor_1/image'][:])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, timeout=120, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), scenes.pixels)


def test_dask_threads_read_the_same_pixels(location: str, scenes: Scenes) -> None:
    with dask.config.set(scheduler="threads", num_workers=8):
        np.testing.assert_array_equal(lazy(location)["image"].values, scenes.pixels)


def test_dask_processes_read_the_same_pixels(location: str, scenes: Scenes) -> None:
    from multiprocessing import get_context

    dataset = lazy(location)
    with (
        get_context("spawn").Pool(2) as pool,
        dask.config.set(scheduler="processes", pool=pool),
    ):
        np.testing.assert_array_equal(dataset["image"].values, scenes.pixels)


def test_eight_threads_read_one_array_at_once(location: str, scenes: Scenes) -> None:
    array = zarr.open_group(rr.plain_store(location), mode="r", zarr_format=2, use_consolidated=False)["factor_1/image"]

    def part(number: int) -> bool:
        rows = slice(number * 80, number * 80 + 100)
        return np.array_equal(array[:, rows], scenes.pixels[:, rows])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(part, [*range(8)] * 3))


def test_event_loops_one_after_the_other_read_the_same_pixels(location: str, scenes: Scenes) -> None:
    async def read() -> np.ndarray:
        group = await zarr.api.asynchronous.open_group(
            rr.plain_store(location), mode="r", zarr_format=2, use_consolidated=False
        )
        array = await group.getitem("factor_1/image")
        return await array.getitem((slice(None), slice(None), slice(None)))

    for _ in range(2):
        np.testing.assert_array_equal(asyncio.run(read()), scenes.pixels)


def test_plain_store_is_zarr_s_own_store_class(location: str) -> None:
    assert type(rr.plain_store(location)) is FsspecStore
