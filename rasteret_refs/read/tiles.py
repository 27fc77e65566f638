"""Tiles of a batch: which are fetched together, and how a fetched one reaches its places. No storage, no threads."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import DecodeError
from rasteret_refs.objects.coalesce import coalesce
from rasteret_refs.objects.room import HUGE_PAGE, huge
from rasteret_refs.read.arrays import ReferencedArray, plane, unplaned
from rasteret_refs.read.manifests import Locations
from rasteret_refs.read.selection import Piece
from rasteret_refs.tiff.values import ByteRange

REQUEST_BYTES = 8 * 1024 * 1024
"""Neighbouring tiles are merged up to this size: decoding starts when a request is complete, so smaller ones overlap
better."""

DECODED_AT_ONCE = 1024 * 1024
"""Decoded bytes for which it pays to wake a thread: small tiles of a request are decoded by one."""

LARGE_TILE = 64 * 1024 * 1024
"""Decoded bytes from which on a tile's encoded size is looked at before it is asked for."""

LARGEST_RATIO = 5_000
"""Decoded bytes for one encoded byte that a large tile may have: five times what Deflate reaches."""
ENCODED_RATIO = 16
"""Encoded bytes for one decoded byte: no codec needs twice as many, but some headers count what lies behind as well."""


class Target(NamedTuple):
    """Where a part of a tile goes."""

    out: npt.NDArray[Any]
    piece: Piece
    drop_axes: tuple[int, ...] = ()
    """Dimensions of length 1 that the part of the tile has and `out` lacks."""


class Countdown:
    """Work that is done when something has arrived so many times, in the thread that brings the last of it.

    Parameters
    ----------
    count
        How often.
    work
        What then is done.
    """

    __slots__ = ("_left", "_lock", "_work")

    def __init__(self, count: int, work: Callable[[], None]) -> None:
        self._left, self._work, self._lock = count, work, threading.Lock()

    def arrived(self) -> None:
        """Count, and do the work if it was the last."""
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._work()


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One tile to decode, and all the places that its pixels go to."""

    array: ReferencedArray
    number: int
    rows: int = 0
    """Rows that are enough for all targets."""
    targets: list[Target] = field(default_factory=list)
    awaited: list[Countdown] = field(default_factory=list)
    """Told when the pixels have reached their places."""
    url: str = ""
    """Of the object that holds its bytes; empty where they stand in the manifest."""
    offset: int = 0
    """Where they begin in the object."""
    size: int = 0
    """How many they are there."""
    missed: bool = False
    """Whether a beginning of them was fetched that is not enough."""

    def add(self, out: npt.NDArray[Any], piece: Piece, drop_axes: tuple[int, ...] = ()) -> None:
        """Send a part of the tile to `out` as well."""
        self.targets.append(Target(out, piece, drop_axes))
        self.rows = max(self.rows, piece.rows)

    @property
    def first(self) -> int:
        """The row that the first target begins with: none above it is needed."""
        if len(self.array.chunks) < 2 or not all(target.piece.plain for target in self.targets):  # noqa: PLR2004 - rows
            return 0
        return min((target.piece.chunk_key[-2].start for target in self.targets), default=0)

    @property
    def span(self) -> ByteRange:
        """All bytes of the tile in its object."""
        return ByteRange(start=self.offset, stop=self.offset + self.size)

    def arrived(self) -> None:
        """Tell whoever waits for the pixels."""
        for countdown in self.awaited:
            countdown.arrived()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileFetch:
    """Tiles of one object that one request brings."""

    url: str
    ranges: tuple[ByteRange, ...]
    jobs: tuple[Job, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that the tiles have together."""
        return sum(r.stop - r.start for r in self.ranges)


def gather_jobs(
    parts: Iterable[tuple[ReferencedArray, npt.NDArray[Any], Sequence[Piece], Callable[[], None] | None]],
    drop_axes: tuple[int, ...] = (),
) -> list[Job]:
    """Collect the pieces of many selections by tile, in the order of first need.

    Parameters
    ----------
    parts
        For each selection: array, output, pieces, and what is done once they all are in the output.
    drop_axes
        Dimensions of length 1 that the outputs lack.
    """
    jobs: dict[tuple[str, int], Job] = {}
    for array, out, pieces, then in parts:
        countdown = None if then is None else Countdown(len(pieces), then)
        path = array.path
        for piece in pieces:
            job = jobs.get((path, piece.number))
            if job is None:
                job = jobs[path, piece.number] = Job(array=array, number=piece.number)
            job.add(out, piece, drop_axes)
            if countdown is not None:
                job.awaited.append(countdown)
    return list(jobs.values())


