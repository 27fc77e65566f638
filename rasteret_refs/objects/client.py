"""Objects: fetch byte ranges of any URL or path, with retries, limits and one tree of errors."""

import asyncio
import os
import random
import weakref
from collections.abc import Buffer, Callable, Mapping, Sequence
from typing import Any

from rasteret_refs.errors import AccessError, NotFoundError, ObjectError, ResponseError
from rasteret_refs.objects.answers import Fetched, Traffic, Wanted, asked, empty
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.coalesce import DEFAULT_GAP, DEFAULT_SIZE, coalesce
from rasteret_refs.objects.failures import Failure, Kind, judge
from rasteret_refs.objects.guarded_http import GuardedHttp
from rasteret_refs.objects.limits import Limiter, open_connections
from rasteret_refs.objects.local import read_range
from rasteret_refs.objects.location import is_url, local_path, locate
from rasteret_refs.objects.runtime import obstore, used
from rasteret_refs.objects.ways import Ways
from rasteret_refs.tiff.values import ByteRange

DEFAULT_CONCURRENCY = 256
"""Requests in flight to one host: with 30 ms a round trip, 4,700 headers a second came over the loopback."""

DEFAULT_RETRIES = 6
_RETRIES_OF_STRANGERS = 2
"""Where no server is, of a host that has never answered: most likely its name is wrong, or the machine is offline."""
_MORE_IN_STORMS = 2
"""Times as many attempts after 429 and 503, while the host answers others: where it refuses 30 %, one request in 4,600
(0.3⁷, if each is refused by chance) would be given up otherwise."""
_BACKOFF_IN_STORMS = 2.0
"""Seconds between the further ones."""
_BACKOFF = 0.2
_LONGEST_BACKOFF = 20.0
_LONGEST_RETRY_AFTER = 120.0
"""Seconds; a server that asks for more is taken for unavailable."""


