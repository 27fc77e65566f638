"""Which byte ranges of one object are fetched together: a pure plan, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from rasteret_refs.tiff.values import ByteRange

DEFAULT_GAP = 256 * 1024
"""Bytes that may be fetched for nothing between two ranges: about what a connection moves in one round trip."""

DEFAULT_SIZE = 16 * 1024 * 1024
"""Bytes of one request: larger ones run in parallel instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One ranged request, and which of the wanted ranges it answers."""

    start: int
    """First byte."""
    stop: int
    """Byte after the last."""
    members: tuple[int, ...]
    """Positions of the wanted ranges that lie inside, in order of their start."""


def coalesce(ranges: Sequence[ByteRange], *, gap: int = DEFAULT_GAP, size: int = DEFAULT_SIZE) -> tuple[Request, ...]:
    """Merge neighbouring ranges into requests.

    Parameters
    ----------
    ranges
        What is wanted, in any order; ranges may overlap or repeat.
    gap
        Two ranges are merged when at most this many unwanted bytes lie between them.
    size
        A request never grows beyond this many bytes by merging. A single wanted range may be larger.

    Returns
    -------
    tuple of Request
        By start. Every wanted range lies wholly inside exactly one request; empty ranges join none.
    """
    order = sorted((index for index, r in enumerate(ranges) if r.stop > r.start), key=lambda i: ranges[i].start)
    requests: list[Request] = []
    members: list[int] = []
    start = stop = 0
    for index in order:
        wanted = ranges[index]
        if members and wanted.start - stop <= gap and max(stop, wanted.stop) - start <= size:
            stop = max(stop, wanted.stop)
            members.append(index)
            continue
        if members:
            requests.append(Request(start=start, stop=stop, members=tuple(members)))
        start, stop, members = wanted.start, wanted.stop, [index]
    if members:
        requests.append(Request(start=start, stop=stop, members=tuple(members)))
    return tuple(requests)
