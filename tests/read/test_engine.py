"""The xarray backend: datasets, trees, dask, georeferencing."""

import pickle
import subprocess
import sys

import numpy as np
import odc.geo.xr  # noqa: F401 - registers .odc
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.dataset import dask_chunks


@pytest.fixture
def dataset(refs):
    return xr.open_dataset(refs, engine="rasteret_refs")


def test_pixels_dtype_and_dimensions_are_those_of_the_files(dataset, pixels):
    assert dataset.image.dims == ("scene", "y", "x")
    assert dataset.image.dtype == pixels.dtype
    np.testing.assert_array_equal(dataset.image, pixels)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[2, 100:300, 250:260],
        np.s_[[3, 0], 499, ::-7],
        np.s_[:, [5, 400, 5], 699],
        np.s_[1:3, ::50, [0, 300]],
    ],
)
def test_lazy_indexing_equals_numpys(dataset, pixels, key):
    found = dataset.image[key].to_numpy()
    expected = pixels
    for axis in reversed(range(3)):
        expected = expected[(slice(None),) * axis + (key[axis],)]
    np.testing.assert_array_equal(found, expected)


def test_pointwise_selection_equals_numpys(dataset, pixels):
    rows = xr.DataArray([[0, 499], [20, 130]], dims=("a", "b"))
    columns = xr.DataArray([[699, 0], [128, 127]], dims=("a", "b"))
    found = dataset.image.isel(y=rows, x=columns).transpose("scene", "a", "b")
    np.testing.assert_array_equal(found, pixels[:, rows.to_numpy(), columns.to_numpy()])


def test_nearest_selection_by_coordinates_reads_that_pixel(dataset, pixels):
    found = dataset.image.sel(x=600000 + 10 * 321 + 2, y=1500000 - 10 * 77 - 9, method="nearest")
    np.testing.assert_array_equal(found, pixels[:, 77, 321])


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's own
def test_rioxarray_and_odc_find_the_georeference(dataset, cogs):
    with rasterio.open(cogs[0]) as file:
        assert dataset.rio.crs == file.crs
        assert dataset.rio.transform() == file.transform
        assert dataset.odc.geobox.affine == file.transform
        assert dataset.odc.geobox.crs == file.crs


def test_overviews_are_those_of_the_files(refs, cogs):
    dataset = xr.open_dataset(refs, engine="rasteret_refs", factor=2)
    with rasterio.open(cogs[1], overview_level=0) as file:
        np.testing.assert_array_equal(dataset.image[1], file.read(1))


def test_a_tree_holds_every_group(refs):
    tree = xr.open_datatree(refs, engine="rasteret_refs")
    assert {"factor_1", "factor_2"} <= set(tree.children)
    with pytest.raises(QueryError, match="every factor"):
        xr.open_datatree(refs, engine="rasteret_refs", factor=2)


def test_a_tree_opens_as_a_dataset_does(refs):
    one = xr.open_datatree(refs, engine="rasteret_refs", group="factor_2", drop_variables="id", tile_cache=0)
    assert one.groups == ("/",)
    assert "id" not in one.variables
    with pytest.raises(QueryError, match="mask_and_scale=False"):
        xr.open_datatree(refs, engine="rasteret_refs", mask_and_scale=True)


def test_a_factor_that_does_not_exist_is_refused_by_name(refs):
    with pytest.raises(QueryError, match=r"factor_1.*no group has factor 3"):
        xr.open_dataset(refs, engine="rasteret_refs", factor=3)


def test_a_group_that_does_not_exist_is_refused_by_name(refs):
    with pytest.raises(QueryError, match="found none for group='elsewhere'"):
        xr.open_dataset(refs, engine="rasteret_refs", group="elsewhere")


def test_the_engine_is_found_by_the_name_of_the_set(refs, pixels):
    np.testing.assert_array_equal(xr.open_dataset(refs).image[0], pixels[0])


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_dask_reads_the_same_under_every_scheduler(refs, pixels, scheduler):
    dataset = xr.open_dataset(refs, engine="rasteret_refs").chunk({"x": 256, "y": 256})
    window = dataset.image[1:3, 200:400]
    np.testing.assert_array_equal(window.compute(scheduler=scheduler), pixels[1:3, 200:400])


def test_default_chunks_are_whole_tiles_and_the_graph_is_small(refs):
    dataset = xr.open_dataset(refs, engine="rasteret_refs", chunks={})
    assert dataset.image.data.npartitions == 1  # 4 × 700 kB
    assert len(dataset.image.data.dask) <= 3


@pytest.mark.parametrize(
    ("shape", "chunks", "expected"),
    [
        ((100, 10980, 10980), (1, 1024, 1024), (1, 4096, 4096)),
        ((100, 10980, 10980), (1, 512, 512), (1, 4096, 4096)),
        ((100, 64, 512, 512), (1, 1, 512, 512), (1, 64, 512, 512)),
        ((9, 500, 700), (1, 1, 700), (9, 500, 700)),
        ((3, 100_000, 100_000), (1, 1, 100_000), (1, 128, 100_000)),
    ],
)
def test_tiles_are_grouped_up_to_32_megabytes(shape, chunks, expected):
    array = ReferencedArray(path="a", shape=shape, chunks=chunks, dtype=np.dtype("u2"))
    assert dask_chunks(array) == expected


def test_a_pickled_dataset_reads_and_shares_one_reader(dataset, pixels):
    again = [pickle.loads(pickle.dumps(dataset)) for _ in range(2)]  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(again[0].image[2], pixels[2])
    np.testing.assert_array_equal(again[1].image[3], pixels[3])


async def test_datasets_load_on_a_running_event_loop(dataset, pixels):
    loaded = await dataset.load_async()
    np.testing.assert_array_equal(loaded.image, pixels)


def test_reading_windows_needs_no_xarray(refs):
    code = (
        "import sys; from rasteret_refs.read.reader import Reader; from rasteret_refs.objects.client import Objects\n"
        "from rasteret_refs.refset.opened import OpenedRefset\n"
        f"print(Reader(OpenedRefset({str(refs)!r}), Objects()).read('factor_1/image', (0, 0, 0)))\n"
        "print('xarray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0].isdecimal()
    assert done.stdout.split()[1] == "False"


def test_decoders_of_other_engines_are_taken_but_scaling_is_refused(refs, pixels):
    how = {"mask_and_scale": False, "decode_timedelta": False, "concat_characters": False}
    found = xr.open_dataset(refs, engine="rasteret_refs", tile_cache=0, **how)
    np.testing.assert_array_equal(found.image[0, :20], pixels[0, :20])
    assert xr.open_dataset(refs, engine="rasteret_refs", decode_cf=False).image.dtype == pixels.dtype
    with pytest.raises(QueryError, match=r"to_xarray\(scale=True, masked=True\)"):
        xr.open_dataset(refs, engine="rasteret_refs", mask_and_scale=True)
