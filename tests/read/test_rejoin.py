"""An asset whose files differ in profile reads as one array again."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import xarray as xr

from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from tests.read.conftest import noise, write_cog


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("profiles")
    options = [{}, {"compress": "zstd"}, {}, {"compress": "lzw"}, {"predictor": 1, "compress": "lzw"}, {}]
    return [
        write_cog(directory / f"{n}.tif", noise((1, 300, 310), "uint16", n), nodata=0, **option)
        for n, option in enumerate(options)
    ]


@pytest.fixture(scope="module")
def refs(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "profiles.refs"
    scenes = [
        Scene(id=f"s{n}", datetime=datetime(2024, 1, 1 + n, tzinfo=UTC), assets=(Asset(name="red", href=str(path)),))
        for n, path in enumerate(files)
    ]
    build(scenes, out)
    return out


def test_every_scene_reads_its_own_pixels_under_one_name(refs, files):
    dataset = xr.open_dataset(refs, engine="rasteret_refs")
    assert list(dataset.data_vars) == ["red"]
    for number, path in enumerate(files):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(dataset.red[number], file.read(1))


def test_selections_across_profiles_equal_numpys(refs, files):
    dataset = xr.open_dataset(refs, engine="rasteret_refs")
    stack = []
    for path in files:
        with rasterio.open(path) as file:
            stack.append(file.read(1))
    stack = np.stack(stack)
    found = dataset.red[[5, 1, 3, 1], 10:200:3, [0, 309]]
    np.testing.assert_array_equal(found, stack[[5, 1, 3, 1]][:, 10:200:3, [0, 309]])
    rows = xr.DataArray([0, 299, 4], dims="p")
    np.testing.assert_array_equal(dataset.red.isel(y=rows, x=rows, time=rows % 6), stack[rows % 6, rows, rows])


def test_overviews_are_put_together_as_well(refs, files):
    dataset = xr.open_dataset(refs, engine="rasteret_refs", factor=2)
    for number, path in enumerate(files):
        with rasterio.open(path, overview_level=0) as file:
            np.testing.assert_array_equal(dataset.red[number], file.read(1))


def test_dask_reads_the_same(refs):
    lazy = xr.open_dataset(refs, engine="rasteret_refs", chunks={})
    xr.testing.assert_equal(lazy.compute(), xr.open_dataset(refs, engine="rasteret_refs").load())


def test_pixels_of_another_dtype_stay_by_themselves(tmp_path):
    dtypes = ("uint16", "uint16", "uint8")
    paths = [write_cog(tmp_path / f"{n}.tif", noise((1, 300, 310), dtype, n)) for n, dtype in enumerate(dtypes)]
    scenes = [Scene(id=f"s{n}", assets=(Asset(name="red", href=str(path)),)) for n, path in enumerate(paths)]
    build(scenes, tmp_path / "mixed.refs", axis="scene")
    dataset = xr.open_dataset(tmp_path / "mixed.refs", engine="rasteret_refs")
    (other,) = set(dataset.data_vars) - {"red"}
    assert (dataset.red.dtype, dataset[other].dtype) == (np.dtype("uint16"), np.dtype("uint8"))
    with rasterio.open(paths[2]) as file:
        np.testing.assert_array_equal(dataset[other][2], file.read(1))
