"""Verification of a set's sources: each object asked for its ETag, size and time, many at once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from rasteret_refs.errors import ChangedError, ObjectError
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.refset.versions import Version

IN_FLIGHT = 512
"""Objects under way at once, over all hosts; `objects` limits requests host by host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One object that is not as it was indexed."""

    url: str
    error: str
    """Class: `ChangedError`, `NotFoundError`, `AccessError`, …"""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What was asked."""

    objects: int
    problems: tuple[Problem, ...]
    """By URL; empty where all is as it was."""


def check_sources(versions: Mapping[str, Version | None], objects: Objects) -> SourceReport:
    """Ask each object for one byte and compare what the response says about the whole.

    Parameters
    ----------
    versions
        What each object must still be, see `versions.versions_of`.
    objects
        Storage; its `authorise` decides what may be asked.
    """
    return run(_check(versions, objects))


async def _check(versions: Mapping[str, Version | None], objects: Objects) -> SourceReport:
    problems: list[Problem] = []
    queue = iter(sorted(versions.items()))

    async def lane() -> None:
        for url, version in queue:
            problem = await _problem(url, version, objects)
            if problem is not None:
                problems.append(problem)

    await asyncio.gather(*(lane() for _ in range(min(IN_FLIGHT, len(versions)))))
    return SourceReport(objects=len(versions), problems=tuple(sorted(problems, key=lambda problem: problem.url)))


async def _problem(url: str, version: Version | None, objects: Objects) -> Problem | None:
    try:
        if version is None:
            raise ChangedError(f"{url}: expected one version of the object, got two that were indexed")
        if objects.is_local(url):
            await asyncio.to_thread(objects.read_now, url, 0, 0, etag=version.etag, size=version.size)
        else:
            modified = version.last_modified if version.etag is None else None
            await objects.fetch(url, 0, 1, etag=version.etag, size=version.size, modified=modified)
    except ObjectError as error:
        return Problem(url=url, error=type(error).__name__, message=str(error))
    return None
