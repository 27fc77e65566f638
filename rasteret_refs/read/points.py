"""Pixel values at points, of every scene that covers them, as `rasterio.sample` gives them: one batch for all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.bands import Choice, choose
from rasteret_refs.read.images import Image, Images
from rasteret_refs.read.overlap import transformer
from rasteret_refs.read.places import coordinates_of
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.slots import instants
from rasteret_refs.read.target import Grid

MATCHES = ("all", "first", "latest")
_IMAGE = 3
"""Dimensions of an array without bands: scene, row, column."""


def sample_points(
    reader: Reader,
    scenes: Any,
    points: Any,
    *,
    assets: Sequence[str] | None = None,
    bands: Sequence[str | int] | None = None,
    crs: Any = None,
    match: str = "all",
) -> Any:
    """Sample scenes at points.

    Parameters
    ----------
    reader, scenes
        What reads the set, and the rows of its scene table (`pyarrow.Table`) to take.
    points, …
        As `Collection.sample_points` says, as well as what comes back and what is refused.
    """
    import pyarrow as pa

    if match not in MATCHES:
        raise QueryError(f"expected match= to be one of {MATCHES}, found {match!r}")
    coordinates, source = coordinates_of(points, crs)
    images = Images(reader)
    choices = choose(images, scenes, images.assets(scenes) if assets is None else assets, bands)
    found = images.find(scenes, dict.fromkeys(choice.asset for choice in choices))
    covers = _Covers(coordinates, source)
    cells = {asset: _cells(group, covers) for asset, group in found.items()}
    pairs = _pairs(cells, len(coordinates), scenes, match)
    parts = _read(reader, choices, cells, pairs)
    taken = scenes.take(pa.array([scene for _, scene in pairs], pa.int64()))
    table: dict[str, Any] = {"point": pa.array([point for point, _ in pairs], pa.int64()), "id": taken["id"]}
    if "datetime" in taken.column_names:
        table["datetime"] = taken["datetime"]
    for choice in choices:
        columns = _columns(choice, found[choice.asset], parts[choice.name], len(pairs))
        twice = [name for name in columns if name in table]
        if twice:
            raise QueryError(f"expected bands by names other than the table's own columns, found {twice}")
        table |= columns
    return pa.table(table)


class _Covers:
    """Which points a grid covers, and where; asked once for each grid."""

    def __init__(self, coordinates: npt.NDArray[np.float64], crs: pyproj.CRS) -> None:
        self._coordinates, self._crs = coordinates, crs
        self._moved: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
        self._known: dict[int, tuple[npt.NDArray[np.int64], ...]] = {}

    def of(self, image: Image) -> tuple[npt.NDArray[np.int64], ...]:
        """Give (points, rows, columns) inside an image, all of one length."""
        grid = image.grid
        if id(grid) not in self._known:
            key = grid.crs.srs
            if key not in self._moved:
                x, y = transformer(self._crs, grid.crs).transform(self._coordinates[:, 0], self._coordinates[:, 1])
                self._moved[key] = np.asarray(x), np.asarray(y)
            x, y = self._moved[key]
            rows, columns, inside = _cell(grid, x, y)
            if grid.crs.is_geographic:  # longitudes are the same a full turn on
                for turn in (360.0, -360.0):
                    there = _cell(grid, x + turn, y)
                    also = there[2] & ~inside
                    rows, columns = np.where(also, there[0], rows), np.where(also, there[1], columns)
                    inside = inside | also
            at = np.flatnonzero(inside)
            self._known[id(grid)] = (at, rows[at].astype(np.int64), columns[at].astype(np.int64))
        return self._known[id(grid)]


def _cell(grid: Grid, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Give row and column of places in a grid, and whether they lie inside."""
    a, b, c, d, e, f = grid.transform
    determinant = a * e - b * d
    with np.errstate(invalid="ignore"):
        columns = np.floor((e * (x - c) - b * (y - f)) / determinant)
        rows = np.floor((a * (y - f) - d * (x - c)) / determinant)
        inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    return rows, columns, inside


def _cells(images: Sequence[Image], covers: _Covers) -> dict[int, tuple[Image, tuple[npt.NDArray[np.int64], ...]]]:
    """Give each scene's image with the points that it covers."""
    return {image.scene: (image, where) for image in images if len((where := covers.of(image))[0])}


def _pairs(
    cells: Mapping[str, Mapping[int, tuple[Image, tuple[npt.NDArray[np.int64], ...]]]],
    count: int,
    scenes: Any,
    match: str,
) -> list[tuple[int, int]]:
    """List (point, scene) in order of the result."""
    times = instants(scenes)
    covering: list[set[int]] = [set() for _ in range(count)]
    for group in cells.values():
        for scene, (_, (at, _, _)) in group.items():
            for point in at.tolist():
                covering[point].add(scene)
    pairs = []
    for point, rows in enumerate(covering):
        ordered = sorted(rows, key=lambda row: (times[row] is not None, times[row] or 0, row))
        chosen = ordered[:1] if match == "first" else ordered[-1:] if match == "latest" else ordered
        pairs += [(point, row) for row in chosen]
    return pairs


def _read(
    reader: Reader,
    choices: Sequence[Choice],
    cells: Mapping[str, Mapping[int, tuple[Image, tuple[npt.NDArray[np.int64], ...]]]],
    pairs: Sequence[tuple[int, int]],
) -> dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]:
    """Read all pixels as one batch; give by variable which pairs they are of, and their values ([bands,] points)."""
    position = {pair: number for number, pair in enumerate(pairs)}
    windows, places = [], []
    for choice in choices:
        for scene, (image, (at, rows, columns)) in cells[choice.asset].items():
            kept = [n for n, point in enumerate(at.tolist()) if (point, scene) in position]
            if not kept:
                continue
            lead: tuple[Any, ...] = (np.array(image.index),)
            if len(image.array.shape) > _IMAGE:
                bands = range(image.array.shape[1]) if choice.bands is None else choice.bands
                lead = (*lead, np.array([band for band in bands if band < image.array.shape[1]])[:, None])
            windows.append(Window(array=image.array, key=(*lead, rows[kept], columns[kept]), points=True))
            places.append((choice.name, np.array([position[int(at[n]), scene] for n in kept])))
    found: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = {choice.name: [] for choice in choices}
    for (name, where), values in zip(places, reader.read_many(windows), strict=True):
        found[name].append((where, values))
    return found


def _columns(
    choice: Choice,
    images: Sequence[Image],
    parts: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    count: int,
) -> dict[str, Any]:
    """Give a column for each band."""
    import pyarrow as pa

    if not images:
        return {choice.name: pa.nulls(count)}
    several = [image.array.shape[1] for image in images if len(image.array.shape) > _IMAGE]
    bands = tuple(choice.bands or range(max(several, default=0)))
    dtype = np.result_type(*{image.array.dtype for image in images})
    out = np.zeros((max(len(bands), 1), count), dtype=dtype)
    absent = np.ones(out.shape, dtype=bool)
    for where, part in parts:
        rows = np.atleast_2d(part)
        out[: len(rows), where] = rows
        absent[: len(rows), where] = False
    names = [f"{choice.name}_{band + 1}" for band in bands] or [choice.name]
    return {name: pa.array(out[n], mask=absent[n]) for n, name in enumerate(names)}
