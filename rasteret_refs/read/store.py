"""A reference set as a read-only Zarr store: metadata as it stands, chunks by reference.

The store alone is enough: under Zarr's own pipeline, in anybody's thread or event loop, it gives every chunk. The
pipeline of `read.pipeline` only makes whole selections faster.
"""

import asyncio
import builtins
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from rasteret_refs.errors import QueryError
from rasteret_refs.read import workers
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader
from rasteret_refs.refset.documents import check_codecs
from rasteret_refs.tiff.values import ByteRange

CONSOLIDATED = ".zmetadata"


class ReferenceStore(Store):
    """Read-only Zarr store over a reference set; picklable, safe in threads, event loops and forked children.

    Parameters
    ----------
    reader
        What reads the set.
    read_only
        Only True is possible; the parameter is there because Zarr's stores have it.

    Raises
    ------
    ValueError
        `read_only` is False.
    """

    def __init__(self, reader: Reader, *, read_only: bool = True) -> None:
        if not read_only:
            raise ValueError("expected read_only=True: a reference set is written by building, not through Zarr")
        super().__init__(read_only=True)
        self.reader = reader

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceStore) and self.reader == other.reader

    def __hash__(self) -> int:
        return hash((type(self), self.reader))

    def __repr__(self) -> str:
        return f"ReferenceStore({self.reader!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reader,)

    def with_read_only(self, read_only: bool = False) -> "ReferenceStore":
        """Give a store over the same set; only a read-only one exists."""
        if not read_only:
            raise NotImplementedError(f"with_read_only is not implemented for the {type(self)} store type.")
        return type(self)(self.reader)

    @property
    def supports_writes(self) -> bool:
        """False: the set is immutable."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False: the set is immutable."""
        return False

    @property
    def supports_listing(self) -> bool:
        """True: the metadata says which keys there are."""
        return True

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Give the value of a key, or a part of it; None where there is no such key.

        Raises
        ------
        DamagedError
            The manifest that should name the chunk is missing or altered: that is never taken for "no data".
        ObjectError
            The object that holds the chunk did not give it.
        """
        if not self._is_open:
            await self._open()
        _check_request(byte_range)
        document = self._document(key)
        if document is not None:
            return _part(document, prototype, byte_range)
        chunk = self._chunk(key)
        if chunk is None:
            return None
        url, span, inlined = await self._locate(*chunk)
        if inlined is not None:
            return _part(inlined, prototype, byte_range)
        wanted = _narrow(span, byte_range)
        if wanted.stop <= wanted.start:
            return prototype.buffer.from_bytes(b"")
        (data,) = await self.reader.fetch(url, [wanted])
        return prototype.buffer.from_bytes(data)

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Do as `get` does, from ordinary code."""
        return workers.run(self.get(key, prototype or default_buffer_prototype(), byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> builtins.list[Buffer | None]:
        """Give parts of many values, in the order asked for."""
        return builtins.list(await asyncio.gather(*(self.get(key, prototype, request) for key, request in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a key."""
        return self._document(key) is not None or self._chunk(key) is not None

    async def getsize(self, key: str) -> int:
        """Give the bytes of a value without fetching it.

        Raises
        ------
        FileNotFoundError
            There is no such key.
        """
        document = self._document(key)
        if document is not None:
            return len(document)
        chunk = self._chunk(key)
        if chunk is None:
            raise FileNotFoundError(key)
        _, span, inlined = await self._locate(*chunk)
        return span.stop - span.start if inlined is None else len(inlined)

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002 - Zarr's interface
        """Refuse: the store is read-only."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002 - Zarr's interface
        """Refuse: the store is read-only."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """List all keys: metadata, and every chunk of every array."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys that begin with a prefix."""
        for key in self._documents:
            if key.startswith(prefix):
                yield key
        for path in self._array_paths():
            below = f"{path}/" if path else ""
            if below.startswith(prefix) or prefix.startswith(below):
                for key in self._chunk_keys(path):
                    if (below + key).startswith(prefix):
                        yield below + key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List names directly below a prefix: of keys, groups and arrays."""
        directory = prefix.rstrip("/")
        below = f"{directory}/" if directory else ""
        names = {key.removeprefix(below).split("/", 1)[0]: None for key in self._documents if key.startswith(below)}
        for name in names:
            yield name
        if directory in self._array_paths():
            for key in self._chunk_keys(directory):
                yield key

    @property
    def _documents(self) -> Mapping[str, Any]:
        documents: Mapping[str, Any] = self.reader.refset.metadata
        return documents

    def _array_paths(self) -> Sequence[str]:
        return [key.removesuffix("/.zarray") for key in self._documents if key.endswith("/.zarray")]

    def _chunk_keys(self, path: str) -> Iterable[str]:
        array = self.reader.array(path)
        return (array.chunk_key(number) for number in range(int(np.prod(array.grid, dtype=np.int64))))

    def _document(self, key: str) -> bytes | None:
        if key == CONSOLIDATED:
            return json.dumps({"zarr_consolidated_format": 1, "metadata": dict(self._documents)}).encode()
        document = self._documents.get(key)
        if document is not None and key.endswith(".zarray"):
            check_codecs(document, key.removesuffix("/.zarray"))
        return None if document is None else json.dumps(document).encode()

    def _chunk(self, key: str) -> tuple[ReferencedArray, int] | None:
        path, _, name = key.rpartition("/")
        try:
            array = self.reader.array(path)
        except QueryError:
            return None
        number = array.chunk_number(name)
        return None if number is None else (array, number)

    async def _locate(self, array: ReferencedArray, number: int) -> tuple[str, ByteRange, bytes | None]:
        manifests = self.reader.manifests
        await manifests.prefetch([(array, number // manifests.record_size)], workers.loaders())
        found = manifests.locate(array, np.array([number], dtype=np.int64))
        start, size = int(found.offsets[0]), int(found.sizes[0])
        return found.urls[0] or "", ByteRange(start=start, stop=start + size), found.inlined[0]


def _check_request(byte_range: ByteRequest | None) -> None:
    if byte_range is not None and not isinstance(byte_range, RangeByteRequest | OffsetByteRequest | SuffixByteRequest):
        raise TypeError(f"Unexpected byte_range, got {byte_range}.")


def _narrow(span: ByteRange, request: ByteRequest | None) -> ByteRange:
    """Narrow a value's range to what a request asks of the value."""
    size = span.stop - span.start
    start, stop = 0, size
    if isinstance(request, RangeByteRequest):
        start, stop = request.start, min(request.end, size)
    elif isinstance(request, OffsetByteRequest):
        start = request.offset
    elif isinstance(request, SuffixByteRequest):
        start = max(size - request.suffix, 0)
    return ByteRange(start=span.start + start, stop=span.start + stop)


def _part(value: bytes, prototype: BufferPrototype, request: ByteRequest | None) -> Buffer:
    part = _narrow(ByteRange(start=0, stop=len(value)), request)
    return prototype.buffer.from_bytes(value[part.start : part.stop])
