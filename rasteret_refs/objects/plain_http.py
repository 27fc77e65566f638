"""A ranged GET through aiohttp, whose answer can be looked at: obstore hides the headers of answers that it refuses.

Used where libcurl is not there, after obstore refused an answer: to obey `Retry-After`, to accept what is right but
unusual (chunked 206), and to say what came instead of a TIFF.
"""

from collections.abc import Mapping
from typing import Any

from rasteret_refs.objects.failures import REFUSED, UNKNOWN_HOST, unanswered
from rasteret_refs.objects.http_answers import Answer, Head

BUFFER = 1024 * 1024
"""Bytes that a connection may have waiting: with aiohttp's 64 KiB, tiles come in many small steps."""


async def ranged_get(url: str, start: int, stop: int | None, *, headers: Mapping[str, str], seconds: float) -> Answer:
    """Ask for `[start, stop)` of `url` and judge the answer.

    Parameters
    ----------
    url
        An http(s) URL.
    start, stop
        Bytes; `stop` None: to the end.
    headers
        Sent along (`If-Match`, `Authorization`).
    seconds
        Limit for the whole exchange.
    """
    import aiohttp
    from yarl import URL

    wanted = f"bytes={start}-{'' if stop is None else stop - 1}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.get(
                URL(url, encoded=True),
                headers={**headers, "Range": wanted, "Accept-Encoding": "identity", "User-Agent": "rasteret-refs"},
            ) as response,
        ):
            return await judge_answer(response, start, stop)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: senseless headers
        return failed(error)


def failed(error: Exception) -> Answer:
    """Judge an exchange that broke off."""
    import aiohttp

    detail = "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        detail = UNKNOWN_HOST
    elif isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        detail = REFUSED
    return Answer(failure=unanswered(detail))


async def judge_answer(response: Any, start: int, stop: int | None) -> Answer:
    """Read as much of an answer of aiohttp as is needed, and judge it."""
    head = Head(response.status, response.headers, start, stop)
    if head.most is None:
        return head.judged(await response.read())
    body = bytearray()
    while len(body) < head.most and (more := await response.content.read(head.most - len(body))):
        body += more
    return head.judged(body)
