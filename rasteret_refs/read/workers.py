"""The process's own event loop and its threads: started on first use, and anew in a forked child."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

try:
    import uvloop
except ImportError:  # it is an extra
    uvloop = None  # type: ignore[assignment]

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_decoders: ThreadPoolExecutor | None = None
_loaders: ThreadPoolExecutor | None = None
_warpers: ThreadPoolExecutor | None = None


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoders() -> ThreadPoolExecutor:
    """Give the threads that decode: one per core, since decoding holds no lock and waits for nothing."""
    global _decoders  # noqa: PLW0603 - one pool a process
    with _lock:
        if _decoders is None:
            _decoders = ThreadPoolExecutor(max_workers=cores(), thread_name_prefix="rasteret-refs-decode")
        return _decoders


def loaders() -> ThreadPoolExecutor:
    """Give the threads that load manifests: they wait for storage, so there are more of them."""
    global _loaders  # noqa: PLW0603 - one pool a process
    with _lock:
        if _loaders is None:
            _loaders = ThreadPoolExecutor(max_workers=16, thread_name_prefix="rasteret-refs-load")
        return _loaders


def warpers() -> ThreadPoolExecutor:
    """Give the threads that warp: as many as are asked to at once, for each of them is slow to begin."""
    global _warpers  # noqa: PLW0603 - one pool a process
    with _lock:
        if _warpers is None:
            _warpers = ThreadPoolExecutor(max_workers=cores(), thread_name_prefix="rasteret-refs-warp")
        return _warpers


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop: uvloop's where it is installed (extra `fast`), whose threads wake it with less work."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


def _own_loop() -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603 - one loop a process
    with _lock:
        if _loop is None:
            _loop = _new_loop()
            threading.Thread(target=_loop.run_forever, name="rasteret-refs-io", daemon=True).start()
        return _loop


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the process's own event loop, from any other thread, and give its result.

    Interrupting the caller (Ctrl-C) cancels the work.
    """
    future = asyncio.run_coroutine_threadsafe(work, _own_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _forget_after_fork() -> None:
    """Threads do not survive a fork; nor may a lock that one of them held."""
    global _lock, _loop, _decoders, _loaders, _warpers  # noqa: PLW0603 - the child starts afresh
    _lock = threading.Lock()
    _loop = _decoders = _loaders = _warpers = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
