"""Random tiles of a set, read again and decoded: whether its references still give pixels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rasteret_refs.errors import RasteretRefsError, UnauthorisedSourceError

if TYPE_CHECKING:
    from rasteret_refs.read.reader import Reader

IMAGE_DIMENSIONS = 3
"""Scene, row, column: arrays of fewer dimensions are coordinates."""
AT_ONCE = 64
"""Tiles of one batch; a failed batch is read again tile by tile, to tell which ones failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileProblem:
    """One tile that cannot be read."""

    array: str
    chunk: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelReport:
    """What was read."""

    tiles: int
    problems: tuple[TileProblem, ...]


def check_pixels(reader: "Reader", count: int, *, seed: int | None = None) -> PixelReport:
    """Read random tiles of random arrays, each array by its number of tiles.

    Parameters
    ----------
    reader
        Reads the set.
    count
        Tiles; all of them where the set has no more.
    seed
        Chooses the same tiles again; None: others each time.

    Raises
    ------
    UnauthorisedSourceError
        The set leads where it may not: that is no matter of single tiles.
    """
    documents = reader.refset.metadata
    paths = sorted(
        key.removesuffix("/.zarray")
        for key, document in documents.items()
        if key.endswith("/.zarray") and len(document["shape"]) >= IMAGE_DIMENSIONS
    )
    arrays = [reader.array(path) for path in paths]
    sizes = np.array([int(np.prod(array.grid, dtype=np.int64)) for array in arrays], np.int64)
    total = int(sizes.sum())
    if not total:
        return PixelReport(tiles=0, problems=())
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False)).tolist()
    ends = np.cumsum(sizes)
    places = []
    for number in chosen:
        which = int(np.searchsorted(ends, number, side="right"))
        places.append((paths[which], int(number - (ends[which] - sizes[which]))))
    problems: list[TileProblem] = []
    for start in range(0, len(places), AT_ONCE):
        problems += _problems(reader, places[start : start + AT_ONCE])
    return PixelReport(tiles=len(places), problems=tuple(problems))


def _problems(reader: "Reader", places: list[tuple[str, int]]) -> list[TileProblem]:
    from rasteret_refs.read.reader import Window

    windows = []
    for path, number in places:
        array = reader.array(path)
        index = np.unravel_index(number, array.grid)
        key = tuple(
            slice(int(i) * chunk, min((int(i) + 1) * chunk, size))
            for i, chunk, size in zip(index, array.chunks, array.shape, strict=True)
        )
        windows.append(Window(array=array, key=key))
    try:
        reader.read_many(windows)
    except UnauthorisedSourceError:
        raise
    except RasteretRefsError as error:
        if len(places) > 1:
            return [problem for place in places for problem in _problems(reader, [place])]
        path, number = places[0]
        return [
            TileProblem(
                array=path, chunk=reader.array(path).chunk_key(number), error=type(error).__name__, message=str(error)
            )
        ]
    return []
