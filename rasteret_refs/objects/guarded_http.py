"""HTTP on behalf of a stranger's set: each redirection and each address is looked at before anything is sent there.

obstore follows redirections and resolves names by itself, and tells nobody. So sets that are not the user's own are
read through aiohttp, whose resolver and redirections can be watched; connections are kept for each event loop.
"""

import asyncio
import socket
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

from rasteret_refs.errors import UnauthorisedSourceError
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.failures import Failure, Kind
from rasteret_refs.objects.http_answers import Answer
from rasteret_refs.objects.plain_http import BUFFER, failed, judge_answer
from rasteret_refs.objects.proxies import proxy_of

MOST_REDIRECTIONS = 5
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
_CONNECTIONS = 512
_FOR_ANYBODY = frozenset({"range", "if-match", "accept-encoding", "user-agent"})
"""Headers that another host than the one that was asked may see: the caller's own may carry credentials."""


class GuardedHttp:
    """Ranged requests under an authority."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._sessions: dict[asyncio.AbstractEventLoop, tuple[Any, Any]] = {}
        """Of each loop: the session, and the generator that closes it with the loop."""
        weakref.finalize(self, _close_all, self._sessions)

    async def get(
        self, url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Ask for bytes `[start, stop)` of `url` and judge the answer; see `plain_http.ranged_get`.

        Raises
        ------
        UnauthorisedSourceError
            A redirection, or a name's address, that may not be asked.
        """
        import aiohttp
        from yarl import URL

        if start or stop is not None:
            headers = {**headers, "Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        headers = {**headers, "Accept-Encoding": "identity", "User-Agent": "rasteret-refs"}
        timeout = aiohttp.ClientTimeout(total=seconds)
        session = await self._session()
        place = url
        try:
            for _ in range(MOST_REDIRECTIONS):
                async with session.get(
                    URL(place, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                    timeout=timeout,
                    proxy=_http_proxy_of(place),
                ) as response:
                    if response.status not in _REDIRECTIONS or "Location" not in response.headers:
                        return await judge_answer(response, start, stop)
                    target = self._target(url, place, response.headers["Location"])
                if urlsplit(target)[:2] != urlsplit(place)[:2]:  # scheme, host and port
                    headers = {name: value for name, value in headers.items() if name.lower() in _FOR_ANYBODY}
                place = target
        except UnauthorisedSourceError:
            raise
        except RefusedAddressError as error:
            raise UnauthorisedSourceError(f"{url}: {error}") from error
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: senseless headers
            if isinstance(error.__cause__, RefusedAddressError):
                raise UnauthorisedSourceError(f"{url}: {error.__cause__}") from error
            return failed(error)
        detail = f"more than {MOST_REDIRECTIONS} redirections"
        return Answer(failure=Failure(kind=Kind.FINAL, error=UnauthorisedSourceError, detail=detail))

    def _target(self, url: str, place: str, location: str) -> str:
        """Say where a redirection leads, or refuse it."""
        try:
            target = urljoin(place, location)
            host = f"{urlsplit(target).scheme}://{urlsplit(target).netloc}"
            problem = self._authority.redirection_problem(place, target)
        except ValueError as error:  # what no parser takes for a URL
            target, host, problem = "", "no URL", str(error)
        if problem is not None:
            raise UnauthorisedSourceError(
                f"{url}: expected the object itself, got a redirection to {host}, which may not be followed: {problem}"
            )
        return target

    async def _session(self) -> Any:
        import aiohttp

        loop = asyncio.get_running_loop()
        session, _ = self._sessions.get(loop, (None, None))
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS, resolver=_resolver(self._authority))
            # `trust_env` would send what ~/.netrc has for a host, or for any host, wherever a stranger's set leads.
            session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                auto_decompress=False,
                read_bufsize=BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            closing = _close_with_loop(self._sessions, loop, session)
            self._sessions[loop] = session, closing
            await anext(closing)
        return session


class RefusedAddressError(OSError):
    """An address that may not be connected to."""


async def _close_with_loop(
    sessions: dict[asyncio.AbstractEventLoop, tuple[Any, Any]], loop: asyncio.AbstractEventLoop, session: Any
) -> AsyncIterator[None]:
    """Close the session when its loop shuts down: `asyncio.run` closes asynchronous generators just before."""
    try:
        yield
    finally:
        sessions.pop(loop, None)
        await session.close()


def _close_all(sessions: dict[asyncio.AbstractEventLoop, tuple[Any, Any]]) -> None:
    """Close what is open when nobody needs it any more: on loops that still run, in whichever thread."""
    for loop, (session, _) in list(sessions.items()):
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(session.close(), loop)


def _http_proxy_of(url: str) -> str | None:
    """Give the proxy for a URL, if aiohttp can speak to it."""
    proxy = proxy_of(url)
    return proxy if proxy is not None and proxy.startswith("http://") else None


def _resolver(authority: Authority) -> Any:
    """Give a resolver that refuses names of addresses that are not public."""
    import aiohttp.abc

    proxies = {urlsplit(proxy).hostname for proxy in getproxies().values()}

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[aiohttp.abc.ResolveResult]:
            found = await aiohttp.ThreadedResolver().resolve(host, port, family)
            if host not in proxies:
                for entry in found:
                    problem = authority.address_problem(host, str(entry["host"]), port)
                    if problem is not None:
                        raise RefusedAddressError(problem)
            return found

        async def close(self) -> None:
            """Nothing is held."""

    return Resolver()
