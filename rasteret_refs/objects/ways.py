"""Who sends a request: libcurl, obstore or aiohttp, by its URL, its storage options and whose set asks for it.

Buckets, and whatever is signed, are obstore's. Plain HTTP(S) is libcurl's, where it is installed, else obstore's; what
obstore refused is asked again through aiohttp, which sees what obstore hides. Strangers' sets go by `guarded_http`.
"""

import functools
import importlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from rasteret_refs.objects.answers import Fetched, Traffic, Wanted, checked, may_be_sent
from rasteret_refs.objects.failures import Failure, judge
from rasteret_refs.objects.guarded_http import GuardedHttp
from rasteret_refs.objects.http_answers import Get
from rasteret_refs.objects.location import Location
from rasteret_refs.objects.plain_http import ranged_get
from rasteret_refs.objects.proxies import proxy_of
from rasteret_refs.objects.runtime import obstore, used
from rasteret_refs.objects.stores import azure_container, headers_for, open_store, options_for

_CURL_OPTIONS = frozenset({"anonymous", "timeout", "retries"})
"""Storage options with which libcurl may ask."""
_SECONDS = 60.0


class Ways:
    """The clients of one process, made when they are first needed.

    Parameters
    ----------
    storage
        Prefix → options, see `stores.options_for`.
    guarded
        Who sends HTTP requests of strangers' sets; None: the set is the user's own.
    traffic
        Counts what is sent.
    """

    def __init__(self, storage: Mapping[str, Any], guarded: GuardedHttp | None, traffic: Traffic) -> None:
        self._storage = storage
        self._guarded = guarded
        self._traffic = traffic
        self._stores: dict[tuple[str, str, str, str], Any] = {}
        self.curl: Any = None
        """Made when it is first asked: importing it takes 20 ms."""
        self._curl_seconds: dict[tuple[str, str], float | None] = {}
        """Of a root of URLs and a prefix of storage options: how long libcurl may take; None: it may not ask there."""

    def connect(self, url: str, location: Location) -> None:
        """Make what the first request to a URL will need."""
        if self._seconds_of_curl(url, location) is None:
            self.store(url, location)

    async def send(self, wanted: Wanted, attempt: int) -> tuple[Fetched | Failure, float | None]:
        """Send a request by whoever may; what obstore refused goes to aiohttp, which sees what obstore hides."""
        seconds = self._seconds_of_curl(wanted.url, wanted.location)
        if seconds is not None:
            return await self._through(self.curl.get, wanted, {}, seconds)
        guarded = self._is_guarded(wanted)
        if not guarded and not (attempt and self.has_plain_way(wanted)):
            return await self._through_obstore(wanted)
        get = self._guarded.get if guarded and self._guarded is not None else ranged_get
        _, options = options_for(wanted.url, self._storage)
        return await self._through(get, wanted, headers_for(wanted.location, options), _seconds(options))

    async def _through_obstore(self, wanted: Wanted) -> tuple[Fetched | Failure, float | None]:
        options: dict[str, Any] = {}
        if wanted.stop is not None:
            options["range"] = (wanted.start, wanted.stop)
        elif wanted.start:
            options["range"] = {"offset": wanted.start}
        if may_be_sent(wanted.etag):
            options["if_match"] = wanted.etag
        store, key = self.store(wanted.url, wanted.location)
        try:
            result = await obstore().get_async(store, key, options=options)
            meta, data = result.meta, memoryview(await result.bytes_async())  # meta: of a senseless time, ValueError
        except Exception as error:  # noqa: BLE001 - obstore has no class for much of what it raises
            self.count(wanted.location, 0)
            return judge(error), None
        self.count(wanted.location, len(data))
        modified = meta["last_modified"]
        return checked(
            wanted,
            data,
            result.range,
            size=meta["size"],
            etag=meta["e_tag"],
            modified=modified if modified.timestamp() else None,
        ), None  # fmt: skip

    async def _through(
        self, get: Get, wanted: Wanted, headers: dict[str, str], seconds: float
    ) -> tuple[Fetched | Failure, float | None]:
        if may_be_sent(wanted.etag):
            headers["If-Match"] = str(wanted.etag)
        answer = await get(_full_url(wanted.location), wanted.start, wanted.stop, headers=headers, seconds=seconds)
        self.count(wanted.location, len(answer.data))
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
        prefix, options = options_for(url, self._storage)
        place = (location.root, prefix)
        if place not in self._curl_seconds:
            # Names in other alphabets: not every libcurl knows them.
            may = not options.keys() - _CURL_OPTIONS and location.root.isascii() and proxy_of(location.root) is None
            if may and self.curl is None and (kind := _curl_http()) is not None:
                self.curl = kind()
            self._curl_seconds[place] = _seconds(options) if may and self.curl is not None else None
        return self._curl_seconds[place]

    def _is_guarded(self, wanted: Wanted) -> bool:
        """Whether a request must go where redirections and addresses are looked at."""
        if self._guarded is None or wanted.location.kind != "http":
            return False
        _, options = options_for(wanted.url, self._storage)
        return not options.get("planetary-computer")  # that store speaks to Azure's own blob hosts only

    def store(self, url: str, location: Location) -> tuple[Any, str]:
        """Return the store of a location and the object's key in it."""
        prefix, options = options_for(url, self._storage)
        container, key = "", location.key
        if location.kind == "http" and options.get("planetary-computer"):
            _, container, key = azure_container(location)
        identity = (location.kind, location.root, container, prefix)
        store = self._stores.get(identity)
        if store is None:
            store = self._stores[identity] = open_store(location, options)
        return store, key

    def has_plain_way(self, wanted: Wanted) -> bool:
        """Whether the same bytes can be asked for without obstore's signing."""
        if wanted.location.kind != "http" or (wanted.start == 0 and wanted.stop is None):
            return False
        _, options = options_for(wanted.url, self._storage)
        return not (options.get("planetary-computer") or options.get("earthdata"))

    def forget_signed(self, wanted: Wanted) -> bool:
        """Drop a store whose signature may have expired; tell whether it was a signed one."""
        prefix, options = options_for(wanted.url, self._storage)
        if not (options.get("planetary-computer") or options.get("earthdata") or "credential_provider" in options):
            return False
        for identity in [identity for identity in self._stores if identity[3] == prefix]:
            self._stores.pop(identity, None)
        return True

    def count(self, location: Location, size: int) -> None:
        """Count a request and the bytes that it brought."""
        used()
        self._traffic.requests += 1
        self._traffic.bytes += size
        self._traffic.hosts[location.host] = self._traffic.hosts.get(location.host, 0) + 1


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
