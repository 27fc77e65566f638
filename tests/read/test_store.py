"""The store's listings equal those of Zarr's own memory store with the same keys; groups open as Zarr opens them."""

import json

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from rasteret_refs.errors import DamagedError
from rasteret_refs.objects.client import Objects
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.store import ReferenceStore
from tests.read.stubs import StubRefset

VALUES = np.arange(24, dtype="i4").reshape(2, 3, 4)


@pytest.fixture
def store():
    refset = StubRefset()
    refset.add_values("a/red", VALUES, (1, 2, 3), attributes={"_ARRAY_DIMENSIONS": ["time", "y", "x"]})
    refset.add_values("a/x", np.arange(4.0), (4,))
    refset.add_values("ab/red", VALUES[:1], (1, 3, 4))
    return ReferenceStore(Reader(refset, Objects()))


@pytest.fixture
async def twin(store):
    """Every key of the set in Zarr's memory store; chunk keys counted out by hand."""
    refset = store.reader.refset
    keys = [*refset.metadata]
    keys += [f"a/red/{t}.{y}.{x}" for t in range(2) for y in range(2) for x in range(2)]
    keys += ["a/x/0", "ab/red/0.0.0"]
    memory = MemoryStore()
    for key in keys:
        await memory.set(key, cpu.Buffer.from_bytes(b"x"))
    return memory


async def collected(names):
    return sorted([name async for name in names])


async def test_all_keys_are_listed(store, twin):
    assert await collected(store.list()) == await collected(twin.list())


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/red", "a/red/", "a/red/1", "ab/", "b", ".z"])
async def test_prefixes_list_the_same(store, twin, prefix):
    assert await collected(store.list_prefix(prefix)) == await collected(twin.list_prefix(prefix))


@pytest.mark.parametrize("directory", ["", "a", "a/", "a/red", "ab", "nothing"])
async def test_directories_list_the_same(store, twin, directory):
    assert await collected(store.list_dir(directory)) == await collected(twin.list_dir(directory))


def test_groups_and_members_open_as_zarr_opens_them(store):
    group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    assert sorted(group.group_keys()) == ["a", "ab"]
    assert sorted(group["a"].array_keys()) == ["red", "x"]
    np.testing.assert_array_equal(group["a/red"][:], VALUES)
    np.testing.assert_array_equal(group["a"]["x"][:], np.arange(4.0))


def test_consolidated_metadata_open_as_well(store):
    group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=True)
    np.testing.assert_array_equal(group["a/red"][1], VALUES[1])


async def test_metadata_are_those_of_the_set(store):
    text = (await store.get("a/red/.zarray", cpu.buffer_prototype)).to_bytes()
    assert json.loads(text) == store.reader.refset.metadata["a/red/.zarray"]


@pytest.mark.parametrize(
    "key", ["a/red/0.0", "a/red/0.0.2", "a/red/2.0.0", "a/red/-1.0.0", "a/red/0.0.00", "b/0", "a/0"]
)
async def test_keys_of_no_chunk_are_not_there(store, key):
    assert await store.get(key, cpu.buffer_prototype) is None
    assert not await store.exists(key)


async def test_a_chunk_without_reference_raises(store):
    store.reader.refset.rows["a/red"][0] = ("", 0, 0, None)
    with pytest.raises(DamagedError, match="row 0 has neither"):
        await store.get("a/red/0.0.0", cpu.buffer_prototype)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("chunks", [0, 2, 3], "one chunk size per dimension"),
        ("dtype", "nonsense", "nonsense"),
        ("dimension_separator", "/", "chunk keys like"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(store, field, value, message):
    store.reader.refset.metadata["a/red/.zarray"][field] = value
    with pytest.raises(DamagedError, match=message):
        store.reader.array("a/red")
