"""Zarr's own conformance suite for stores, over a reference set made by hand.

The suite writes through the store; ours is read-only, so `set` below makes an array whose chunk has the key, and the
tests that write through the store's interface are skipped by name. Listing is tested against Zarr's own store in
`test_store.py`.
"""

import asyncio
import pickle

import pytest
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu
from zarr.testing.store import StoreTests

from rasteret_refs.objects.client import Objects
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.store import ReferenceStore
from tests.read.stubs import StubRefset

WRITES = {
    "test_set",
    "test_set_not_open",
    "test_set_many",
    "test_set_if_not_exists",
    "test_clear",
    "test_list",
    "test_list_prefix",
    "test_list_empty_path",
    "test_list_dir",
    "test_get_sync_byte_range_parity",
}


class TestConformance(StoreTests[ReferenceStore, cpu.Buffer]):
    store_cls = ReferenceStore
    buffer_cls = cpu.Buffer

    @pytest.fixture(autouse=True)
    def skip_writes(self, request):
        if request.node.originalname in WRITES:
            pytest.skip("writes through the store's interface, which is read-only")

    @pytest.fixture
    def store_kwargs(self):
        return {"reader": Reader(StubRefset(), Objects())}

    async def set(self, store: ReferenceStore, key: str, value: Buffer) -> None:
        path, _, name = key.rpartition("/")
        refset = store.reader.refset
        indices = [int(part) for part in name.split(".")]
        shape = [max(10, index + 1) for index in indices]
        if path not in refset.rows:
            refset.add(path, shape, [1] * len(shape), "u1")
        number = 0
        for index, size in zip(indices, shape, strict=True):
            number = number * size + index
        refset.inline(path, number, value.to_bytes())

    async def get(self, store: ReferenceStore, key: str) -> Buffer:
        path, _, name = key.rpartition("/")
        return self.buffer_cls.from_bytes(store.reader.refset.rows[path][int(name)][3])

    def test_store_repr(self, store):
        assert repr(store).startswith("ReferenceStore(Reader(")

    def test_store_supports_writes(self, store):
        assert not store.supports_writes
        assert not store.supports_deletes

    def test_store_supports_listing(self, store):
        assert store.supports_listing

    def test_store_read_only(self, store):
        assert store.read_only
        with pytest.raises(AttributeError):
            store.read_only = False

    @pytest.mark.parametrize("read_only", [True, False])
    async def test_store_open_read_only(self, open_kwargs, read_only):
        if read_only:
            store = await self.store_cls.open(**open_kwargs, read_only=True)
            assert store.read_only
            return
        with pytest.raises(ValueError, match="expected read_only=True"):
            await self.store_cls.open(**open_kwargs, read_only=False)

    async def test_serializable_store(self, store):
        await self.set(store, "foo/0", self.buffer_cls.from_bytes(b"\x01\x02"))
        again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
        assert again == store
        assert again.read_only
        assert (await again.get("foo/0", cpu.buffer_prototype)).to_bytes() == b"\x01\x02"

    async def test_is_empty(self, store):
        await self.set(store, "foo/0", self.buffer_cls.from_bytes(b"something"))
        assert not await store.is_empty("")
        assert await store.is_empty("fo")
        assert not await store.is_empty("foo/")
        assert not await store.is_empty("foo")
        assert await store.is_empty("spam/")

    async def test_getsize_prefix(self, store):
        for key in ("c/0", "c/1", "cc/0"):
            await self.set(store, key, self.buffer_cls.from_bytes(b"1234"))
        for number in range(2, 10):
            store.reader.refset.inline("c", number, b"12345678")
        documents = await store.getsize("c/.zarray") + await store.getsize("c/.zattrs")
        assert await store.getsize_prefix("c") == documents + 2 * 4 + 8 * 8

    async def test_exists(self, store):
        assert not await store.exists("foo/0")
        await self.set(store, "foo/0", self.buffer_cls.from_bytes(b"bar"))
        assert await store.exists("foo/0")
        assert await store.exists("foo/.zarray")
        assert not await store.exists("foo/10")
        assert not await store.exists("foo/00")

    async def test_get_partial_values(self, store):
        for key in ("c/0", "c/1"):
            await self.set(store, key, self.buffer_cls.from_bytes(key.encode()))
        requests = [("c/0", RangeByteRequest(0, 2)), ("c/1", SuffixByteRequest(2)), ("c/0", OffsetByteRequest(2))]
        parts = await store.get_partial_values(cpu.buffer_prototype, (request for request in requests))
        assert [part.to_bytes() for part in parts] == [b"c/", b"/1", b"0"]
        assert await store.get_partial_values(cpu.buffer_prototype, []) == []

    def test_get_sync(self, store):
        asyncio.run(self.set(store, "foo/3", self.buffer_cls.from_bytes(b"\x01\x02\x03\x04")))
        assert store.get_sync("foo/3").to_bytes() == b"\x01\x02\x03\x04"
