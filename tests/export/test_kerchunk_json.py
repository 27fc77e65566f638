"""Kerchunk JSON: what readers without Parquet see, against rasterio."""

import fsspec
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

import rasteret_refs as rr
from rasteret_refs.build.run import build
from rasteret_refs.errors import DamagedError, ExistsError, RefsetError
from tests.build.test_append import cogs, scene  # noqa: F401 - a fixture


@pytest.fixture
def collection(cogs, tmp_path):  # noqa: F811 - the fixture
    build([scene(f"s{n}", cogs[n], n) for n in range(3)], tmp_path / "x.refs")
    return rr.open(tmp_path / "x.refs")


def test_plain_zarr_reads_the_pixels_of_every_scene(collection, cogs, tmp_path):  # noqa: F811
    out = collection.export(tmp_path / "x.json")
    files = ReferenceFileSystem(str(out), remote_protocol="file", asynchronous=True,
                                remote_options={"asynchronous": True}, skip_instance_cache=True)  # fmt: skip
    root = zarr.open_group(FsspecStore(files, read_only=True), mode="r", zarr_format=2, use_consolidated=False)
    for row, path in enumerate(cogs[:3]):
        with rasterio.open(path) as file:
            assert np.array_equal(root["factor_1/red"][row], file.read(1))
        with rasterio.open(path, overview_level=0) as file:
            assert np.array_equal(root["factor_2/red"][row], file.read(1))


@pytest.mark.filterwarnings("ignore")
def test_xarrays_kerchunk_engine_opens_it_with_coordinates(collection, tmp_path):
    out = collection.export(tmp_path / "x.json")
    dataset = xr.open_dataset(str(out), engine="kerchunk", group="factor_1")
    assert dataset["id"].to_numpy().tolist() == ["s0", "s1", "s2"]
    assert dataset["time"].dtype.kind == "M"


def test_the_references_are_those_of_the_parquet_form(collection, tmp_path):
    out = collection.export(tmp_path / "x.json")
    references = fsspec.filesystem("reference", fo=str(out), skip_instance_cache=True).references
    plain = rr.plain_store(collection.location).fs.references
    keys = [f"factor_1/red/{row}.{down}.{across}" for row in range(3) for down in range(3) for across in range(3)]
    assert len(set(keys) & set(references)) == 27
    for key in keys:
        assert list(references[key]) == list(plain[key])


def test_an_existing_file_is_only_replaced_when_told(collection, tmp_path):
    out = tmp_path / "x.json"
    out.write_text("mine")
    with pytest.raises(ExistsError):
        collection.export(out)
    assert out.read_text() == "mine"
    collection.export(out, overwrite=True)
    assert out.read_text().startswith('{"version":1')
    with pytest.raises(ExistsError):
        collection.export(tmp_path, overwrite=True)


def test_a_damaged_set_leaves_no_file(collection, tmp_path):
    manifest = next((tmp_path / "x.refs" / "zarr.parq").rglob("red/refs.0.parq"))
    manifest.write_bytes(manifest.read_bytes()[:-9])
    with pytest.raises(DamagedError):
        rr.open(tmp_path / "x.refs").export(tmp_path / "x.json")
    assert not list(tmp_path.glob("*.json*"))


def test_a_place_that_cannot_be_written_is_named(collection, tmp_path):
    with pytest.raises(RefsetError, match="none"):
        collection.export(tmp_path / "none" / "x.json")
