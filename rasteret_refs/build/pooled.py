"""Headers read by the tasks of an executor: some files a task, so that a task costs little beside its requests."""

import asyncio
import contextlib
import copy
import itertools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from rasteret_refs.build.headers import FirstRead, Header, read_header
from rasteret_refs.errors import BuildError, RasteretRefsError
from rasteret_refs.objects.answers import Traffic
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.tiff.intern import shared
from rasteret_refs.tiff.values import ImageDescription

BATCH: Final = 64
"""Files a task: they are asked for at once, so that a few tasks fill a connection as the event loop alone would."""
WINDOW: Final = 4096
"""Assets under way at once, so that 64 workers have something to do."""
_LINGER: Final = 0.01
"""Seconds that a task waits for more files."""

_scans = itertools.count()
_under_way: set[tuple[str, asyncio.AbstractEventLoop, "asyncio.Task[Answer]"]] = set()
"""Tasks that run in this process: what can be stopped when their scan is."""
_kept = threading.local()
"""Each worker thread's own client: connections live on from task to task."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a task brings back."""

    found: tuple[Header | RasteretRefsError, ...]
    """One for each URL, in their order."""
    traffic: Traffic


class PooledHeaders:
    """Read headers by an executor. Belongs to one event loop.

    Parameters
    ----------
    executor
        Its tasks are `read_batch`: workers in other processes import this module.
    objects
        Storage; each worker gets a copy, and what the copies did is counted here.
    with_bytes
        Bring back the bytes of headers too, for a journal.
    """

    def __init__(self, executor: Executor, objects: Objects, *, with_bytes: bool) -> None:
        self._executor = executor
        self._objects = objects
        self._with_bytes = with_bytes
        self._scan = f"{os.getpid()}-{next(_scans)}"
        self._first = FirstRead()
        self._waiting: list[tuple[str, asyncio.Future[Header]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, url: str) -> Header:
        """Return the header of `url`, read together with others that are asked for at the same time.

        Raises
        ------
        TiffError, ObjectError
            As `headers.read_header`.
        BuildError
            The executor failed, not the file.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Header] = loop.create_future()
        self._waiting.append((url, answer))
        if len(self._waiting) >= BATCH:
            self._send()
        elif self._timer is None:
            self._timer = loop.call_later(_LINGER, self._send)
        return await answer

    async def close(self) -> None:
        """Give up what is still under way."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for scan, loop, running in _under_way.copy():
            if scan == self._scan:
                with contextlib.suppress(RuntimeError):  # it has just ended
                    loop.call_soon_threadsafe(running.cancel)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self) -> None:
        """Hand the files that wait to the executor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        task = asyncio.ensure_future(self._batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _batch(self, batch: Sequence[tuple[str, "asyncio.Future[Header]"]]) -> None:
        urls = [url for url, _ in batch]
        try:
            submitted = self._executor.submit(
                read_batch, self._scan, self._objects, urls, self._first.size, self._with_bytes
            )
            answer = await asyncio.wrap_future(submitted)
        except Exception as error:  # noqa: BLE001 - whatever the caller's pool raises: broken, closed, not picklable
            failure = BuildError(
                f"expected an executor whose workers read headers, got {type(error).__name__}: {error} (workers import "
                "rasteret_refs; a script that starts processes does its work below `if __name__ == '__main__':`)"
            )
            failure.__cause__ = error
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure)
            return
        _count(self._objects.traffic, answer.traffic)
        known: dict[int, tuple[ImageDescription, ImageDescription]] = {}
        for (_, future), found in zip(batch, answer.found, strict=True):
            if future.done():  # cancelled
                continue
            if isinstance(found, Header):
                self._first.learn(found.file.header_end)
                future.set_result(_with_shared_descriptions(found, known))
            else:
                future.set_exception(found)


def _with_shared_descriptions(header: Header, known: dict[int, tuple[ImageDescription, ImageDescription]]) -> Header:
    """Let equal IFDs share one description again, as if they were parsed here: what comes from afar is a copy.

    `known` holds the copies of one answer by their identity, each with the description that all share.
    """
    images = []
    for image in header.file.images:
        copied, common = known.setdefault(id(image.description), (image.description, shared(image.description)))
        images.append(image if common is copied else replace(image, description=common))
    return replace(header, file=replace(header.file, images=tuple(images)))


def _count(traffic: Traffic, more: Traffic) -> None:
    traffic.requests += more.requests
    traffic.bytes += more.bytes
    traffic.retries += more.retries
    for host, requests in more.hosts.items():
        traffic.hosts[host] = traffic.hosts.get(host, 0) + requests


def read_batch(scan: str, objects: Objects, urls: Sequence[str], size: int, with_bytes: bool) -> Answer:
    """Read the headers of some files at once: what a worker does, in whatever process it is.

    Parameters
    ----------
    scan
        Names the scan, so that it can be stopped.
    objects
        Storage.
    urls
        The files.
    size
        Bytes of a first request, to begin with.
    with_bytes
        Bring back the bytes of headers too.
    """
    own: Objects | None = getattr(_kept, "objects", None)
    if own is None or own != objects:
        own = _kept.objects = copy.copy(objects)
    own.traffic = Traffic()
    return run(_read_all(scan, own, urls, size, with_bytes))


async def _read_all(scan: str, objects: Objects, urls: Sequence[str], size: int, with_bytes: bool) -> Answer:
    task: asyncio.Task[Answer] | None = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine
    place = (scan, asyncio.get_running_loop(), task)
    _under_way.add(place)
    first = FirstRead(size=size)
    try:
        found = await asyncio.gather(*[_read_one(url, objects, first, with_bytes=with_bytes) for url in urls])
    finally:
        _under_way.discard(place)
    return Answer(found=tuple(found), traffic=objects.traffic)


async def _read_one(url: str, objects: Objects, first: FirstRead, *, with_bytes: bool) -> Header | RasteretRefsError:
    """Read one header; a file's error is its answer. Views of memory cannot leave a process, bytes can."""
    try:
        header = await read_header(url, objects, first)
    except RasteretRefsError as error:
        return error
    windows = tuple((start, bytes(data)) for start, data in header.windows) if with_bytes else ()
    return replace(header, windows=windows)
