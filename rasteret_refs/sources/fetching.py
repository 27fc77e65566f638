"""Whole remote objects and lists of them through `objects/`, for callers that are not asynchronous."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects


def fetch_all(urls: Sequence[str], storage: Mapping[str, Any] | None) -> list[bytes | RasteretRefsError]:
    """Contents of remote objects, in the order given; errors of single objects take their places."""
    objects = Objects(storage)

    async def one(url: str) -> bytes | RasteretRefsError:
        try:
            return await objects.read(url)
        except RasteretRefsError as error:
            return error

    async def all_of_them() -> list[bytes | RasteretRefsError]:
        return list(await asyncio.gather(*(one(url) for url in urls)))

    return run(all_of_them())


def list_objects(prefix: str, storage: Mapping[str, Any] | None) -> list[tuple[str, int]]:
    """(key below `prefix`, bytes) of all objects below a prefix of a bucket."""
    return run(Objects(storage).list(prefix))
