"""The plain route over sets of `plans`: what Zarr, xarray and fsspec read equals what rasterio reads."""

import asyncio
import json
import multiprocessing
import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore

from rasteret_refs.errors import DamagedError, NotFoundError, ObjectError, ResponseError, UnauthorisedSourceError
from rasteret_refs.refset.plain import plain_store
from tests.refset.plans import GROUP, Planned, plan_of, write_tiffs
from tests.servers.range_server import Server

ARRAY = f"{GROUP}/image"


def read(store: FsspecStore) -> np.ndarray:
    group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    return np.asarray(group[ARRAY][:])


def test_zarr_reads_what_rasterio_reads(refs: Path, planned: Planned) -> None:
    np.testing.assert_array_equal(read(plain_store(refs)), planned.pixels)


def test_xarray_reads_pixels_and_coordinates(refs: Path, planned: Planned) -> None:
    dataset = xr.open_zarr(plain_store(refs), group=GROUP, zarr_format=2, consolidated=False, chunks=None)
    np.testing.assert_array_equal(dataset["image"].values, planned.pixels)
    assert dataset["image"].dtype == np.uint16
    assert dataset["id"].values.tolist() == list(planned.ids)
    assert "id" in dataset.coords
    np.testing.assert_array_equal(dataset["x"].values, 600005.0 + 10 * np.arange(30))
    assert dataset["spatial_ref"].item() == 0


def test_groups_and_arrays_are_listed(refs: Path) -> None:
    root = zarr.open_group(plain_store(refs), mode="r", zarr_format=2, use_consolidated=False)
    assert {name for name, _ in root.members(max_depth=None)} == {
        GROUP.partition("/")[0], GROUP, *(f"{GROUP}/{name}" for name in ("image", "id", "x", "y", "spatial_ref")),
    }  # fmt: skip


def test_a_set_opens_without_saying_which_zarr_format(refs: Path, planned: Planned) -> None:
    group = zarr.open_group(plain_store(refs), mode="r", use_consolidated=False)
    np.testing.assert_array_equal(np.asarray(group[ARRAY][3]), planned.pixels[3])


def test_keys_that_are_not_there_read_as_absent(refs: Path) -> None:
    store = plain_store(refs)
    prototype = default_buffer_prototype()
    for key in ("zarr.json", f"{ARRAY}/zarr.json", f"{ARRAY}/7.0.0", f"{ARRAY}/0.0", f"{ARRAY}/-1.0.0", "no/.zarray"):
        assert asyncio.run(store.get(key, prototype)) is None
        assert not asyncio.run(store.exists(key))


def test_the_store_travels_by_pickle(refs: Path, planned: Planned) -> None:
    store = pickle.loads(pickle.dumps(plain_store(refs)))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(read(store), planned.pixels)


def test_eight_threads_read_the_same_store(refs: Path, planned: Planned) -> None:
    store = plain_store(refs)
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda _: read(store), range(8)):
            np.testing.assert_array_equal(pixels, planned.pixels)


def served(server: Server, refs: Path) -> str:
    """Return the set's address on the server over `tmp_path`."""
    return f"{server.url}{refs.name}"


@pytest.fixture
def remote(tmp_path: Path, server_process: Server, write: Callable[..., Path]) -> tuple[str, Planned, Server]:
    """A set behind HTTP whose sources are behind HTTP too."""
    paths = write_tiffs(tmp_path, 5)
    planned = plan_of(paths, [server_process.url + path.name for path in paths], holes=[1])
    return served(server_process, write(planned, "remote")), planned, server_process


def test_a_set_behind_http_reads_without_listings_or_double_slashes(remote: tuple[str, Planned, Server]) -> None:
    location, planned, server = remote
    np.testing.assert_array_equal(read(plain_store(location)), planned.pixels)
    assert server.stats().refused == 0


def test_a_local_set_may_point_to_http_and_to_files(
    tmp_path: Path, server_process: Server, write: Callable[..., Path]
) -> None:
    paths = write_tiffs(tmp_path, 4)
    planned = plan_of(
        paths, [server_process.url + paths[0].name, str(paths[1]), server_process.url + paths[2].name, str(paths[3])]
    )
    np.testing.assert_array_equal(read(plain_store(write(planned))), planned.pixels)


