"""Three ways to open a set without us: `plain_store`, the raw fsspec call, the kerchunk engine; files and HTTP."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

import rasteret_refs as rr
from tests.plain.conftest import Served
from tests.plain.scenes import Scenes


@pytest.fixture(autouse=True)
def pandas_may_warn_of_its_engine() -> Iterator[None]:
    """pandas ≥ 3.1 warns that its fastparquet engine will go; fsspec's own reader still uses it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fastparquet.*")
        yield


def remote(location: str) -> dict[str, Any]:
    """fsspec's options for data behind `location`'s protocol."""
    if location.startswith("http"):
        return {"remote_protocol": "http", "remote_options": {"asynchronous": True}}
    return {"remote_protocol": "file"}


def raw_store(location: str) -> FsspecStore:
    """The call that README prints."""
    fs = ReferenceFileSystem(f"{location}/zarr.parq", asynchronous=True, skip_instance_cache=True, **remote(location))
    return FsspecStore(fs, read_only=True)


@pytest.fixture(params=["local", "http"])
def location(request: pytest.FixtureRequest) -> str:
    if request.param == "local":
        return str(request.getfixturevalue("local"))
    return request.getfixturevalue("served").url


def test_plain_store_gives_the_pixels_to_zarr(location: str, scenes: Scenes) -> None:
    group = zarr.open_group(rr.plain_store(location), mode="r", zarr_format=2, use_consolidated=False)
    np.testing.assert_array_equal(group["factor_1/image"][:], scenes.pixels)
    np.testing.assert_array_equal(group["factor_2/image"][:], scenes.overview)


def test_plain_store_gives_the_pixels_to_xarray_with_the_dtype_of_the_tiff(location: str, scenes: Scenes) -> None:
    dataset = xr.open_zarr(rr.plain_store(location), group="factor_1", zarr_format=2, consolidated=False, chunks=None)
    assert dataset["image"].dtype == np.uint16
    np.testing.assert_array_equal(dataset["image"].values, scenes.pixels)


def test_the_raw_fsspec_call_gives_the_pixels(location: str, scenes: Scenes) -> None:
    group = zarr.open_group(raw_store(location), mode="r", zarr_format=2, use_consolidated=False)
    np.testing.assert_array_equal(group["factor_1/image"][:], scenes.pixels)
    dataset = xr.open_zarr(raw_store(location), group="factor_1", zarr_format=2, consolidated=False, chunks=None)
    np.testing.assert_array_equal(dataset["image"].values, scenes.pixels)


def test_the_kerchunk_engine_gives_the_pixels(location: str, scenes: Scenes) -> None:
    dataset = xr.open_dataset(
        f"{location}/zarr.parq", engine="kerchunk", storage_options=remote(location), group="factor_1", chunks=None
    )
    np.testing.assert_array_equal(dataset["image"].values, scenes.pixels)
    assert dataset["image"].dims == ("scene", "y", "x")


def test_no_route_asks_for_listings_or_double_slashes(served: Served, scenes: Scenes) -> None:
    served.server.reset()
    zarr.open_group(rr.plain_store(served.url), mode="r", zarr_format=2, use_consolidated=False)["factor_1/image"][:]
    raw = zarr.open_group(raw_store(served.url), mode="r", zarr_format=2, use_consolidated=False)
    np.testing.assert_array_equal(raw["factor_1/image"][:], scenes.pixels)
    assert served.server.stats().refused == 0
    assert [request.path for request in served.server.requests() if request.path.endswith("/")] == []


def test_both_parquet_engines_read_the_same_references(local: Path) -> None:
    import pandas as pd

    for path in sorted(local.glob("zarr.parq/**/refs.*.parq")):
        arrow = pd.read_parquet(path, engine="pyarrow")
        fast = pd.read_parquet(path, engine="fastparquet")
        assert fast["offset"].dtype == fast["size"].dtype == np.int64, path
        assert list(arrow["path"]) == list(fast["path"])
        assert list(arrow["offset"]) == list(fast["offset"])
        assert list(arrow["size"]) == list(fast["size"])
        assert [value or None for value in arrow["raw"]] == [value or None for value in fast["raw"]]
