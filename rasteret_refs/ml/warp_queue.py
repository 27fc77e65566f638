"""Warps of a batch, beside its decoding: in as few threads as keep up, and those between the same grids together.

GDAL and PROJ take 40 ms of processor time to begin in a thread (`gdal_threads`): one thread does while the answers are
still to come, and others only where much waits. And of the 4 ms that a chip's warp takes, 2.5 are the same for any
number of bands.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.read import workers
from rasteret_refs.read.gdal_threads import begin
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
        """Tell whether both may be bands of one warp, which must not matter to any of them: nodata of one might."""
        return (
            self.resampling in _ALIKE
            and self.nodata is None
            and other.nodata is None
            and self.pixels.dtype == other.pixels.dtype
            and self.resampling == other.resampling
            and self.source == other.source
            and self.wanted == other.wanted
        )


class WarpQueue:
    """Warps that wait for a thread; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[WarpTask, Future[None]]] = deque()
        self._threads = 0
        self._expected: tuple[Grid, Grid] | None = None
        self._begun = False

    def expect(self, source: Grid, wanted: Grid) -> None:
        """Tell that pixels will come that are to be warped."""
        self._expected = source, wanted

    def begin(self) -> None:
        """Let a thread begin, where warps are expected and none has come yet."""
        with self._lock:
            if self._begun or self._expected is None:
                return
            self._begun = True
            source, wanted = self._expected
        workers.warpers().submit(begin, source.crs, wanted.crs)

    def add(self, task: WarpTask) -> "Future[None]":
        """Have a warp done.

        Returns
        -------
        concurrent.futures.Future
            Done when `then` has been called; with a QueryError where GDAL finds no way from grid to grid.
        """
        done: Future[None] = Future()
        with self._lock:
            self._begun = True
            self._waiting.append((task, done))
            if self._threads == workers.cores() or len(self._waiting) <= self._threads * _LONG:
                return done
            self._threads += 1
        workers.warpers().submit(self._drain)
        return done

    def _drain(self) -> None:
        """Warp until nothing waits."""
        while group := self._next():
            try:
                _warp([task for task, _ in group])
            except BaseException as error:  # noqa: BLE001 - handed to who waits for it
                for _, done in group:
                    done.set_exception(error)
            else:
                for _, done in group:
                    done.set_result(None)

    def _next(self) -> list[tuple[WarpTask, "Future[None]"]]:
        """Take what has waited longest, and what joins it; nothing ends the thread's work."""
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return []
            first = self._waiting.popleft()
            group, left, nbytes = [first], deque[tuple[WarpTask, Future[None]]](), first[0].nbytes
            for one in self._waiting:
                if nbytes + one[0].nbytes <= GROUP_BYTES and one[0].joins(first[0]):
                    group.append(one)
                    nbytes += one[0].nbytes
                else:
                    left.append(one)
            self._waiting = left
            return group


def _warp(tasks: Sequence[WarpTask]) -> None:
    """Warp tasks that join each other as the bands of one image."""
    first = tasks[0]
    bands = first.pixels if len(tasks) == 1 else np.concatenate([task.pixels for task in tasks])
    warped = onto(
        bands, first.source, first.wanted, resampling=first.resampling, nodata=first.nodata, fill=first.fill
    )  # fmt: skip
    begin = 0
    for task in tasks:
        task.then(warped[begin : begin + len(task.pixels)])
        begin += len(task.pixels)


_queue = WarpQueue()


def submit(task: WarpTask) -> "Future[None]":
    """Have a warp done by this process's threads; see `WarpQueue.add`."""
    return _queue.add(task)


def expect(source: Grid, wanted: Grid) -> None:
    """Tell that the batch that is planned will need warps; see `WarpQueue.expect`."""
    _queue.expect(source, wanted)


def begin_expected() -> None:
    """Let a thread begin before there are pixels to warp; see `WarpQueue.begin`."""
    _queue.begin()


def _forget_after_fork() -> None:
    global _queue  # noqa: PLW0603 - the child starts afresh
    _queue = WarpQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
