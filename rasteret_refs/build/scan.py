"""Scenes to scanned assets: each TIFF's header in one request, many in flight, results as they come."""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Buffer, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from rasteret_refs.build.journal import Journal
from rasteret_refs.build.scene import Asset, Scene, SceneFailure
from rasteret_refs.errors import (
    LimitError,
    NotATiffError,
    NotFoundError,
    ObjectError,
    RasteretRefsError,
    TiffError,
    TruncatedError,
    UnsupportedTiffError,
)
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.location import canonical
from rasteret_refs.tiff.chunks import check_extents, inside
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import ByteRange, NeedsBytes, TiffFile
from rasteret_refs.tiff.windows import Windows
from rasteret_refs.virtual.pyramid import pyramids
from rasteret_refs.virtual.values import SceneAsset

type OnError = Literal["raise", "skip"]

WINDOW = 512
"""Assets under way at once, over all hosts: each holds some 16–32 KB."""
LARGEST_HEADER = 256 * 1024 * 1024
"""Bytes that one file's header may take: far beyond any real one (hostile files)."""
_LEAST_FIRST = 16 * 1024
_MOST_FIRST = 32 * 1024
_STEP = 4 * 1024
_LEARN_FROM = 16
_REMEMBERED = 256
_SHARE = 0.97
"""Of the files seen, so many must fit into the first request: a second one costs a whole round trip."""
_OWN_THREAD = 1024 * 1024
"""Bytes of header from which on parsing leaves the event loop's thread."""
_GRACE = 1.0
"""Seconds that a stopped scan waits for answers on their way: a build that goes on need not ask for them again."""
_BATCH = 256
_BATCH_SECONDS = 0.05


