"""Many windows over many arrays in one batch: each tile looked up, fetched and decoded once.

A batch goes through four steps: cut the selections along the chunks (`selection`), look all references up
(`manifests`), merge neighbouring tiles of an object into ranged requests (`tiles`), then fetch them side by side and
decode each tile in a thread as soon as its bytes are there, straight to where its pixels belong.
"""

import asyncio
import functools
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import DecodeError, QueryError
from rasteret_refs.read import selection, tiles, workers
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.beginnings import Beginnings
from rasteret_refs.read.cache import DiskCache, Habit, TileCache, default_limit
from rasteret_refs.read.handover import Handover, all_done
from rasteret_refs.read.manifests import Manifests, Records
from rasteret_refs.tiff.values import ByteRange

REQUESTS_IN_FLIGHT = 512
"""Requests that one batch has under way at most; `objects` limits them further, host by host. Far away, a request
more waits less at once than after others: chips over 200 scenes, of two requests each, take one round trip, not two."""

_STARTED_AT_ONCE = 8

BYTES_IN_FLIGHT = 256 * 1024 * 1024
"""Encoded bytes that one batch holds at most: fetched or being fetched, and not yet decoded."""


class Source(Records, Protocol):
    """What a reader reads: an opened reference set."""

    @property
    def metadata(self) -> Any:
        """Zarr v2 metadata documents by their keys (`a/b/.zarray`)."""


class Versions(Protocol):
    """What objects must still be: `refset.versions.SourceVersions`."""

    @property
    def is_loaded(self) -> bool:
        """Whether looking up needs no file."""

    def load(self) -> Any:
        """Read what is needed to look up."""

    def get(self, url: str) -> Any:
        """Give `etag`, `size` and `last_modified` of an object, or None."""


class Ranges(Protocol):
    """What brings bytes: `objects.client.Objects`."""

    async def ranges(
        self, url: str, ranges: Sequence[ByteRange], *, etag: str | None = None, size: int | None = None
    ) -> Sequence[Any]:
        """Fetch ranges of one object, in their order."""

    def is_local(self, url: str) -> bool:
        """Tell whether an object is a file, which `read_now` can read."""

    def read_now(self, url: str, start: int, stop: int, *, etag: str | None = None, size: int | None = None) -> Any:
        """Read a range of a local file in the calling thread."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """One selection of a batch."""

    array: ReferencedArray
    key: tuple[Any, ...]
    """One index a dimension, see `selection.outer`; with `points`, index arrays that broadcast together."""
    points: bool = False
    out: npt.NDArray[Any] | None = None
    """Filled when given; of the result's shape and the array's dtype."""
    then: Callable[[npt.NDArray[Any]], None] | None = None
    """Given the result as soon as it is there, in the thread that brings the last of it, while others still come."""


class _Budget:
    """Bytes in flight on one event loop; whoever asks for more than the limit gets through when alone."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = asyncio.Event()

    async def take(self, amount: int) -> None:
        while self._used and self._used + amount > self._limit:
            self._changed.clear()
            await self._changed.wait()
        self._used += amount

    def give_back(self, amount: int) -> None:
        self._used -= amount
        self._changed.set()


