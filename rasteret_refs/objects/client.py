"""Objects: fetch byte ranges of any URL or path, with retries, limits and one tree of errors."""

import asyncio
import functools
import importlib
import os
import random
import weakref
from collections.abc import Buffer, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rasteret_refs.errors import AccessError, NotFoundError, ObjectError, ResponseError
from rasteret_refs.objects.answers import Fetched, Traffic, Wanted, asked, checked, empty, may_be_sent
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.coalesce import DEFAULT_GAP, DEFAULT_SIZE, coalesce
from rasteret_refs.objects.failures import Failure, Kind, judge
from rasteret_refs.objects.guarded_http import GuardedHttp
from rasteret_refs.objects.http_answers import Get
from rasteret_refs.objects.limits import Limiter, open_connections
from rasteret_refs.objects.local import read_range
from rasteret_refs.objects.location import Location, is_url, local_path, locate
from rasteret_refs.objects.plain_http import ranged_get
from rasteret_refs.objects.proxies import proxy_of
from rasteret_refs.objects.runtime import obstore, used
from rasteret_refs.objects.stores import azure_container, headers_for, open_store, options_for
from rasteret_refs.tiff.values import ByteRange

DEFAULT_CONCURRENCY = 256
"""Requests in flight to one host: with 30 ms a round trip, 4,700 headers a second came over the loopback."""

