"""Batched reading for datasets: many callers' reads in one batch, safe in workers whichever way they were started."""

import asyncio
import gc
import os
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.ml.warp_queue import begin_expected
from rasteret_refs.read import workers
from rasteret_refs.read.cache import TileCache
from rasteret_refs.read.manifests import Manifests
from rasteret_refs.read.reader import Reader, Window

_SENT = 0.01
"""Seconds after which most requests of a batch have left: other work would keep them waiting."""

type Pixels = npt.NDArray[Any]

type Reads[Result] = Generator[list[Window], Sequence[Pixels], Result]
"""Yields windows of one collection, is sent their pixels, and returns what came of them."""

type Requests[Result] = Generator[list[tuple["WorkerReader", Window]], Sequence[Pixels], Result]
"""The same for windows of any collections: reads of many callers can share a batch."""


class WorkerReader:
    """A reader for datasets that DataLoader workers share: each process has its own, opened when it is first used.

    A forked child has its parent's locks as they were, also those that a thread of the parent held, so it begins with a
    new reader over the same opened set. Pickling carries the opened set (spawn, forkserver); copies share the reader.

    What a forked child inherits is taken out of its garbage collection (`gc.freeze`): a full collection writes to the
    head of every object, and so copied all of the parent's memory into each worker, after some epochs and for nothing.

    Parameters
    ----------
    reader
        Of the process that makes the dataset.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._process = os.getpid()

    def __getstate__(self) -> Reader:
        return self._reader

    def __setstate__(self, reader: Reader) -> None:
        self.__init__(reader)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> "WorkerReader":
        return self

    def __call__(self) -> Reader:
        """Give this process's reader."""
        if self._process != os.getpid():
            old, fresh = self._reader, object.__new__(Reader)
            fresh.__dict__.update(old.__dict__)
            fresh.manifests = Manifests(old.refset)
            fresh.cache = None if old.cache is None else TileCache(old.cache.limit)
            self._reader = fresh
            self._process = os.getpid()
            gc.freeze()
        return self._reader


def through[Result](reader: WorkerReader, reads: Reads[Result]) -> Requests[Result]:
    """Send reads of one collection through its reader."""
    pixels: Sequence[Pixels] | None = None
    while True:
        try:
            windows = next(reads) if pixels is None else reads.send(pixels)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        pixels = yield [(reader, window) for window in windows]


def together[Result](many: Sequence[Requests[Result]]) -> Requests[list[Result]]:
    """Join requests: each round is one batch of whatever all of them wait for."""
    results: dict[int, Result] = {}
    waiting: dict[int, list[tuple[WorkerReader, Window]]] = {}

    def advance(number: int, pixels: Sequence[Pixels] | None) -> None:
        try:
            waiting[number] = next(many[number]) if pixels is None else many[number].send(pixels)
        except StopIteration as stop:
            waiting.pop(number, None)
            results[number] = stop.value

    for number in range(len(many)):
        advance(number, None)
    while waiting:
        round_ = dict(waiting)
        pixels = iter((yield [request for requests in round_.values() for request in requests]))
        for number, requests in round_.items():
            advance(number, [next(pixels) for _ in requests])
    return [results[number] for number in range(len(many))]


def run[Result](requests: Requests[Result]) -> Result:
    """Carry out requests: each round is one batch a collection, and these run side by side.

    Raises
    ------
    RasteretRefsError
        All that `Reader.read_many` raises.
    """
    pixels: Sequence[Pixels] | None = None
    while True:
        try:
            wanted = next(requests) if pixels is None else requests.send(pixels)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        pixels = _read(wanted)


def _read(wanted: Sequence[tuple[WorkerReader, Window]]) -> list[Pixels]:
    batches: dict[int, tuple[Reader, list[int]]] = {}
    for place, (worker_reader, _) in enumerate(wanted):
        reader = worker_reader()
        batches.setdefault(id(reader), (reader, []))[1].append(place)
    jobs = [(reader, [wanted[place][1] for place in places]) for reader, places in batches.values()]
    found: list[Pixels] = [np.empty(0)] * len(wanted)
    for (_, places), pixels in zip(batches.values(), workers.run(_gather(jobs)), strict=True):
        for place, one in zip(places, pixels, strict=True):
            found[place] = one
    return found


async def _gather(jobs: Sequence[tuple[Reader, list[Window]]]) -> list[list[Pixels]]:
    asyncio.get_running_loop().call_later(_SENT, begin_expected)
    return list(await asyncio.gather(*(reader.read_many_async(windows) for reader, windows in jobs)))