class Reader:
    """Reads windows of a reference set's arrays, in batches; thread-safe, on any event loop, also after a fork.

    Parameters
    ----------
    refset
        The opened reference set: metadata and manifests.
    objects
        What fetches bytes. It belongs to the process that made it: a forked child calls it anew.
    tile_cache
        Bytes of decoded tiles kept in memory for windows to come; 0 keeps none and decodes no row too many. None: tiles
        of local files of which parts are read are kept from the second batch on, while they are asked for again, in 5 %
        of the memory, at most 512 MiB.
    disk_cache
        Where encoded tiles are kept, if anywhere.
    versions
        What each object must still be; None: objects are taken as they are.
    """

    def __init__(
        self,
        refset: Source,
        objects: Ranges,
        *,
        tile_cache: int | None = None,
        disk_cache: DiskCache | None = None,
        versions: Versions | None = None,
    ) -> None:
        self._tile_cache = tile_cache
        self._habit = Habit() if tile_cache is None else None
        self.versions = versions
        self.refset = refset
        self.objects = objects
        self.manifests = Manifests(refset)
        limit = default_limit() if tile_cache is None else tile_cache
        self.cache = TileCache(limit) if limit else None
        self.disk_cache = disk_cache
        keeps_tiles = disk_cache is not None or (self.cache is not None and self._habit is None)
        self._beginnings = None if keeps_tiles else Beginnings()
        self._arrays: dict[str, ReferencedArray] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reader) and self._spec == other._spec

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"Reader({self.refset!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _shared, (self.refset, self.objects, self._spec[1], self.disk_cache, self.versions)

    @property
    def _spec(self) -> tuple[Any, ...]:
        return self.refset, self._tile_cache, self.disk_cache, self.versions, self.objects

    def array(self, path: str) -> ReferencedArray:
        """Give an array by its path in the store.

        Raises
        ------
        QueryError
            There is no such array.
        """
        found = self._arrays.get(path)
        if found is None:
            documents = self.refset.metadata
            prefix = f"{path}/" if path else ""
            zarray = documents.get(f"{prefix}.zarray")
            if zarray is None:
                raise QueryError(f"expected the path of an array, found none at {path!r}")
            found = ReferencedArray.from_metadata(path, zarray, documents.get(f"{prefix}.zattrs", {}))
            found = self._arrays.setdefault(path, found)
        return found

    def read(self, path: str, key: Sequence[Any] = (), out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Read one outer selection of one array; see `read_many`."""
        return self.read_many([Window(array=self.array(path), key=tuple(key), out=out)])[0]

    def read_many(self, windows: Sequence[Window]) -> list[npt.NDArray[Any]]:
        """Read many selections, over any arrays, as one batch.

        Returns
        -------
        list of numpy.ndarray
            One for each window, in the array's dtype; `Window.out` itself where it is given.

        Raises
        ------
        QueryError
            A selection does not fit its array.
        DamagedError, ObjectError, DecodeError
            References, objects or tiles are not as they should be. Nothing is ever filled in for them.
        """
        return workers.run(self.read_many_async(windows))

    async def read_many_async(self, windows: Sequence[Window]) -> list[npt.NDArray[Any]]:
        """Do as `read_many` does, on the running event loop."""
        parts, results = [], []
        for window in windows:
            cut = (selection.points if window.points else selection.outer)(window.array, window.key)
            out = _output(window, cut)
            then = None if window.then is None else functools.partial(window.then, out)
            parts.append((window.array, out.reshape(cut.filled), cut.pieces, then))
            results.append(out)
            if then is not None and not cut.pieces:
                then()
        await self.run_jobs(tiles.gather_jobs(parts))
        return results

    async def run_jobs(self, jobs: Sequence[tiles.Job]) -> None:
        """Fetch and decode tiles, and send their pixels to their places."""
        images = any(len(job.array.chunks) > 2 for job in jobs)  # noqa: PLR2004 - others are coordinates, inlined
        keeps = self._keeps(jobs) if images else Habit.ALL
        kept, jobs = self._cached(jobs)
        if not jobs:
            for job, tile in kept:
                tiles.scatter(job, tile)
                job.arrived()
            return
        (wanted, inlined), _ = await asyncio.gather(self._located(jobs), self._load_versions(needed=images))
        await self._load_versions(needed=bool(wanted))
        near: list[tuple[tiles.Job, Any]] = list(inlined.jobs.values())
        near += [(job, span) for url in wanted if self.objects.is_local(url) for span, job in wanted[url]]
        near += kept  # last: threads that decode are not kept waiting for what is quickly copied
        far = {url: spans for url, spans in wanted.items() if not self.objects.is_local(url)}
        plans = tiles.fetches(far if self._beginnings is None else self._beginnings.of(far))
        fetching = [asyncio.ensure_future(self._fetch_all(plans))] if plans else []
        await all_done([*self._near(near, keeps=keeps), *fetching])

    def _keeps(self, jobs: Sequence[tiles.Job]) -> float:
        """Tell the share of a tile's rows from which on it is kept: any in a cache asked for, else by habit."""
        if self._habit is None:
            return Habit.ALL
        parts = [(job.array.path, job.number) for job in jobs if not tiles.is_whole(job)]
        return self._habit.begin(parts) if parts else Habit.NONE

    def _near(self, jobs: Sequence[tuple[tiles.Job, Any]], *, keeps: float) -> list["asyncio.Future[None]"]:
        """Deal with tiles at hand: inlined, cached, or in local files, of which each thread reads what it decodes."""
        failed = threading.Event()
        queue = iter(jobs)

        def drain() -> None:
            for job, data in queue:
                if failed.is_set():
                    return
                try:
                    if isinstance(data, np.ndarray):
                        tiles.scatter(job, data)
                        job.arrived()
                        continue
                    if isinstance(data, ByteRange):
                        version = self._version(job.url)
                        data = self.objects.read_now(  # noqa: PLW2901 - from place to bytes
                            job.url, data.start, data.stop, etag=version.get("etag"), size=version.get("size")
                        )
                    self._decode(job, data, keeps)
                except BaseException:
                    failed.set()
                    raise

        pool, loop = workers.decoders(), asyncio.get_running_loop()
        return [loop.run_in_executor(pool, drain) for _ in range(min(len(jobs), workers.cores()))]

    @staticmethod
    def _prepared(plans: Sequence[tiles.TileFetch]) -> list["asyncio.Future[None]"]:
        """Compile decoders, and import what they need, while the first requests are under way."""
        arrays = {id(job.array): job.array for plan in plans for job in plan.jobs}.values()

        def compile_decoders() -> None:
            for array in arrays:
                array.decoder  # noqa: B018 - a cached property

        if not arrays:
            return []
        return [asyncio.get_running_loop().run_in_executor(workers.decoders(), compile_decoders)]

    async def _located(self, jobs: Sequence[tiles.Job]) -> tuple[dict[str, list[Any]], tiles.Inlined]:
        by_array: defaultdict[int, list[tiles.Job]] = defaultdict(list)
        for job in jobs:
            by_array[id(job.array)].append(job)
        batches = [
            (group[0].array, group, np.fromiter((job.number for job in group), np.int64, len(group)))
            for group in by_array.values()
        ]
        size = self.manifests.record_size
        files = [(array, int(k)) for array, _, numbers in batches for k in np.unique(numbers // size)]
        await self.manifests.prefetch(files, workers.loaders())
        wanted: dict[str, list[Any]] = {}
        inlined = tiles.Inlined()
        for array, group, numbers in batches:
            tiles.plan_fetches(group, self.manifests.locate(array, numbers), wanted, inlined)
        return wanted, inlined

    async def _fetch_all(self, plans: Sequence[tiles.TileFetch]) -> None:
        """Fetch what is planned and have it decoded; the first requests leave while the others are still prepared."""
        budget, queue, handover = _Budget(BYTES_IN_FLIGHT), iter(plans), Handover(self._decode_all)
        lanes: list[asyncio.Future[None]] = []
        try:
            for number in range(min(len(plans), REQUESTS_IN_FLIGHT)):
                lanes.append(asyncio.ensure_future(self._lane(queue, budget, handover)))
                if number % _STARTED_AT_ONCE == _STARTED_AT_ONCE - 1:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            for lane in lanes:
                lane.cancel()
            raise
        await all_done([*lanes, *self._prepared(plans)])

    async def _lane(self, queue: Iterator[tiles.TileFetch], budget: _Budget, handover: Handover) -> None:
        for fetch in queue:
            await self._bring(fetch, budget, handover)
            for again in tiles.missed(fetch):
                await self._bring(again, budget, handover)

    async def _bring(self, fetch: tiles.TileFetch, budget: _Budget, handover: Handover) -> None:
        amount = fetch.nbytes
        await budget.take(amount)
        try:
            handover.under_way += 1
            try:
                buffers = await self.fetch(fetch.url, fetch.ranges)
            finally:
                handover.under_way -= 1
            await handover.decode(fetch.jobs, buffers)
        finally:
            budget.give_back(amount)

    async def fetch(self, url: str, ranges: Sequence[ByteRange]) -> Sequence[Any]:
        """Fetch ranges of one object, through the disk cache where there is one.

        Raises
        ------
        ChangedError
            The object is no longer the one that was indexed.
        """
        if self.versions is not None and not self.versions.is_loaded:
            await self._load_versions(needed=True)
        version = self._version(url)
        if self.disk_cache is None:
            return await self.objects.ranges(url, ranges, **version)
        disk, etag = self.disk_cache, str(sorted(version.items()))
        found: list[Any] = await asyncio.to_thread(lambda: [disk.get(url, r, etag) for r in ranges])
        missing = [i for i, data in enumerate(found) if data is None]
        if missing:
            wanted = [ranges[i] for i in missing]
            for i, data in zip(missing, await self.objects.ranges(url, wanted, **version), strict=True):
                found[i] = data
                await asyncio.to_thread(disk.put, url, ranges[i], etag, data)
        return found

    async def _load_versions(self, *, needed: bool) -> None:
        """Read what objects must still be, beside what else is under way."""
        if needed and self.versions is not None and not self.versions.is_loaded:
            await asyncio.get_running_loop().run_in_executor(workers.loaders(), self.versions.load)

    def _version(self, url: str) -> dict[str, Any]:
        """Give what an object must still be, as keywords of `Ranges.ranges`."""
        version = self.versions.get(url) if self.versions is not None else None
        if version is None:
            return {}
        if version.etag is None and version.last_modified is not None:
            return {"size": version.size, "modified": version.last_modified}
        return {"etag": version.etag, "size": version.size}

    def _decode_all(self, part: Sequence[tuple[tiles.Job, Any]]) -> None:
        for job, data in part:
            if self._beginnings is None or len(data) == job.size:
                self._decode(job, data, Habit.ALL)
                continue
            try:
                tiles.decode(job, data, partial=True)
            except DecodeError:  # asked for whole, it is told what there is to tell
                job.missed = True
            else:
                job.arrived()
            self._beginnings.count(enough=not job.missed)

    def _decode(self, job: tiles.Job, data: Any, keeps: float) -> None:
        if self.cache is None or (self._habit is not None and not self._worth_keeping(job, keeps)):
            tiles.decode(job, data)
            job.arrived()
            return
        tile = tiles.kept_tile(job.array)
        tiles.decode_tile(job, data, tile)
        tile.flags.writeable = False
        self.cache.put(job.array.path, job.number, tile)
        tiles.scatter(job, tile)
        job.arrived()

    def _worth_keeping(self, job: tiles.Job, keeps: float) -> bool:
        """Tell whether a tile goes to the cache that nobody asked for: parts of those of local files."""
        if not job.url or not self.objects.is_local(job.url) or tiles.is_whole(job):
            return False
        return len(job.array.chunks) > 2 and job.rows >= keeps * job.array.chunks[-2]  # noqa: PLR2004 - an image

    def _cached(self, jobs: Sequence[tiles.Job]) -> tuple[list[tuple[tiles.Job, Any]], Sequence[tiles.Job]]:
        """Part jobs into those whose decoded tile is kept, with it, and the others."""
        if self.cache is None:
            return [], jobs
        tiles_kept = [(job, self.cache.get(job.array.path, job.number)) for job in jobs]
        found = [(job, tile) for job, tile in tiles_kept if tile is not None]
        return found, [job for job, tile in tiles_kept if tile is None]


_readers: list["weakref.ReferenceType[Reader]"] = []
_readers_lock = threading.Lock()


def _shared(
    refset: Source, objects: Ranges, tile_cache: int | None, disk_cache: DiskCache | None, versions: Versions | None
) -> Reader:
    """Unpickle a reader: tasks of one process share it, with its manifests and its caches."""
    new = Reader(refset, objects, tile_cache=tile_cache, disk_cache=disk_cache, versions=versions)
    with _readers_lock:
        alive = [reader for reference in _readers if (reader := reference()) is not None]
        found = next((reader for reader in alive if reader == new), None)
        if found is None:
            alive.append(found := new)
        _readers[:] = [weakref.ref(reader) for reader in alive]
    return found


def _output(window: Window, cut: selection.Selection) -> npt.NDArray[Any]:
    if window.out is None:
        return np.empty(cut.shape, dtype=window.array.dtype)
    if window.out.shape != cut.shape or window.out.dtype != window.array.dtype:
        raise QueryError(
            f"expected an output of {cut.shape} {window.array.dtype}, found {window.out.shape} {window.out.dtype}: "
            f"{window.array.path}"
        )
    return window.out