DEFAULT_RETRIES = 6
_RETRIES_OF_STRANGERS = 2
"""Where no server is, of a host that has never answered: most likely its name is wrong, or the machine is offline."""
_CURL_OPTIONS = frozenset({"anonymous", "timeout", "retries"})
"""Storage options with which libcurl may ask."""
_SECONDS = 60.0
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
        self._stores: dict[tuple[str, str, str, str], Any] = {}
        self._curl: Any = None  # made when it is first asked: importing it takes 20 ms
        self._curl_seconds: dict[tuple[str, str], float | None] = {}
        """Of a root of URLs and a prefix of storage options: how long libcurl may take; None: it may not ask there."""
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
        self._count(locate(url), len(data))
        return data

    def connect(self, url: str) -> None:
        """Open the store of a URL before its first request: the system's certificates take some 20 ms to read."""
        location = locate(url)
        if self._seconds_of_curl(url, location) is None:
            self._store(url, location)

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
        store, key = self._store(url, locate(url))
        try:
            await obstore().put_async(store, key, bytes(data))
        except Exception as error:
            raise self._error(url, "to write it", judge(error)) from error
        finally:
            self._count(locate(url), 0)

    async def list(self, url: str) -> list[tuple[str, int]]:
        """Return (key below `url`, bytes) of all objects below a prefix.

        Raises
        ------
        ObjectError
            Also where the storage has no listings (plain HTTP).
        """
        location = locate(url.rstrip("/") + "/x")
        store, key = self._store(url, location)
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

    async def _until_answered(self, wanted: Wanted) -> Fetched:
        """Send a request until it is answered or nothing helps."""
        limiter = self._limiter(wanted.location.host)
        pause: float | None = None
        signed_anew = contradicted = False
        attempt = 0
        while True:
            await limiter.acquire()
            try:
                outcome, pause = await self._send(wanted, attempt)
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
            retry = outcome.kind in {Kind.RETRY, Kind.THROTTLED} and attempt < most
            if outcome.kind is Kind.CONTRADICTION and not contradicted and self._has_plain_way(wanted):
                retry, pause, contradicted = True, 0.0, True
            elif outcome.error is AccessError and not signed_anew and self._forget_signed(wanted):
                retry, pause, signed_anew = True, 0.0, True
            if not retry or (pause or 0.0) > _LONGEST_RETRY_AFTER:
                raise self._error(wanted.url, asked(wanted), outcome, attempts=attempt + 1)
            attempt += 1
            self.traffic.retries += 1
            await asyncio.sleep(_backoff(attempt) if pause is None else pause)

    async def _through_obstore(self, wanted: Wanted) -> tuple[Fetched | Failure, float | None]:
        options: dict[str, Any] = {}
        if wanted.stop is not None:
            options["range"] = (wanted.start, wanted.stop)
        elif wanted.start:
            options["range"] = {"offset": wanted.start}
        if may_be_sent(wanted.etag):
            options["if_match"] = wanted.etag
        store, key = self._store(wanted.url, wanted.location)
        try:
            result = await obstore().get_async(store, key, options=options)
            meta, data = result.meta, memoryview(await result.bytes_async())  # meta: of a senseless time, ValueError
        except Exception as error:  # noqa: BLE001 - obstore has no class for much of what it raises
            self._count(wanted.location, 0)
            return judge(error), None
        self._count(wanted.location, len(data))
        modified = meta["last_modified"]
        return checked(
            wanted,
            data,
            result.range,
            size=meta["size"],
            etag=meta["e_tag"],
            modified=modified if modified.timestamp() else None,
        ), None  # fmt: skip

    async def _send(self, wanted: Wanted, attempt: int) -> tuple[Fetched | Failure, float | None]:
        """Send a request by whoever may; what obstore refused goes to aiohttp, which sees what obstore hides."""
        seconds = self._seconds_of_curl(wanted.url, wanted.location)
        if seconds is not None:
            return await self._through(self._curl.get, wanted, {}, seconds)
        guarded = self._is_guarded(wanted)
        if not guarded and not (attempt and self._has_plain_way(wanted)):
            return await self._through_obstore(wanted)
        get = self._guarded.get if guarded and self._guarded is not None else ranged_get
        _, options = options_for(wanted.url, self._storage)
        return await self._through(get, wanted, headers_for(wanted.location, options), _seconds(options))

    async def _through(
        self, get: Get, wanted: Wanted, headers: dict[str, str], seconds: float
    ) -> tuple[Fetched | Failure, float | None]:
        if may_be_sent(wanted.etag):
            headers["If-Match"] = str(wanted.etag)
        answer = await get(_full_url(wanted.location), wanted.start, wanted.stop, headers=headers, seconds=seconds)
        self._count(wanted.location, len(answer.data))
        if answer.failure is not None:
            return answer.failure, answer.retry_after
        span = (wanted.start, wanted.start + len(answer.data))
        return checked(
            wanted, memoryview(answer.data), span, size=answer.size, etag=answer.etag, modified=answer.last_modified
        ), None

    def _seconds_of_curl(self, url: str, location: Location) -> float | None:
        """Say how long libcurl may take; None where it may not ask: it asks hosts directly and without credentials."""
        if location.kind != "http" or self._guarded is not None:
            return None
        if self._process != os.getpid():
            self._reset()
        prefix, options = options_for(url, self._storage)
        place = (location.root, prefix)
        if place not in self._curl_seconds:
            # Names in other alphabets: not every libcurl knows them.
            may = not options.keys() - _CURL_OPTIONS and location.root.isascii() and proxy_of(location.root) is None
            if may and self._curl is None and (kind := _curl_http()) is not None:
                self._curl = kind()
            self._curl_seconds[place] = _seconds(options) if may and self._curl is not None else None
        return self._curl_seconds[place]

    def _is_guarded(self, wanted: Wanted) -> bool:
        """Whether a request must go where redirections and addresses are looked at."""
        if self._guarded is None or wanted.location.kind != "http":
            return False
        _, options = options_for(wanted.url, self._storage)
        return not options.get("planetary-computer")  # that store speaks to Azure's own blob hosts only

    def _has_plain_way(self, wanted: Wanted) -> bool:
        """Whether the same bytes can be asked for without obstore's signing."""
        if wanted.location.kind != "http" or (wanted.start == 0 and wanted.stop is None):
            return False
        _, options = options_for(wanted.url, self._storage)
        return not (options.get("planetary-computer") or options.get("earthdata"))

    def _store(self, url: str, location: Location) -> tuple[Any, str]:
        """Return the store of a location and the object's key in it."""
        if self._process != os.getpid():
            self._reset()
        prefix, options = options_for(url, self._storage)
        container, key = "", location.key
        if location.kind == "http" and options.get("planetary-computer"):
            _, container, key = azure_container(location)
        identity = (location.kind, location.root, container, prefix)
        store = self._stores.get(identity)
        if store is None:
            store = self._stores[identity] = open_store(location, options)
        return store, key

    def _forget_signed(self, wanted: Wanted) -> bool:
        """Drop a store whose signature may have expired; tell whether it was a signed one."""
        prefix, options = options_for(wanted.url, self._storage)
        if not (options.get("planetary-computer") or options.get("earthdata") or "credential_provider" in options):
            return False
        for identity in [identity for identity in self._stores if identity[3] == prefix]:
            self._stores.pop(identity, None)
        return True

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

    def _count(self, location: Location, size: int) -> None:
        used()
        self.traffic.requests += 1
        self.traffic.bytes += size
        self.traffic.hosts[location.host] = self.traffic.hosts.get(location.host, 0) + 1

    def _error(self, url: str, expected: str, failure: Failure, *, attempts: int = 1) -> ObjectError:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        error = failure.error(f"{url}: expected {expected}, got {failure.detail}{tried}")
        error.attempts = attempts
        return error


@functools.cache
def _curl_http() -> type[Any] | None:
    """Give the client on libcurl; None where the extra `fast` is not installed."""
    try:
        return importlib.import_module("rasteret_refs.objects.curl").CurlHttp  # type: ignore[no-any-return]
    except ImportError:
        return None


def _seconds(options: Mapping[str, Any]) -> float:
    """Give the limit for a whole exchange."""
    return float(options.get("timeout", _SECONDS))


def _full_url(location: Location) -> str:
    """Put an http location together again, escaped."""
    root, mark, query = location.root.partition("?")
    key = quote(location.key, safe="/!$&'()*+,;=:@~")
    return f"{root.rstrip('/')}/{key}{mark}{query}" if key else location.root


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
