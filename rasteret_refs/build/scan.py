"""Scenes to scanned assets: each TIFF's header in one request, many in flight, results as they come."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal

from rasteret_refs.build import pooled
from rasteret_refs.build.headers import FirstRead, Header, ReadHeader, kept_header, naming, read_header
from rasteret_refs.build.journal import Journal
from rasteret_refs.build.scene import Asset, Scene, SceneFailure
from rasteret_refs.errors import BuildError, ObjectError, RasteretRefsError, UnsupportedTiffError
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.location import canonical
from rasteret_refs.tiff.chunks import check_extents, inside
from rasteret_refs.virtual.pyramid import pyramids
from rasteret_refs.virtual.values import SceneAsset

type OnError = Literal["raise", "skip"]

WINDOW = 512
"""Assets under way at once, over all hosts: each holds some 16–32 KB."""
_GRACE = 1.0
"""Seconds that a stopped scan waits for answers on their way: a build that goes on need not ask for them again."""
_BATCH = 256
_BATCH_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScannedScene:
    """A scene whose assets were all tried."""

    position: int
    """Number of the scene in its source: results come in any order."""
    scene: Scene
    assets: tuple[SceneAsset, ...]
    """Those that can be referenced, in the scene's order."""
    failures: tuple[SceneFailure, ...]
    """Assets that cannot, and pages of a file that had to be left out."""


@dataclass(slots=True)
class _Pending:
    """A scene while its assets are under way."""

    position: int
    scene: Scene
    remaining: int
    assets: dict[str, SceneAsset] = field(default_factory=dict)
    failures: list[SceneFailure] = field(default_factory=list)

    def finished(self) -> ScannedScene:
        """Give the results in the scene's order: answers come in any."""
        names = [asset.name for asset in self.scene.assets]
        assets = tuple(self.assets[name] for name in names if name in self.assets)
        failures = sorted(self.failures, key=lambda failure: names.index(str(failure.asset)))
        return ScannedScene(position=self.position, scene=self.scene, assets=assets, failures=tuple(failures))