@dataclass(slots=True)
class FirstRead:
    """How many bytes the first request of a file asks for: learnt from the headers seen so far."""

    size: int = _MOST_FIRST
    _ends: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _count: int = 0

    def learn(self, header_end: int) -> None:
        """Take note of where a file's header ended.

        Headers that no first request could hold (IFDs at the end of the file) say nothing about the others.
        """
        if header_end > _MOST_FIRST:
            return
        self._ends.append(header_end)
        self._count += 1
        if len(self._ends) >= _LEARN_FROM and self._count % _LEARN_FROM == 0:
            ends = sorted(self._ends)
            wanted = ends[min(len(ends) - 1, int(_SHARE * len(ends)))]
            self.size = max(_LEAST_FIRST, min(_MOST_FIRST, -(-wanted // _STEP) * _STEP))


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
        assets = tuple(self.assets[asset.name] for asset in self.scene.assets if asset.name in self.assets)
        return ScannedScene(position=self.position, scene=self.scene, assets=assets, failures=tuple(self.failures))


async def scan(
    scenes: Iterable[Scene],
    objects: Objects,
    *,
    on_error: OnError = "raise",
    window: int = WINDOW,
    journal: Journal | None = None,
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
        Assets under way at once.
    journal
        Headers that an earlier scan fetched, and where to note those that this one fetches.

    Raises
    ------
    TiffError, ObjectError
        With ``on_error="raise"``; the message begins with the file's name.
    """
    done: asyncio.Queue[ScannedScene | BaseException | None] = asyncio.Queue()
    scanner = _Scanner(objects, done, on_error, window, journal)
    producer = asyncio.ensure_future(scanner.produce(scenes))
    try:
        while (result := await done.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        await scanner.stop(producer)


class _Scanner:
    """The tasks of one scan."""

    def __init__(
        self,
        objects: Objects,
        done: "asyncio.Queue[ScannedScene | BaseException | None]",
        on_error: OnError,
        window: int,
        journal: Journal | None,
    ) -> None:
        self._objects = objects
        self._done = done
        self._on_error = on_error
        self._slots = asyncio.Semaphore(window)
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = FirstRead()
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
            scanned, refused = await scan_asset(asset, self._objects, self._first, self._journal)
            pending.assets[asset.name] = scanned
            for error in refused:
                pending.failures.append(_failure(scene, asset, error))
        except RasteretRefsError as error:
            if self._on_error == "raise":
                raise
            pending.failures.append(_failure(scene, asset, error))
        pending.remaining -= 1
        if not pending.remaining:
            self._done.put_nowait(pending.finished())


async def scan_asset(
    asset: Asset, objects: Objects, first: FirstRead, journal: Journal | None = None
) -> tuple[SceneAsset, tuple[UnsupportedTiffError, ...]]:
    """Read one asset's header.

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
        header = None if journal is None else _kept_header(url, journal)
        if header is None:
            header = await read_header(url, objects, first, journal)
    if header.size is not None and not inside(header.file.images, header.size):
        for image in header.file.images:
            with _naming(url):
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """A parsed header, and what the very response that brought it says about the object."""

    file: TiffFile
    url: str
    size: int | None
    """Bytes of the object; None where the source held the header and did not say."""
    etag: str | None
    last_modified: str | None


def _kept_header(url: str, journal: Journal) -> Header | None:
    """Parse a header that an earlier scan fetched; None where there is none, or it does not do."""
    kept = journal.find(url)
    if kept is None:
        return None
    windows = Windows(kept.size)
    for start, data in kept.windows:
        windows.add(start, data)
    with _naming(url):
        parsed = parse(windows)
    if not isinstance(parsed, TiffFile):
        return None
    return Header(file=parsed, url=url, size=kept.size, etag=kept.etag, last_modified=kept.last_modified)


async def read_header(url: str, objects: Objects, first: FirstRead, journal: Journal | None = None) -> Header:
    """Fetch and parse the header of one TIFF: one request mostly, more only where parsing asks for them.

    The bytes are noted in the journal, if there is one.

    Raises
    ------
    TiffError, ObjectError
        The message begins with the URL.
    """
    try:
        start = await objects.fetch(url, 0, first.size)
    except NotFoundError as error:
        if os.path.isdir(url):  # noqa: ASYNC240, PTH112 - only after a failure
            raise NotATiffError(f"{url}: expected a TIFF, got a directory") from error
        raise
    windows = Windows(start.size)
    windows.add(0, start.data)
    read: list[tuple[int, Buffer]] = []
    budget = LARGEST_HEADER
    with _naming(url):
        while True:
            parsed = (
                await asyncio.to_thread(parse, windows) if budget < LARGEST_HEADER - _OWN_THREAD else parse(windows)
            )
            if isinstance(parsed, TiffFile):
                first.learn(parsed.header_end)
                if journal is not None:
                    # What follows the header in the first answer is not needed again.
                    read.insert(0, (0, start.data[: parsed.header_end]))
                    journal.keep(url, size=start.size, etag=start.etag, last_modified=start.last_modified, windows=read)
                return Header(file=parsed, url=url, size=start.size, etag=start.etag, last_modified=start.last_modified)
            ranges = _inside(parsed, start.size)
            budget -= sum(r.stop - r.start for r in ranges)
            if budget < 0:
                raise LimitError(f"expected a header of at most {LARGEST_HEADER} bytes, got a longer one")
            for wanted, data in zip(
                ranges, await objects.ranges(url, ranges, etag=start.etag, size=start.size), strict=True
            ):
                windows.add(wanted.start, data)
                read.append((wanted.start, data))


def _inside(needs: NeedsBytes, size: int) -> tuple[ByteRange, ...]:
    ranges = tuple(ByteRange(start=r.start, stop=min(r.stop, size)) for r in needs.ranges)
    for wanted in ranges:
        if wanted.start >= wanted.stop:
            raise TruncatedError(f"the header goes on at byte {wanted.start}, but the file has only {size} bytes")
    return ranges


class _naming:  # noqa: N801 - used like a function
    """Put the file's name before the message of a `TiffError`: parsing does not know it."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TiffError):
            raise type(error)(f"{self._url}: {error}") from error


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
