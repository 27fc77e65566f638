"""Warps of a batch, beside its decoding: in as few threads as keep up, and those between the same grids together.

GDAL and PROJ take 40 ms of processor time to begin in a thread (`gdal_threads`): one thread does while the answers are
still to come, and others only where much waits. And a chip's warp takes nearly as long for one band as for six.
"""

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.read import workers
from rasteret_refs.read.resample import onto
from rasteret_refs.read.target import Grid

GROUP_BYTES = 8 * 1024 * 1024
"""Of pixels, source and target, that are warped together: GDAL cuts what is far larger."""
_ALIKE = frozenset({"nearest", "bilinear", "average", "mode"})
"""Resamplings that make of a band among others what they make of it alone: cubic has a kernel of its own for many."""
_LONG = 8
"""Warps that wait for each thread before another one is begun."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpTask:
    """Pixels of one grid that are wanted on another; see `resample.onto`."""

    pixels: npt.NDArray[Any]
    """(bands, rows, columns)."""
    source: Grid
    wanted: Grid
    whole: Grid
    """The image that `source` is a window of."""
    resampling: str
    nodata: complex | None
    fill: Any
    then: Callable[[npt.NDArray[Any]], None]
    """Given the warped pixels, in the thread that warps."""

    @property
    def nbytes(self) -> int:
        """Of source and target."""
        of_target = len(self.pixels) * self.wanted.height * self.wanted.width * self.pixels.itemsize
        return self.pixels.nbytes + of_target

    def joins(self, other: "WarpTask") -> bool:
        """Tell whether both, of the same grids, may be bands of one warp: nodata of one might matter to the other."""
        return (
            self.resampling in _ALIKE
            and self.nodata is None
            and other.nodata is None
            and self.pixels.dtype == other.pixels.dtype
            and self.resampling == other.resampling
        )


type _Waiting = tuple[WarpTask, Future[None]]


class WarpBatch:
    """The warps that one batch of reads needs: those between the same grids wait for each other and become one.

    It is told of all of them before the first pixels come. Where a read fails, what waits for it is forgotten with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._awaited: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, list[_Waiting]] = {}

    def expect(self, source: Grid, wanted: Grid, whole: Grid) -> None:
        """Announce a warp between two grids, of a window of an image."""
        self._awaited[_between(source, wanted, whole)] += 1
        _queue.expect(source, wanted, whole)

    def add(self, task: WarpTask) -> "Future[None]":
        """Have an announced warp done, now that its pixels are there.

        Returns
        -------
        concurrent.futures.Future
            Done when `then` has been called; with a QueryError where GDAL finds no way from grid to grid.
        """
        one: _Waiting = (task, Future())
        key = _between(task.source, task.wanted, task.whole)
        with self._lock:
            self._awaited[key] -= 1
            group = self._waiting.setdefault(key, [])
            group.append(one)
            if self._awaited[key] and _nbytes(group) < GROUP_BYTES:
                return one[1]
            del self._waiting[key]
        for joined in _joined(group):
            _queue.add(joined)
        return one[1]


def _between(*grids: Grid) -> Hashable:
    """Tell grids apart; hashing a CRS would take a tenth of a millisecond."""
    return tuple((grid.crs.srs, grid.transform, grid.height, grid.width) for grid in grids)


def _joined(group: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Part tasks into those that are warped together."""
    parts: list[list[_Waiting]] = []
    for one in group:
        fits = (part for part in parts if part[0][0].joins(one[0]) and _nbytes(part) + one[0].nbytes <= GROUP_BYTES)
        part = next(fits, None)
        if part is None:
            parts.append([one])
        else:
            part.append(one)
    return parts


def _nbytes(group: Sequence[_Waiting]) -> int:
    return sum(task.nbytes for task, _ in group)


class WarpQueue:
    """Warps that wait for a thread; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Sequence[_Waiting]] = deque()
        self._threads = 0
        self._expected: tuple[Grid, Grid, Grid] | None = None
        self._begun = False

    def expect(self, source: Grid, wanted: Grid, whole: Grid) -> None:
        """Tell that pixels will come that are to be warped."""
        self._expected = source, wanted, whole

    def begin(self) -> None:
        """Let a thread begin, where warps are expected and none has come yet."""
        with self._lock:
            if self._begun or self._expected is None:
                return
            self._begun = True
            *grids, whole = self._expected
        small = [replace(grid, height=2, width=2) for grid in grids]
        pixels = np.ones((1, 2, 2), np.uint8)
        workers.warpers().submit(lambda: onto(pixels, *small, resampling="nearest", nodata=None, fill=0, whole=whole))

    def add(self, group: Sequence[_Waiting]) -> None:
        """Have tasks done that join each other."""
        with self._lock:
            self._begun = True
            self._waiting.append(group)
            if self._threads == workers.cores() or len(self._waiting) <= self._threads * _LONG:
                return
            self._threads += 1
        workers.warpers().submit(self._drain)

    def _drain(self) -> None:
        """Warp until nothing waits."""
        while (group := self._next()) is not None:
            try:
                _warp([task for task, _ in group])
            except BaseException as error:  # noqa: BLE001 - handed to who waits for it
                for _, done in group:
                    done.set_exception(error)
            else:
                for _, done in group:
                    done.set_result(None)

    def _next(self) -> Sequence[_Waiting] | None:
        """Take what has waited longest; nothing ends the thread's work."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def _warp(tasks: Sequence[WarpTask]) -> None:
    """Warp tasks that join each other as the bands of one image."""
    first = tasks[0]
    bands = first.pixels if len(tasks) == 1 else np.concatenate([task.pixels for task in tasks])
    warped = onto(
        bands, first.source, first.wanted,
        resampling=first.resampling, nodata=first.nodata, fill=first.fill, whole=first.whole,
    )  # fmt: skip
    begin = 0
    for task in tasks:
        task.then(warped[begin : begin + len(task.pixels)])
        begin += len(task.pixels)


_queue = WarpQueue()


def begin_expected() -> None:
    """Let a thread begin before there are pixels to warp; see `WarpQueue.begin`."""
    _queue.begin()


def _forget_after_fork() -> None:
    global _queue  # noqa: PLW0603 - the child starts afresh
    _queue = WarpQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