def test_one_store_serves_several_event_loops(remote: tuple[str, Planned, Server]) -> None:
    location, planned, _ = remote
    store = plain_store(location)

    async def strip() -> bytes:
        found = await store.get(f"{ARRAY}/4.2.0", default_buffer_prototype())
        assert found is not None
        return found.to_bytes()

    expected = planned.pixels[4, 16:24].tobytes()
    assert asyncio.run(strip()) == expected
    assert asyncio.run(strip()) == expected
    np.testing.assert_array_equal(read(store), planned.pixels)


def _read_in_child(store: FsspecStore, pipe: object) -> None:
    pipe.send(read(store))
    pipe.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_process_reads_what_its_parent_has_read(remote: tuple[str, Planned, Server], method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    location, planned, _ = remote
    store = plain_store(location)
    np.testing.assert_array_equal(read(store), planned.pixels)
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read_in_child, args=(store, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of fork in a process with threads
        child.start()
    assert receiver.poll(60)
    np.testing.assert_array_equal(receiver.recv(), planned.pixels)
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask_reads_in_threads_and_processes(remote: tuple[str, Planned, Server], scheduler: str) -> None:
    import dask

    location, planned, _ = remote
    dataset = xr.open_zarr(plain_store(location), group=GROUP, zarr_format=2, consolidated=False, chunks={})
    with dask.config.set(scheduler=scheduler, num_workers=2):
        np.testing.assert_array_equal(dataset["image"].values, planned.pixels)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "zeroed":
        path.write_bytes(bytes(len(data)))
    else:
        position = len(data) // 2
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])


@pytest.mark.parametrize("how", ["missing", "truncated", "zeroed", "flipped"])
def test_a_damaged_manifest_raises_and_never_fills(refs: Path, how: str) -> None:
    damage(refs / f"zarr.parq/{ARRAY}/refs.2.parq", how)
    store = plain_store(refs)
    with pytest.raises(DamagedError, match=r"refs\.2\.parq"):
        read(store)


@pytest.mark.parametrize("how", ["missing", "truncated", "zeroed", "flipped"])
def test_damaged_metadata_raises_at_open(refs: Path, how: str) -> None:
    damage(refs / "zarr.parq/.zmetadata", how)
    with pytest.raises(DamagedError, match="zmetadata"):
        plain_store(refs)


def test_a_directory_that_is_no_set_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"refs\.json"):
        plain_store(tmp_path / "nothing.refs")


def test_a_missing_source_raises_and_never_fills(refs: Path, planned: Planned) -> None:
    Path(planned.urls[0]).unlink()
    with pytest.raises(ObjectError, match="scene_0_0"):
        read(plain_store(refs))


def test_a_source_that_ends_early_raises(refs: Path, planned: Planned) -> None:
    path = Path(planned.urls[0])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ResponseError, match="scene_0_0"):
        read(plain_store(refs))


def test_a_server_that_ignores_ranges_raises(remote: tuple[str, Planned, Server]) -> None:
    location, _, server = remote
    server.fail("ignore_range", path="*.tif")
    with pytest.raises(ResponseError, match=r"expected \d+ bytes"):
        read(plain_store(location))


def test_a_remote_set_may_not_lead_to_local_files(refs: Path, server_process: Server) -> None:
    with pytest.raises(UnauthorisedSourceError, match="no local files"):
        read(plain_store(served(server_process, refs)))


def test_references_outside_the_sealed_prefixes_are_refused(planned: Planned, write: Callable[..., Path]) -> None:
    refs = write(planned, sources=["/elsewhere/"])
    with pytest.raises(UnauthorisedSourceError, match="/elsewhere/"):
        read(plain_store(refs))


def test_manifests_in_memory_stay_within_their_bound(refs: Path, planned: Planned) -> None:
    store = plain_store(refs, manifest_bytes=900)
    for _ in range(2):
        np.testing.assert_array_equal(read(store), planned.pixels)
        assert store.fs.references._records.bytes_held <= 900