def plan_fetches(
    jobs: Sequence[Job], locations: Locations, wanted: dict[str, list[tuple[ByteRange, Job]]], inlined: "Inlined"
) -> None:
    """Sort jobs of one array by what brings their bytes: ranges by object into `wanted`, others into `inlined`.

    Raises
    ------
    DecodeError
        A large tile has so few bytes that it can only be a bomb.
    """
    if jobs and jobs[0].array.chunk_bytes > LARGE_TILE:
        _refuse_bombs(jobs, locations)
    if jobs:
        _refuse_endless(jobs[0].array, locations)
    offsets, sizes = locations.offsets.tolist(), locations.sizes.tolist()
    for job, url, offset, size, data in zip(jobs, locations.urls, offsets, sizes, locations.inlined, strict=True):
        if url is None:
            if data is not None:
                inlined.add(job, data)
            continue
        job.url, job.offset, job.size = url, offset, size
        wanted.setdefault(url, []).append((job.span, job))


def _refuse_endless(array: ReferencedArray, locations: Locations) -> None:
    """Refuse to fetch far more bytes than a tile can have encoded: a hostile server would send them for ever."""
    most, largest = max(LARGE_TILE, ENCODED_RATIO * array.chunk_bytes), int(locations.sizes.max())
    if largest > most:
        raise DecodeError(
            f"expected a tile of {array.chunk_bytes} bytes to have {most} encoded bytes at most, got {largest}: "
            f"{array.path}, {locations.urls[int(locations.sizes.argmax())]}"
        )


def _refuse_bombs(jobs: Sequence[Job], locations: Locations) -> None:
    for job, url, size, data in zip(jobs, locations.urls, locations.sizes.tolist(), locations.inlined, strict=True):
        encoded = size if data is None else len(data)
        if encoded * LARGEST_RATIO < job.array.chunk_bytes:
            raise DecodeError(
                f"expected a tile of {job.array.chunk_bytes} bytes to have {job.array.chunk_bytes // LARGEST_RATIO} "
                f"encoded bytes or more, got {encoded}: chunk {job.array.chunk_key(job.number)} of {job.array.path}, "
                f"{url or 'inlined in its manifest'}"
            )


class Inlined:
    """Jobs whose bytes stand in the manifest. Equal tiles (holes, mostly) become one job with many targets."""

    def __init__(self) -> None:
        self.jobs: dict[tuple[int, int], tuple[Job, bytes]] = {}

    def add(self, job: Job, data: bytes) -> None:
        """Take a job over, or its targets when the same bytes are decoded for the same array already."""
        key = (id(job.array), id(data))
        if key not in self.jobs:
            self.jobs[key] = (job, data)
            return
        first, _ = self.jobs[key]
        first.targets.extend(job.targets)
        first.awaited.extend(job.awaited)
        first.rows = max(first.rows, job.rows)


def fetches(wanted: dict[str, list[tuple[ByteRange, Job]]]) -> list[TileFetch]:
    """Merge the tiles of each object into requests; those of which a request spans all bytes are taken whole."""
    plans = []
    for url, tiles in wanted.items():
        ranges = [byte_range for byte_range, _ in tiles]
        if len(ranges) == 1:
            plans.append(TileFetch(url=url, ranges=(ranges[0],), jobs=(tiles[0][1],)))
            continue
        for request in coalesce(ranges, size=REQUEST_BYTES):
            jobs = tuple(tiles[i][1] for i in request.members)
            spans = (
                job.span if request.start <= job.span.start and job.span.stop <= request.stop else ranges[i]
                for i, job in zip(request.members, jobs, strict=True)
            )
            plans.append(TileFetch(url=url, ranges=tuple(spans), jobs=jobs))
    return plans


