"""Handing fetched tiles over to the threads that decode them: large ones at once, small ones together.

A thread that is woken for a tile of 100 KB decodes it in 0.2 ms and takes Python's lock from the event loop half a
dozen times for it; while answers come in by the hundred, the loop waits for its lock longer than it works. So small
tiles wait until the answers pause.

Of the tiles that are there, those come first whose pixels somebody waits for to work on: that work then goes on beside
the decoding of the others, where it would be left over at the end.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from rasteret_refs.read import tiles, workers

_PAUSE = 0.001
"""Seconds without an answer after which waiting tiles are handed over."""
_LONGEST = 0.02
"""Seconds that a tile waits at most."""
_MOST_BYTES = 64 * 1024 * 1024
"""Decoded bytes that wait at most."""

Part = Sequence[tuple[tiles.Job, Any]]


class Handover:
    """Brings the tiles of one batch from its event loop to the decoding threads.

    Parameters
    ----------
    decode
        Decodes tiles, in whichever thread.
    """

    def __init__(self, decode: Callable[[Part], None]) -> None:
        self._decode = decode
        self._loop = asyncio.get_running_loop()
        self._large: dict[bool, deque[tuple[Part, Future[None]]]] = {True: deque(), False: deque()}
        """Parts that no thread has taken yet, by whether they come first."""
        self._waiting: list[tuple[Part, asyncio.Future[None]]] = []
        self._bytes = 0
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.under_way = 0
        """Requests whose answers are still to come."""

    async def decode(self, jobs: Sequence[tiles.Job], buffers: Sequence[Any]) -> None:
        """Have the tiles of one request decoded.

        Raises
        ------
        DecodeError
            The bytes are not such tiles.
        """
        parts = tiles.decodings(jobs, buffers)
        nbytes = sum(job.array.chunk_bytes for job in jobs)
        if nbytes >= tiles.DECODED_AT_ONCE:
            await all_done([self._decode_next(part) for part in parts])
            return
        done: asyncio.Future[None] = self._loop.create_future()
        now = self._loop.time()
        if not self._waiting:
            self._since = now
        self._waiting.append((parts[0], done))
        self._bytes += nbytes
        if self._timer is not None:
            self._timer.cancel()
        if not self.under_way or self._bytes >= _MOST_BYTES or now - self._since >= _LONGEST:
            self._hand_over()
        else:
            self._timer = self._loop.call_later(_PAUSE, self._hand_over)
        await done

    def _decode_next(self, part: Part) -> "asyncio.Future[None]":
        """Have the next thread that is free decode this part, or one that comes before it."""
        done: Future[None] = Future()
        self._large[_is_awaited(part)].append((part, done))
        try:
            workers.decoders().submit(self._take)
        except RuntimeError as error:  # as in `_hand_over`
            for _, left in self._left():
                if left.set_running_or_notify_cancel():
                    left.set_exception(error)
        return asyncio.wrap_future(done)

    def _left(self) -> Iterator[tuple[Part, Future[None]]]:
        """Take what still waits, first what comes first."""
        for comes_first in (True, False):
            while self._large[comes_first]:
                with suppress(IndexError):  # another thread was quicker
                    yield self._large[comes_first].popleft()

    def _take(self) -> None:
        """Decode one part, in whichever thread."""
        part, done = next(self._left(), (None, None))
        if part is None or done is None or not done.set_running_or_notify_cancel():
            return
        try:
            self._decode(part)
        except BaseException as error:  # noqa: BLE001 - handed to who waits for it
            done.set_exception(error)
        else:
            done.set_result(None)

    def _hand_over(self) -> None:
        """Let the threads share all that waits."""
        queue = deque(sorted(self._waiting, key=lambda waiting: not _is_awaited(waiting[0])))
        self._waiting, self._bytes = [], 0
        try:
            for _ in range(min(len(queue), workers.cores())):
                workers.decoders().submit(self._drain, queue)
        except RuntimeError as error:  # the interpreter is going down: nobody shall wait for threads that never start
            _tell([(done, error) for _, done in queue])

    def _drain(self, queue: deque[tuple[Part, "asyncio.Future[None]"]]) -> None:
        """Decode what is in the queue, in one thread."""
        ended: list[tuple[asyncio.Future[None], BaseException | None]] = []
        while True:
            try:
                part, done = queue.popleft()
            except IndexError:
                break
            try:
                self._decode(part)
                ended.append((done, None))
            except BaseException as error:  # noqa: BLE001 - handed to who waits for it
                ended.append((done, error))
        self._loop.call_soon_threadsafe(_tell, ended)


def _is_awaited(part: Part) -> bool:
    return any(job.awaited for job, _ in part)


def _tell(ended: Sequence[tuple["asyncio.Future[None]", BaseException | None]]) -> None:
    """Tell those who wait, on their loop."""
    for done, error in ended:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


async def all_done(work: Sequence["asyncio.Future[Any]"]) -> None:
    """Wait for all; at the first failure cancel the others and let them end before it is raised."""
    if not work:
        return
    try:
        _, pending = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        for future in work:
            future.cancel()
        raise
    if pending:
        for future in pending:
            future.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    # All are asked: of a failure that nobody asked for, asyncio prints a traceback when it is forgotten.
    errors = [error for future in work if not future.cancelled() and (error := future.exception()) is not None]
    if errors:
        raise errors[0]
