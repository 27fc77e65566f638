"""Run a coroutine from ordinary code, also inside a notebook whose thread already has an event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


def run[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end and return its result.

    Ctrl-C cancels it, waits until it has cleaned up, and raises `KeyboardInterrupt`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _in_thread(coroutine)


def _in_thread[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop of another thread: this thread's own is busy calling us."""
    results: list[T] = []
    errors: list[BaseException] = []
    runner: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def main() -> T:
        task = asyncio.ensure_future(coroutine)
        runner.append((asyncio.get_running_loop(), task))
        return await task

    def body() -> None:
        try:
            results.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="rasteret-refs", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        for loop, task in runner:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
