"""A cache bounded by bytes, for manifests in memory: safe in threads, empty again after a fork."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class ByteCache[Value]:
    """Least recently used values, up to a number of bytes.

    Each value is loaded once even if many threads ask at the same time. A child process starts with an empty cache and
    fresh locks: those of the parent may have been held by a thread that the child does not have.

    Parameters
    ----------
    limit
        Bytes to keep; a single value above it is given out but not kept.
    size_of
        Bytes that a value takes.
    """

    def __init__(self, limit: int, size_of: Callable[[Value], int]) -> None:
        self.limit = limit
        self.size_of = size_of
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}

    @property
    def bytes_held(self) -> int:
        """Bytes of all values kept."""
        return self._bytes

    def peek(self, key: Hashable) -> Value | None:
        """Return a value that is held, or None; never loads and never waits for a load."""
        if self._process != os.getpid():
            self._reset()
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """Return the value of a key, loading it when it is not held; errors of `load` are raised and not kept."""
        value = self.peek(key)
        if value is not None:
            return value
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        try:
            with loading:
                value = self.peek(key)
                if value is None:
                    value = load()
                    self._keep(key, value)
                return value
        finally:
            with self._lock:
                self._loading.pop(key, None)

    def _keep(self, key: Hashable, value: Value) -> None:
        size = self.size_of(value)
        with self._lock:
            if size > self.limit:
                return
            self._values[key] = value
            self._bytes += size
            while self._bytes > self.limit:
                _, old = self._values.popitem(last=False)
                self._bytes -= self.size_of(old)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._bytes = 0