class Objects:
    """Access to objects on local disks, http(s), S3, Google Cloud Storage and Azure.

    Picklable; safe to use after a fork, from several threads and several event loops.

    Parameters
    ----------
    storage
        Prefix → obstore options, or `"planetary-computer"`, `"earthdata"`, `"anonymous"`; the longest prefix wins.
    concurrency
        Requests in flight to one host at most; fewer after 429 and 503, and where few files may be open.
    retries
        Attempts after the first.
    authorise
        Called with each URL before anything is sent; raises `UnauthorisedSourceError` to refuse. Under a guarded
        `Authority`, redirections and the addresses of names are looked at as well.
    """

    def __init__(
        self,
        storage: Mapping[str, Any] | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        retries: int = DEFAULT_RETRIES,
        authorise: Callable[[str], None] | None = None,
    ) -> None:
        self._storage = dict(storage or {})
        self._concurrency = concurrency
        self._retries = retries
        self._authorise = authorise
        guarded = isinstance(authorise, Authority) and authorise.guarded
        self._guarded = GuardedHttp(authorise) if guarded else None  # type: ignore[arg-type] # an Authority, see above
        self.traffic = Traffic()
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._own_ways = Ways(self._storage, self._guarded, self.traffic)
        self._met: set[str] = set()  # hosts that have answered, in whatever way
        self._limiters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Limiter]] = (
            weakref.WeakKeyDictionary()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objects) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(type(self))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "storage": self._storage,
            "concurrency": self._concurrency,
            "retries": self._retries,
            "authorise": self._authorise,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    async def fetch(
        self,
        url: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        size: int | None = None,
        modified: str | None = None,
    ) -> Fetched:
        """Fetch bytes `[start, stop)` of an object with one request.

        Parameters
        ----------
        url
            A path or URL, without signature.
        start, stop
            Bytes. `stop` may lie behind the object's end (the answer is shorter then); None means the end.
        etag, size, modified
            What the object must still be; the time (ISO 8601 in UTC) counts only without an ETag.

        Raises
        ------
        NotFoundError, AccessError, UnavailableError, ResponseError, ChangedError, UnauthorisedSourceError
            Each names the URL, what was expected and what came.
        """
        if self._authorise is not None:
            self._authorise(url)
        wanted = Wanted(url=url, location=locate(url), start=start, stop=stop, etag=etag, size=size, modified=modified)
        if stop is not None and stop <= start:
            raise ResponseError(f"{url}: expected a range of at least one byte, got [{start}, {stop})")
        return await self._until_answered(wanted)

    async def ranges(
        self,
        url: str,
        ranges: Sequence[ByteRange],
        *,
        etag: str | None = None,
        size: int | None = None,
        modified: str | None = None,
        gap: int = DEFAULT_GAP,
        most: int = DEFAULT_SIZE,
    ) -> list[Buffer]:
        """Fetch several ranges of one object, neighbours together.

        Parameters
        ----------
        url, etag, size, modified
            As in `fetch`.
        ranges
            In any order; all must lie inside the object.
        gap, most
            Bounds of merging in bytes, see `coalesce`.

        Returns
        -------
        list of memoryview
            One for each of `ranges`, in their order.

        Raises
        ------
        ResponseError
            When a range ends behind the object's end; and all that `fetch` raises.
        """
        found: list[Buffer] = [memoryview(b"")] * len(ranges)
        requests = coalesce(ranges, gap=gap, size=most)
        answers = await _all(
            [
                self.fetch(url, request.start, request.stop, etag=etag, size=size, modified=modified)
                for request in requests
            ]
        )
        for request, answer in zip(requests, answers, strict=True):
            if len(answer.data) != request.stop - request.start:
                raise ResponseError(
                    f"{url}: expected bytes [{request.start}, {request.stop}), but the object has only {answer.size}"
                )
            for member in request.members:
                wanted = ranges[member]
                found[member] = answer.data[wanted.start - request.start : wanted.stop - request.start]
        return found

    @staticmethod
    def is_local(url: str) -> bool:
        """Tell whether an object is a file of this machine, which `read_now` can read."""
        return not is_url(url) or url.startswith("file:")

    def read_now(
        self, url: str, start: int, stop: int, *, etag: str | None = None, size: int | None = None
    ) -> memoryview:
        """Read bytes `[start, stop)` of a local file in the calling thread; parameters and errors as in `fetch`.

        The bytes stand there until the same thread reads again.
        """
        if self._authorise is not None:
            self._authorise(url)
        data = read_range(local_path(url), start, stop, etag=etag, size=size)
        self._ways.count(locate(url), len(data))
        return data

    def connect(self, url: str) -> None:
        """Open the store of a URL before its first request: the system's certificates take some 20 ms to read."""
        self._ways.connect(url, locate(url))

    async def read(self, url: str) -> bytes:
        """Return a whole object."""
        return bytes((await self.fetch(url)).data)

    async def exists(self, url: str) -> bool:
        """Tell whether there is such an object, by its first byte."""
        try:
            await self.fetch(url, 0, 1)
        except NotFoundError:
            return False
        return True

    async def put(self, url: str, data: Buffer) -> None:
        """Write an object whole; it appears when it is complete."""
        store, key = self._ways.store(url, locate(url))
        try:
            await obstore().put_async(store, key, bytes(data))
        except Exception as error:
            raise self._error(url, "to write it", judge(error)) from error
        finally:
            self._ways.count(locate(url), 0)

    async def list(self, url: str) -> list[tuple[str, int]]:
        """Return (key below `url`, bytes) of all objects below a prefix.

        Raises
        ------
        ObjectError
            Also where the storage has no listings (plain HTTP).
        """
        location = locate(url.rstrip("/") + "/x")
        store, key = self._ways.store(url, location)
        prefix = key.removesuffix("x").rstrip("/")
        found: list[tuple[str, int]] = []
        try:
            async for batch in obstore().list(store, prefix=prefix or None):
                found.extend((entry["path"].removeprefix(prefix).lstrip("/"), entry["size"]) for entry in batch)
        except Exception as error:
            raise self._error(url, "a listing", judge(error)) from error
        finally:
            used()
        return found

    @property
    def _ways(self) -> Ways:
        """Who sends requests of this process: a forked child makes its own."""
        if self._process != os.getpid():
            self._reset()
        return self._own_ways

    async def _until_answered(self, wanted: Wanted) -> Fetched:
        """Send a request until it is answered or nothing helps."""
        limiter = self._limiter(wanted.location.host)
        pause: float | None = None
        signed_anew = contradicted = False
        attempt, answered = 0, limiter.answered
        while True:
            await limiter.acquire()
            try:
                outcome, pause = await self._ways.send(wanted, attempt)
            finally:
                limiter.release()
            if isinstance(outcome, Fetched):
                self._met.add(wanted.location.host)
                limiter.succeeded()
                return outcome
            if not outcome.nobody:
                self._met.add(wanted.location.host)
            if outcome.kind is Kind.UNSATISFIABLE and wanted.start == 0:
                return empty(wanted)
            if outcome.kind is Kind.THROTTLED:
                limiter.refused()
            most = self._retries
            if outcome.nobody and wanted.location.host not in self._met:
                most = min(most, _RETRIES_OF_STRANGERS)
            if outcome.kind is Kind.THROTTLED and attempt >= most and limiter.answered > answered:
                most, pause = most * _MORE_IN_STORMS, _BACKOFF_IN_STORMS if pause is None else pause
            retry = outcome.kind in {Kind.RETRY, Kind.THROTTLED} and attempt < most
            if outcome.kind is Kind.CONTRADICTION and not contradicted and self._ways.has_plain_way(wanted):
                retry, pause, contradicted = True, 0.0, True
            elif outcome.error is AccessError and not signed_anew and self._ways.forget_signed(wanted):
                retry, pause, signed_anew = True, 0.0, True
            if not retry or (pause or 0.0) > _LONGEST_RETRY_AFTER:
                raise self._error(wanted.url, asked(wanted), outcome, attempts=attempt + 1)
            attempt += 1
            self.traffic.retries += 1
            await asyncio.sleep(_backoff(attempt) if pause is None else pause)

    def _limiter(self, host: str) -> Limiter:
        if self._process != os.getpid():
            self._reset()
        loop = asyncio.get_running_loop()
        limiters = self._limiters.get(loop)
        if limiters is None:
            limiters = self._limiters[loop] = {}
        limiter = limiters.get(host)
        if limiter is None:
            limiter = limiters[host] = Limiter(min(self._concurrency, open_connections()))
        return limiter

    def _error(self, url: str, expected: str, failure: Failure, *, attempts: int = 1) -> ObjectError:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        error = failure.error(f"{url}: expected {expected}, got {failure.detail}{tried}")
        error.attempts = attempts
        return error


def _backoff(attempt: int) -> float:
    """Exponential with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_BACKOFF, _BACKOFF * 2.0 ** (attempt - 1))  # noqa: S311 - no secret


async def _all(coroutines: Sequence[Any]) -> list[Any]:
    """Await all; when one fails, cancel the others and raise its error."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
