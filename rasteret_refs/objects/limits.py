"""How many requests a host gets at once: additive increase, multiplicative decrease, as TCP does it."""

import asyncio
import importlib
import time
from collections import deque

_LEAST = 2.0
_PAUSE = 0.25
"""Seconds between two decreases: all refusals of one burst count once."""
_UNLIMITED = 1 << 20


def open_connections() -> int:
    """Give how many connections fit into half of the files that this process may have open (macOS allows 256)."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows, which has no such limit on sockets
        return _UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else max(int(_LEAST), soft // 2)


class Limiter:
    """Concurrency limit of one host, for one event loop.

    Parameters
    ----------
    most
        Requests at once that are never exceeded.
    """

    __slots__ = ("_active", "_decreased", "_limit", "_most", "_waiting", "answered")

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._decreased = 0.0
        self.answered = 0
        """Requests that have succeeded."""

    @property
    def limit(self) -> float:
        """Requests at once that are allowed now."""
        return self._limit

    async def acquire(self) -> None:
        """Wait for a place; first come, first served."""
        if self._active < self._limit and not self._waiting:
            self._active += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # the place was handed over just before the cancellation
            raise

    def release(self) -> None:
        """Give the place back."""
        self._active -= 1
        while self._waiting and self._active < self._limit:
            place = self._waiting.popleft()
            if not place.done():
                self._active += 1
                place.set_result(None)

    def succeeded(self) -> None:
        """Grow towards the maximum: by one place for each round of answers."""
        self.answered += 1
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1.0 / self._limit)

    def refused(self) -> None:
        """Halve: the host answered 429 or 503."""
        now = time.monotonic()
        if now - self._decreased >= _PAUSE:
            self._decreased = now
            self._limit = max(_LEAST, self._limit / 2)