def missed(fetch: TileFetch) -> list[TileFetch]:
    """Plan whole those tiles of a request whose beginnings were not enough."""
    again = [(job.span, job) for job in fetch.jobs if job.missed]
    return fetches({fetch.url: again}) if again else []


def decodings(jobs: Sequence[Job], buffers: Sequence[Any]) -> list[list[tuple[Job, Any]]]:
    """Share the tiles of a request out to threads, several small ones each."""
    parts: list[list[tuple[Job, Any]]] = []
    held = DECODED_AT_ONCE
    for job, data in zip(jobs, buffers, strict=True):
        if held >= DECODED_AT_ONCE:
            parts.append([])
            held = 0
        parts[-1].append((job, data))
        held += job.array.chunk_bytes
    return parts


def kept_tile(array: ReferencedArray) -> npt.NDArray[Any]:
    """Give memory of its own for a tile that is kept: in huge pages, where it fills one and the system has them.

    Of 2 MB, small pages take 0.85 ms to be faulted in, a huge one 0.14. NumPy asks for huge pages from 4 MB on.
    """
    if array.chunk_bytes < HUGE_PAGE or array.dtype.hasobject:
        return np.empty(array.chunks, dtype=array.dtype)
    return huge(array.chunk_bytes).view(array.dtype).reshape(array.chunks)


def decode(job: Job, data: Any, *, partial: bool = False) -> None:
    """Decode a tile, or with `partial` what its beginning holds, and send its pixels to their places.

    Raises
    ------
    DecodeError
        The bytes are not such a tile, or not such a part of it.
    """
    place = _sole_place(job)
    if place is not None:
        decode_tile(job, data, place, partial=partial)
        return
    first = job.first
    with _named(job):
        rows = job.array.decoder.decode_rows(data, job.rows - first, first=first, partial=partial)
    scatter(job, unplaned(rows, len(job.array.chunks)), first=first)


def decode_tile(job: Job, data: Any, tile: npt.NDArray[Any], *, partial: bool = False) -> None:
    """Decode a tile's bytes into `tile`: a chunk, or its first rows."""
    with _named(job):
        job.array.decoder.decode_into(data, plane(tile), partial=partial)


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """Say which tile it is that does not decode."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError, MemoryError) as error:
        source = f"{job.url} from byte {job.offset}" if job.url else "inlined in its manifest"
        raise DecodeError(
            f"expected a tile of {job.array.chunks} {job.array.dtype}, found {error}: chunk "
            f"{job.array.chunk_key(job.number)} of {job.array.path}, {source}"
        ) from error


def scatter(job: Job, tile: npt.NDArray[Any], *, first: int = 0) -> None:
    """Copy the parts of a decoded tile, which begins with the chunk's row `first`, to their places."""
    for out, piece, drop_axes in job.targets:
        key = piece.chunk_key
        if first:
            *leading, rows, columns = key
            key = (*leading, slice(rows.start - first, rows.stop - first), columns)
        part = tile[key]
        out[piece.out_key] = part.squeeze(axis=drop_axes) if drop_axes else part


def is_whole(job: Job) -> bool:
    """Tell whether one target takes all pixels of a tile that lie inside the image."""
    if len(job.targets) != 1 or not job.targets[0].piece.plain:
        return False
    key = job.targets[0].piece.chunk_key
    return all(
        part.start == 0 and part.stop == size for part, size in zip(key, job.array.inside(job.number), strict=True)
    )


def _sole_place(job: Job) -> npt.NDArray[Any] | None:
    """Give the place itself when whole rows of a tile, from its top, go there and nowhere else."""
    if len(job.targets) != 1 or not job.targets[0].piece.plain or len(job.array.chunks) < 2:  # noqa: PLR2004 - rows
        return None
    out, piece, _ = job.targets[0]
    whole = all(
        key.start == 0 and (key.stop == size or axis == len(job.array.chunks) - 2)
        for axis, (key, size) in enumerate(zip(piece.chunk_key, job.array.chunks, strict=True))
    )
    if not whole or out.dtype != job.array.dtype:
        return None
    place: npt.NDArray[Any] = out[piece.out_key]
    return place if place.ndim == len(job.array.chunks) else None