@pytest.fixture
def warned() -> Iterator[None]:
    """pandas ≥ 3.1 warns that its fastparquet engine, which fsspec's own mapper uses, will be removed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fastparquet.*")
        yield


@pytest.mark.usefixtures("warned")
def test_fsspec_itself_reads_the_set_with_fastparquet(refs: Path, planned: Planned) -> None:
    fs = ReferenceFileSystem(str(refs / "zarr.parq"), remote_protocol="file", asynchronous=True)
    np.testing.assert_array_equal(read(FsspecStore(fs, read_only=True)), planned.pixels)


@pytest.mark.usefixtures("warned")
def test_fsspec_itself_reads_the_set_over_http(remote: tuple[str, Planned, Server]) -> None:
    location, planned, server = remote
    fs = ReferenceFileSystem(
        f"{location}/zarr.parq", remote_protocol="http", remote_options={"asynchronous": True}, asynchronous=True
    )
    np.testing.assert_array_equal(read(FsspecStore(fs, read_only=True)), planned.pixels)
    assert server.stats().refused == 0


@pytest.mark.usefixtures("warned")
def test_the_kerchunk_engine_reads_the_set(remote: tuple[str, Planned, Server]) -> None:
    location, planned, _ = remote
    options = {"remote_protocol": "http", "remote_options": {"asynchronous": True}}
    dataset = xr.open_dataset(
        f"{location}/zarr.parq", engine="kerchunk", storage_options=options, group=GROUP, chunks=None
    )
    np.testing.assert_array_equal(dataset["image"].values, planned.pixels)


@pytest.mark.usefixtures("warned")
def test_the_reference_url_reads_the_set(remote: tuple[str, Planned, Server]) -> None:
    location, planned, _ = remote
    options = {
        "fo": f"{location}/zarr.parq", "remote_protocol": "http", "remote_options": {"asynchronous": True},
        "asynchronous": True,
    }  # fmt: skip
    group = zarr.open_group("reference://", storage_options=options, mode="r", zarr_format=2, use_consolidated=False)
    np.testing.assert_array_equal(np.asarray(group[ARRAY][:]), planned.pixels)


def test_both_engines_of_fsspec_read_every_reference(refs: Path, planned: Planned) -> None:
    from fsspec.implementations.reference import LazyReferenceMapper

    manifest = planned.plan.groups[2].arrays[0].manifest
    for engine in ("fastparquet", "pyarrow"):
        mapper = LazyReferenceMapper(str(refs / "zarr.parq"), engine=engine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for chunk in range(len(manifest)):
                found = mapper[f"{ARRAY}/{chunk // 5}.{chunk % 5}.0"]
                index = manifest.url_index[chunk]
                if index < 0:
                    assert found == manifest.inlined[0]
                else:
                    assert found == [manifest.urls[index], manifest.offsets[chunk], manifest.sizes[chunk]]
                    assert all(isinstance(value, int | np.integer) for value in found[1:])


def test_which_call_warns_under_pandas_3_is_only_the_one_that_uses_fastparquet(refs: Path) -> None:
    import pandas as pd

    read(plain_store(refs))  # warnings are errors here: plain_store gives none
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        pytest.skip("pandas below 3.1 does not warn")
    fs = ReferenceFileSystem(str(refs / "zarr.parq"), remote_protocol="file", asynchronous=True)
    with pytest.warns(match="fastparquet"):
        read(FsspecStore(fs, read_only=True))


def test_plain_store_needs_no_pandas(refs: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'pandas', 'fastparquet'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "import zarr; from rasteret_refs.refset.plain import plain_store\n"
        f"g = zarr.open_group(plain_store({str(refs)!r}), mode='r', zarr_format=2, use_consolidated=False)\n"
        f"print(g[{ARRAY!r}][:].sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert int(done.stdout) > 0


def test_metadata_is_json_that_the_kerchunk_specification_describes(refs: Path) -> None:
    document = json.loads((refs / "zarr.parq/.zmetadata").read_text())
    assert set(document) == {"metadata", "record_size"}
    array = document["metadata"][f"{ARRAY}/.zarray"]
    assert array["zarr_format"] == 2
    assert array["fill_value"] is None


def test_a_set_and_its_sources_may_lie_in_a_bucket(
    tmp_path: Path, server_process: Server, write: Callable[..., Path]
) -> None:
    pytest.importorskip("s3fs")
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    paths = write_tiffs(bucket, 3)
    planned = plan_of(paths, [f"s3://bucket/{path.name}" for path in paths])
    write(planned).rename(bucket / "set.refs")
    options = {
        "anon": True,
        "endpoint_url": server_process.url.rstrip("/"),
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    store = plain_store("s3://bucket/set.refs", s3=options)
    np.testing.assert_array_equal(read(store), planned.pixels)
    np.testing.assert_array_equal(read(pickle.loads(pickle.dumps(store))), planned.pixels)  # noqa: S301 - our own bytes
