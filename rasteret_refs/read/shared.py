"""Windows of mask assets that several variables want: read by the first that asks, awaited by the others."""

import threading
from concurrent.futures import Future
from typing import Any

import numpy.typing as npt

from rasteret_refs.read.cache import TileCache

type Pixels = npt.NDArray[Any]


class SharedWindows:
    """Windows by name, within a budget of bytes; thread-safe. A pickled copy begins empty.

    Who gets neither pixels nor a future from `ask` has to read the window, and then to call `give` or `give_up`.
    Nobody may wait for a future before that, or two readers could wait for each other.

    Parameters
    ----------
    limit
        Bytes of pixels kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = TileCache(limit)
        self._reading: dict[str, Future[Pixels | None]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._limit,)

    def ask(self, name: str) -> "Pixels | Future[Pixels | None] | None":
        """Give the window, or the future of one that somebody is reading (None if that fails), or None."""
        with self._lock:
            found = self._kept.get(name, 0)
            if found is not None:
                return found
            if name in self._reading:
                return self._reading[name]
            self._reading[name] = Future()
            return None

    def give(self, name: str, pixels: Pixels) -> None:
        """Hand over a window that was read; nobody may change it any more."""
        with self._lock:
            self._kept.put(name, 0, pixels)
            waiting = self._reading.pop(name)
        waiting.set_result(pixels)

    def give_up(self, name: str) -> None:
        """Tell those who wait that the window could not be read; they read it themselves, or fail themselves."""
        with self._lock:
            waiting = self._reading.pop(name, None)
        if waiting is not None:
            waiting.set_result(None)