async def scan(
    scenes: Iterable[Scene],
    objects: Objects,
    *,
    on_error: OnError = "raise",
    window: int | None = None,
    journal: Journal | None = None,
    executor: Executor | None = None,
) -> AsyncIterator[ScannedScene]:
    """Read the headers of all assets; yield each scene when its last asset is done.

    Parameters
    ----------
    scenes
        May block while it is iterated (a paging search): it runs in a thread of its own.
    objects
        Storage.
    on_error
        ``"raise"``: the first asset that cannot be read ends the scan; ``"skip"``: it becomes a failure of its scene.
    window
        Assets under way at once; None: `WINDOW`, or `pooled.WINDOW` with an executor.
    journal
        Headers that an earlier scan fetched, and where to note those that this one fetches.
    executor
        Its tasks read the headers, instead of this event loop. What comes out is the same.

    Raises
    ------
    TiffError, ObjectError
        With ``on_error="raise"``; the message begins with the file's name.
    BuildError
        The executor failed.
    """
    done: asyncio.Queue[ScannedScene | BaseException | None] = asyncio.Queue()
    first = FirstRead()
    pool = None if executor is None else pooled.PooledHeaders(executor, objects, with_bytes=journal is not None)
    read = pool.read if pool is not None else lambda url: read_header(url, objects, first)
    slots = asyncio.Semaphore(window or (WINDOW if pool is None else pooled.WINDOW))
    scanner = _Scanner(read, done, on_error, slots, journal)
    producer = asyncio.ensure_future(scanner.produce(scenes))
    try:
        while (result := await done.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        await scanner.stop(producer)
        if pool is not None:
            await pool.close()


class _Scanner:
    """The tasks of one scan."""

    def __init__(
        self,
        read: ReadHeader,
        done: "asyncio.Queue[ScannedScene | BaseException | None]",
        on_error: OnError,
        slots: asyncio.Semaphore,
        journal: Journal | None,
    ) -> None:
        self._read = read
        self._done = done
        self._on_error = on_error
        self._slots = slots
        self._tasks: set[asyncio.Task[None]] = set()
        self._journal = journal

    async def produce(self, scenes: Iterable[Scene]) -> None:
        """Start one task an asset, as slots become free."""
        try:
            position = 0
            async for scene in _without_blocking(scenes):
                pending = _Pending(position, scene, len(scene.assets))
                position += 1
                if not scene.assets:
                    self._done.put_nowait(pending.finished())
                for asset in scene.assets:
                    await self._slots.acquire()
                    task = asyncio.ensure_future(self._asset(pending, asset))
                    self._tasks.add(task)
                    task.add_done_callback(self._finished)
            while self._tasks:
                await asyncio.wait(self._tasks)
            self._done.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised by the consumer
            self._done.put_nowait(error)

    async def stop(self, producer: "asyncio.Task[None]") -> None:
        """Cancel what is still under way and wait for it; with a journal, answers on their way are still noted."""
        producer.cancel()
        if self._journal is not None and self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE)
        tasks = [producer, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._done.put_nowait(error)

    async def _asset(self, pending: _Pending, asset: Asset) -> None:
        scene = pending.scene
        try:
            scanned, refused = await scan_asset(asset, self._read, self._journal)
            pending.assets[asset.name] = scanned
            for error in refused:
                pending.failures.append(_failure(scene, asset, error))
        except RasteretRefsError as error:
            if self._on_error == "raise" or isinstance(error, BuildError):  # of the executor, not of this file
                raise
            pending.failures.append(_failure(scene, asset, error))
        pending.remaining -= 1
        if not pending.remaining:
            self._done.put_nowait(pending.finished())


async def scan_asset(
    asset: Asset, read: ReadHeader, journal: Journal | None = None
) -> tuple[SceneAsset, tuple[UnsupportedTiffError, ...]]:
    """Read one asset's header, unless the source or the journal holds it; note in the journal what was read.

    Returns
    -------
    tuple
        The asset as the planner wants it, and an error for each page that had to be left out.

    Raises
    ------
    TiffError, ObjectError
        The message begins with the asset's URL.
    """
    url = canonical(asset.href)
    header: Header | None
    if asset.header is not None:
        header = Header(file=asset.header, url=url, size=asset.size, etag=None, last_modified=None)
    else:
        header = None if journal is None else kept_header(url, journal)
        if header is None:
            header = await read(url)
            if journal is not None and header.size is not None:
                journal.keep(
                    url, size=header.size, etag=header.etag, last_modified=header.last_modified, windows=header.windows
                )
    if header.size is not None and not inside(header.file.images, header.size):
        for image in header.file.images:
            with naming(url):
                check_extents(image, header.size)
    found = SceneAsset(
        name=asset.name,
        url=url,
        size=header.size,
        pyramids=pyramids(header.file),
        etag=header.etag,
        last_modified=header.last_modified,
    )
    refused = tuple(
        UnsupportedTiffError(f"{url}: the IFD at byte {offset} is left out: {reason}")
        for offset, reason in header.file.refused
    )
    return found, refused


def _failure(scene: Scene, asset: Asset, error: RasteretRefsError) -> SceneFailure:
    return SceneFailure(
        scene=scene.id, asset=asset.name, url=canonical(asset.href), phase="header", error=error,
        attempts=error.attempts if isinstance(error, ObjectError) else 1,
    )  # fmt: skip


async def _without_blocking(scenes: Iterable[Scene]) -> AsyncIterator[Scene]:
    """Iterate in a thread, some scenes at a time, so that a source may wait for a server."""
    if isinstance(scenes, (list, tuple)):
        for scene in scenes:
            yield scene
        return
    iterator = iter(scenes)
    more = True
    while more:
        batch, more = await asyncio.to_thread(_take, iterator)
        for scene in batch:
            yield scene


def _take(iterator: Iterator[Scene]) -> tuple[list[Scene], bool]:
    """Take what comes within a moment, at least one scene; tell whether there may be more."""
    batch: list[Scene] = []
    began = time.monotonic()
    for scene in iterator:
        batch.append(scene)
        if len(batch) >= _BATCH or time.monotonic() - began > _BATCH_SECONDS:
            return batch, True
    return batch, False
