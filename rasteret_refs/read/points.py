"""Pixel values at points, of every scene that covers them, as `rasterio.sample` gives them: one batch for all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import Image, Images
from rasteret_refs.read.reader import Reader, Window

MATCHES = ("all", "first", "latest")


def sample_points(
    reader: Reader,
    scenes: Any,
    points: Any,
    *,
    assets: Sequence[str] | None = None,
    crs: Any = None,
    match: str = "all",
) -> Any:
    """Sample scenes at points.

    Parameters
    ----------
    reader, scenes
        What reads the set, and the rows of its scene table (`pyarrow.Table`) to take.
    points
        (n, 2) coordinates, x before y; or anything with geometries that are points (GeoDataFrame, GeoSeries), whose CRS
        counts.
    assets
        Names; None: all.
    crs
        Of coordinates; None: longitude and latitude.
    match
        Which scenes of a point: `"all"` that cover it, or only the `"first"` or the `"latest"` by time.

    Returns
    -------
    pyarrow.Table
        One row a point and scene, by point, then time: `point` (int64: row of the input), `id`, `datetime`, and a
        column for each asset (`<asset>_<n>`, n from 1, for each band of those that have several), in the pixels' dtype;
        null where the scene lacks the asset or the point lies outside it. No nodata is taken away.

    Raises
    ------
    QueryError
        Points that are none, an asset that is not there, an unknown `match`.
    """
    if match not in MATCHES:
        raise QueryError(f"expected match= to be one of {MATCHES}, found {match!r}")
    coordinates, source = _coordinates(points, crs)
    images = Images(reader)
    found = images.find(scenes, assets if assets is not None else images.assets(scenes))
    covers = _Covers(coordinates, source)
    cells = {asset: _cells(group, covers) for asset, group in found.items()}
    pairs = _pairs(cells, len(coordinates), scenes, match)
    return _table(reader, scenes, found, cells, pairs)


def _coordinates(points: Any, crs: Any) -> tuple[npt.NDArray[np.float64], pyproj.CRS]:
    geometry = getattr(points, "geometry", None)
    if geometry is not None:
        values = np.column_stack([np.asarray(geometry.x), np.asarray(geometry.y)])
        crs = crs if crs is not None else points.crs
    else:
        values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:  # noqa: PLR2004 - x and y
        raise QueryError(f"expected points as (n, 2) coordinates, found shape {values.shape}")
    return values.astype(np.float64), pyproj.CRS.from_user_input(4326 if crs is None else crs)


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
                transformer = pyproj.Transformer.from_crs(self._crs, grid.crs, always_xy=True)
                self._moved[key] = transformer.transform(self._coordinates[:, 0], self._coordinates[:, 1])
            x, y = self._moved[key]
            a, b, c, d, e, f = grid.transform
            determinant = a * e - b * d
            with np.errstate(invalid="ignore"):
                columns = np.floor((e * (x - c) - b * (y - f)) / determinant)
                rows = np.floor((a * (y - f) - d * (x - c)) / determinant)
                inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
            at = np.flatnonzero(inside)
            self._known[id(grid)] = (at, rows[at].astype(np.int64), columns[at].astype(np.int64))
        return self._known[id(grid)]


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
    times = scenes["datetime"].to_pylist() if "datetime" in scenes.column_names else [None] * scenes.num_rows
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


def _table(
    reader: Reader,
    scenes: Any,
    found: Mapping[str, Sequence[Image]],
    cells: Mapping[str, Mapping[int, tuple[Image, tuple[npt.NDArray[np.int64], ...]]]],
    pairs: Sequence[tuple[int, int]],
) -> Any:
    import pyarrow as pa

    position = {pair: number for number, pair in enumerate(pairs)}
    windows, places = [], []
    for asset, group in cells.items():
        for scene, (image, (at, rows, columns)) in group.items():
            kept = [n for n, point in enumerate(at.tolist()) if (point, scene) in position]
            if not kept:
                continue
            array = image.array
            bands = array.shape[1] if len(array.shape) > 3 else 0  # noqa: PLR2004 - scene, band, row, column
            lead = (np.array(image.index), np.arange(bands)[:, None]) if bands else (np.array(image.index),)
            windows.append(Window(array=array, key=(*lead, rows[kept], columns[kept]), points=True))
            places.append((asset, np.array([position[int(at[n]), scene] for n in kept])))
    values = reader.read_many(windows)
    taken = scenes.take(pa.array([scene for _, scene in pairs], pa.int64()))
    columns_out: dict[str, Any] = {"point": pa.array([point for point, _ in pairs], pa.int64()), "id": taken["id"]}
    if "datetime" in taken.column_names:
        columns_out["datetime"] = taken["datetime"]
    for asset, images in found.items():
        parts = [(where, part) for (name, where), part in zip(places, values, strict=True) if name == asset]
        columns_out |= _columns(asset, images, parts, len(pairs))
    return pa.table(columns_out)


def _columns(
    asset: str, images: Sequence[Image], parts: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]], count: int
) -> dict[str, Any]:
    import pyarrow as pa

    if not images:
        return {asset: pa.nulls(count)}
    bands = max((image.array.shape[1] for image in images if len(image.array.shape) > 3), default=0)  # noqa: PLR2004
    dtype = np.result_type(*{image.array.dtype for image in images})
    out = np.zeros((max(bands, 1), count), dtype=dtype)
    absent = np.ones((max(bands, 1), count), dtype=bool)
    for where, part in parts:
        rows = np.atleast_2d(part)
        out[: len(rows), where] = rows
        absent[: len(rows), where] = False
    names = [f"{asset}_{band + 1}" for band in range(bands)] or [asset]
    return {name: pa.array(out[n], mask=absent[n]) for n, name in enumerate(names)}
