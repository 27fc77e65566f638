"""The plain route: a Zarr store over fsspec's reference filesystem, with all flags right; only codecs are ours."""

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.reference import ReferenceFileSystem

from rasteret_refs.errors import ObjectError, ResponseError
from rasteret_refs.objects.location import is_url
from rasteret_refs.refset.files import LocalFiles, SetFiles, normalised
from rasteret_refs.refset.fsspec_files import FsspecFiles, options_of
from rasteret_refs.refset.layout import ZARR
from rasteret_refs.refset.mapper import MANIFEST_BYTES, SealedReferenceMapper

if TYPE_CHECKING:
    from zarr.storage import FsspecStore

LOCAL_PROTOCOLS = frozenset({"", "file", "local"})


def plain_store(
    path: str | os.PathLike[str], *, manifest_bytes: int = MANIFEST_BYTES, **storage: Mapping[str, Any]
) -> "FsspecStore":
    """Open a reference set as a Zarr store that needs nothing of ours but the codecs.

    Parameters
    ----------
    path
        The set (`NAME.refs`), local or behind any protocol that fsspec knows.
    manifest_bytes
        Bytes of manifests kept in memory.
    **storage
        fsspec's options by protocol, for the set and the objects alike: `s3={"anon": True}`,
        `https={"headers": {…}}`. `http` and `https` share what either gives.

    Returns
    -------
    zarr.storage.FsspecStore
        Read-only; picklable; for threads, event loops and forked children alike. Open it unconsolidated:
        `zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)`,
        `xarray.open_zarr(store, group=…, zarr_format=2, consolidated=False)`.

    Raises
    ------
    NotFoundError
        There is no reference set.
    DamagedError, FormatVersionError
        It is not what was sealed, or newer than this library.
    """
    location = normalised(path).removesuffix(f"/{ZARR}")
    options = {protocol: dict(entry) for protocol, entry in storage.items()}
    files: SetFiles = FsspecFiles(location, options) if is_url(location) else LocalFiles(location)
    return store_of(files, manifest_bytes=manifest_bytes, storage=options)


def store_of(
    files: SetFiles, *, manifest_bytes: int = MANIFEST_BYTES, storage: Mapping[str, Mapping[str, Any]] | None = None
) -> "FsspecStore":
    """Return the plain store over files that are read in any way."""
    from zarr.storage import FsspecStore

    mapper = SealedReferenceMapper(files, manifest_bytes)
    mapper.setup()
    return FsspecStore(SealedReferenceFileSystem(mapper, storage=storage), read_only=True)


class SealedReferenceFileSystem(ReferenceFileSystem):  # type: ignore[misc]
    """fsspec's reference filesystem with sources opened when they are needed, one each event loop.

    An asynchronous filesystem belongs to the event loop that first used it. fsspec opens its sources once; a second
    loop (another `asyncio.run`, a forked child, another thread) then waits for ever or fails.

    Parameters
    ----------
    fo
        The mapper of references.
    storage
        fsspec's options by protocol.
    """

    def __init__(
        self, fo: SealedReferenceMapper, *, storage: Mapping[str, Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        kwargs["asynchronous"] = True
        super().__init__(fo, fs={}, **kwargs)
        self.storage = dict(storage or {})
        self._sources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Sources] = weakref.WeakKeyDictionary()
        weakref.finalize(self, _close_all, self._sources)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a key's bytes.

        Raises
        ------
        FileNotFoundError
            Not a key of the set: Zarr takes it for "not there", rightly.
        DamagedError
            The manifest is missing or altered.
        ObjectError
            The object did not give the bytes (never as FileNotFoundError, which Zarr would read as fill value).
        """
        path = self._strip_protocol(path)
        if self.references.is_at_hand(path):
            data, first, stop = self._cat_common(path, start, end)
        else:
            data, first, stop = await asyncio.to_thread(self._cat_common, path, start, end)
        if isinstance(data, bytes):
            return data[start:end]
        return await self._fetch(data, first, stop)

    async def _fetch(self, url: str, start: int, stop: int) -> bytes:
        sources = await self._sources_of_loop()
        source = sources.get(url.partition("://")[0] if "://" in url else "")
        try:
            data: bytes = await source._cat_file(url, start=start, end=stop)  # noqa: SLF001 - fsspec's asynchronous API
        except Exception as error:
            detail = str(error).replace("not satisfiable", "out of reach")  # Zarr reads that phrase as empty bytes
            raise ObjectError(
                f"{url}: expected bytes [{start}, {stop}), got {type(error).__name__}: {detail}"
            ) from error
        if len(data) != stop - start:
            raise ResponseError(f"{url}: expected {stop - start} bytes from {start}, got {len(data)}")
        return data

    async def _sources_of_loop(self) -> "_Sources":
        loop = asyncio.get_running_loop()
        sources = self._sources.get(loop)
        if sources is None:
            sources = self._sources[loop] = _Sources(self.storage)
            await sources.close_with_loop()
        return sources


class _Sources:
    """The filesystems of one event loop, by protocol."""

    def __init__(self, storage: Mapping[str, Mapping[str, Any]]) -> None:
        self._storage = storage
        self._opened: dict[str, Any] = {}

    def get(self, protocol: str) -> Any:
        """Return the filesystem of a protocol, opened on first use."""
        if protocol not in self._opened:
            self._opened[protocol] = _open(protocol, self._storage)
        return self._opened[protocol]

    async def close_with_loop(self) -> None:
        """Arrange that HTTP sessions are closed before the running loop is.

        `asyncio.run` closes the asynchronous generators that are under way before it closes its loop: the one moment
        at which sessions can still be closed in order (aiohttp complains about each that is left open).
        """

        async def until_shutdown() -> AsyncIterator[None]:
            try:
                yield
            finally:
                for _, session in self._sessions():
                    await session.__aexit__(None, None, None)

        self._until_shutdown = until_shutdown()
        await anext(self._until_shutdown)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close HTTP sessions of a loop that another thread runs, or that is over.

        At the interpreter's exit Zarr's own loop is closed first: then a session's connections are dropped without it.
        """
        for source, session in self._sessions():
            if not loop.is_closed() or hasattr(session, "_connector"):
                source.close_session(loop, session)

    def _sessions(self) -> list[tuple[Any, Any]]:
        """Return filesystems with what they must close: aiohttp's session (http, gcs), or the client's maker (s3)."""
        found = [
            (source, getattr(source, "_session", None) or getattr(source, "_s3creator", None))
            for source in self._opened.values()
        ]
        return [
            (source, session)
            for source, session in found
            if session is not None and not getattr(session, "closed", False) and hasattr(source, "close_session")
        ]


def _open(protocol: str, storage: Mapping[str, Mapping[str, Any]]) -> Any:
    if protocol in LOCAL_PROTOCOLS:
        return AsyncFileSystemWrapper(fsspec.filesystem("file"), asynchronous=True)
    options = {**options_of(protocol, storage), "skip_instance_cache": True}
    kind = fsspec.get_filesystem_class(protocol)
    if kind.async_impl:
        return kind(asynchronous=True, **options)
    return AsyncFileSystemWrapper(kind(**options), asynchronous=True)


def _close_all(sources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Sources]) -> None:
    for loop, opened in list(sources.items()):
        opened.close(loop)
