"""Pixels of scenes within geometries, on each scene's own grid: nothing is resampled, all is read as one batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.bands import Choice, check_bands, choose
from rasteret_refs.read.clip import Clip, as_geometry, clip_to, projected, unwrapped
from rasteret_refs.read.images import Image, Images
from rasteret_refs.read.overlap import transformer, turned, turns
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.slots import instants
from rasteret_refs.read.target import Grid, common_crs, lonlat_bounds

_BBOX = 4
_CLOSE = 1e-6


@dataclass(slots=True, kw_only=True, eq=False)
class Cut:
    """One geometry in one scene."""

    geometry: int
    """Number of the geometry."""
    scene: int
    """Row of the scene table."""
    grids: dict[str, Grid] = field(default_factory=dict)
    """By variable."""
    pixels: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """By variable: (rows, columns) or (bands, rows, columns)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Read:
    """One variable of one cut on its way."""

    cut: Cut
    name: str
    image: Image
    grid: Grid
    inside: tuple[slice, slice]
    """Rows and columns of the cut that lie in the image."""
    clip: Clip | None
    pixels: npt.NDArray[Any]
    mask: npt.NDArray[Any] | None
    windows: tuple[Window, ...]


class Geometries:
    """Geometries in longitude and latitude; boxes give their bounds, other shapes clip.

    Parameters
    ----------
    geometries
        A bbox (west, south, east, north), a geometry as `clip.as_geometry` takes it, a list or an Arrow array of these,
        a GeoSeries, a GeoDataFrame, or an Arrow table.
    crs
        Of what has no CRS of its own; None: longitude and latitude.
    column
        Of a table: where its geometries stand; None: `geometry`, or the active one of a GeoDataFrame.

    Raises
    ------
    QueryError
        It is none of these.
    """

    def __init__(self, geometries: Any, *, crs: Any = None, column: str | None = None) -> None:
        self.shapes: list[Any] = []
        self.boxes: list[bool] = []
        """Whether a geometry was given as a bbox."""
        self.columns: dict[str, list[Any]] = {}
        """What else a table says of its geometries."""
        self._moved: dict[tuple[int, pyproj.CRS], Any] = {}
        each, self.columns, located = _each(geometries, column)
        source = None if located or crs is None else common_crs(crs)
        for one in each:
            box = _is_bbox(one)
            if box:
                self.shapes.append(_box(lonlat_bounds(one if source is None else _bounds_of(one, source), None)))
            else:
                shape = as_geometry(one)
                self.shapes.append(unwrapped(shape if source is None else _in_degrees(shape, source)))
            self.boxes.append(box)

    def __len__(self) -> int:
        """Geometries."""
        return len(self.shapes)

    def moved(self, number: int, crs: pyproj.CRS) -> Any:
        """Give a geometry in another CRS."""
        key = (number, crs)
        if key not in self._moved:
            self._moved[key] = projected(self.shapes[number], crs)
        return self._moved[key]

    def union(self) -> Any:
        """Give all of them as one geometry."""
        import shapely

        return shapely.union_all(self.shapes)


def cuts(
    reader: Reader,
    scenes: Any,
    geometries: Geometries,
    bands: Sequence[str | int] | None,
    *,
    masked: bool = False,
    all_touched: bool = False,
) -> tuple[tuple[Choice, ...], list[Cut]]:
    """Read what scenes have within geometries.

    Returns
    -------
    (choices, cuts)
        What was read of each scene; and one cut for each geometry and scene that meet, by geometry, then time. Each
        cut spans the geometry's bounds in whole pixels, also beyond the image's edge. What lies outside of the image or
        the geometry is nodata (0 without), or NaN when `masked`, as are nodata pixels and those that the TIFF masks.

    Raises
    ------
    QueryError
        A name that nothing has.
    """
    images = Images(reader)
    choices = choose(images, scenes, None, bands)
    found = images.find(scenes, dict.fromkeys(choice.asset for choice in choices))
    by_scene = {asset: {image.scene: image for image in group} for asset, group in found.items()}
    result: dict[tuple[int, int], Cut] = {}
    reads: list[_Read] = []
    for choice in choices:
        check_bands(choice, found[choice.asset], scenes)
        for scene, image in by_scene[choice.asset].items():
            for number in range(len(geometries)):
                placed = _placed(image, geometries, number)
                if placed is None:
                    continue
                cut = result.setdefault((number, scene), Cut(geometry=number, scene=scene))
                clip = None
                if not geometries.boxes[number]:
                    clip = clip_to(geometries.shapes[number], image.grid.crs, all_touched=all_touched)
                reads.append(_planned(cut, choice, image, placed, clip, masked=masked))
    reader.read_many([window for read in reads for window in read.windows])
    for read in reads:
        _finish(read, masked=masked)
    times = instants(scenes)
    ordered = sorted(result.values(), key=lambda c: (c.geometry, times[c.scene] is not None, times[c.scene] or 0))
    return choices, ordered


def as_numpy(choices: Sequence[Choice], found: Sequence[Cut]) -> npt.NDArray[Any]:
    """Stack cuts: (N, rows, columns) of one band, else (N, bands, rows, columns), bands in the order asked for.

    Raises
    ------
    QueryError
        There are none, a scene lacks a band, or shapes differ.
    """
    if not found:
        raise QueryError("expected scenes that meet the geometries, found none")
    names = [choice.name for choice in choices]
    lacking = next((cut for cut in found if set(cut.pixels) != set(names)), None)
    if lacking is not None:
        raise QueryError(f"expected all of {names} of each scene, found {list(lacking.pixels)} in row {lacking.scene}")
    shapes = {pixels.shape[-2:] for cut in found for pixels in cut.pixels.values()}
    if len(shapes) > 1:
        raise QueryError(
            f"expected windows of one shape, found {sorted(shapes)}: get_gdf() gives each its own, and read() brings "
            "scenes and bands onto one grid"
        )
    planes = [[plane for name in names for plane in _planes(cut.pixels[name])] for cut in found]
    if len({len(one) for one in planes}) > 1:
        raise QueryError(f"expected as many bands in each scene, found {sorted({len(one) for one in planes})}")
    dtype = np.result_type(*{plane.dtype for one in planes for plane in one})
    stacked = np.array(planes, dtype=dtype)
    return stacked[:, 0] if stacked.shape[1] == 1 else stacked


def as_table(scenes: Any, choices: Sequence[Choice], geometries: Geometries, found: Sequence[Cut]) -> Any:
    """Give cuts as a GeoDataFrame in longitude and latitude, one row a geometry and scene.

    Columns: `geometry_id` (number of the geometry), `id`, `datetime`, for each variable its pixels (arrays, None where
    the scene lacks it), `crs` and `transform` (of the first variable; six coefficients, as Affine has them), geometry;
    and those of the geometries' own table whose names are still free.
    """
    import geopandas

    ids = scenes["id"].to_pylist()
    columns: dict[str, list[Any]] = {
        "geometry_id": [cut.geometry for cut in found],
        "id": [ids[cut.scene] for cut in found],
    }
    if "datetime" in scenes.column_names:
        times = scenes["datetime"].to_pylist()
        columns["datetime"] = [times[cut.scene] for cut in found]
    taken = [choice.name for choice in choices if choice.name in {*columns, "crs", "transform", "geometry"}]
    if taken:
        raise QueryError(f"expected bands by names other than the table's own columns, found {taken}")
    for name, values in geometries.columns.items():
        if name not in {*columns, "crs", "transform", "geometry"} and name not in [choice.name for choice in choices]:
            columns[name] = [values[cut.geometry] for cut in found]
    for choice in choices:
        columns[choice.name] = [cut.pixels.get(choice.name) for cut in found]
    grids = [next(iter(cut.grids.values())) for cut in found]
    columns["crs"] = [grid.crs.to_string() for grid in grids]
    columns["transform"] = [grid.transform for grid in grids]
    shapes = [geometries.shapes[cut.geometry] for cut in found]
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=4326)


def _placed(image: Image, geometries: Geometries, number: int) -> tuple[Grid, tuple[int, int]] | None:
    """Give a geometry's window of an image's grid, and its first row and column; None where they do not meet."""
    try:
        moved = geometries.moved(number, image.grid.crs)
    except QueryError:
        return None  # so far away that the CRS does not reach there
    for degrees in turns(image.grid, image.grid):
        found = _window_around(turned(image.grid, degrees) if degrees else image.grid, moved)
        if found is not None:
            return found
    return None


def _window_around(grid: Grid, moved: Any) -> tuple[Grid, tuple[int, int]] | None:
    import shapely

    a, b, c, d, e, f = grid.transform
    determinant = a * e - b * d
    points = shapely.get_coordinates(moved) - (c, f)
    if not len(points):
        return None
    columns = (e * points[:, 0] - b * points[:, 1]) / determinant
    rows = (a * points[:, 1] - d * points[:, 0]) / determinant
    left, top = int(np.floor(columns.min() + _CLOSE)), int(np.floor(rows.min() + _CLOSE))
    right = max(int(np.ceil(columns.max() - _CLOSE)), left + 1)
    bottom = max(int(np.ceil(rows.max() - _CLOSE)), top + 1)
    if left >= grid.width or top >= grid.height or right <= 0 or bottom <= 0:
        return None
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
    outline = shapely.Polygon([(a * x + b * y + c, d * x + e * y + f) for x, y in corners])
    if not outline.intersects(moved):
        return None
    return grid.window(slice(top, bottom), slice(left, right)), (top, left)


def _planned(
    cut: Cut, choice: Choice, image: Image, placed: tuple[Grid, tuple[int, int]], clip: Clip | None, *, masked: bool
) -> _Read:
    grid, (top, left) = placed
    rows = slice(max(top, 0), min(top + grid.height, image.grid.height))
    columns = slice(max(left, 0), min(left + grid.width, image.grid.width))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    lead = () if choice.bands is None else (len(choice.bands),)
    pixels = np.full((*lead, grid.height, grid.width), _fill(image), dtype=image.array.dtype)
    key: tuple[Any, ...] = (image.index,) if choice.bands is None else (image.index, np.array(choice.bands, np.int64))
    windows = [Window(array=image.array, key=(*key, rows, columns), out=pixels[..., *inside])]
    mask = None
    if masked and image.levels[0].mask is not None:
        mask = np.zeros((grid.height, grid.width), dtype=image.levels[0].mask.dtype)
        windows.append(Window(array=image.levels[0].mask, key=(image.index, rows, columns), out=mask[inside]))
    return _Read(
        cut=cut, name=choice.name, image=image, grid=grid, inside=inside, clip=clip, pixels=pixels, mask=mask,
        windows=tuple(windows),
    )  # fmt: skip


def _finish(read: _Read, *, masked: bool) -> None:
    """Clip what was read, mask it if asked, and hand it to its cut."""
    pixels = read.pixels
    outside = np.ones(pixels.shape[-2:], dtype=bool)
    outside[read.inside] = False
    if read.clip is not None:
        outside |= read.clip.outside(read.grid, slice(0, read.grid.height), slice(0, read.grid.width))
    if read.mask is not None:
        outside |= read.mask == 0
    if masked:
        nodata = read.image.nodata
        empty = np.zeros(pixels.shape, dtype=bool) if nodata is None else pixels == pixels.dtype.type(nodata)
        small = pixels.dtype.kind in "iub" and pixels.dtype.itemsize <= 2  # noqa: PLR2004 - exact in float32
        if pixels.dtype.kind not in "fc":
            pixels = pixels.astype(np.float32 if small else np.float64)
        pixels[empty | outside] = np.nan
    else:
        pixels[..., outside] = _fill(read.image)
    read.cut.pixels[read.name] = pixels
    read.cut.grids[read.name] = read.grid


def _fill(image: Image) -> Any:
    return image.array.dtype.type(0 if image.nodata is None else image.nodata)


def _planes(pixels: npt.NDArray[Any]) -> Iterable[npt.NDArray[Any]]:
    return pixels.reshape(-1, *pixels.shape[-2:])


def _box(bounds: tuple[float, float, float, float]) -> Any:
    import shapely

    return shapely.box(*bounds)


def _is_bbox(value: Any) -> bool:
    return (
        isinstance(value, Sequence | np.ndarray)
        and not isinstance(value, str | bytes)
        and len(value) == _BBOX
        and all(isinstance(number, int | float | np.number) for number in value)
    )


def _bounds_of(box: Sequence[float], crs: pyproj.CRS) -> Sequence[float]:
    left, bottom, right, top = map(float, box)
    bounds: Sequence[float] = transformer(crs, pyproj.CRS.from_epsg(4326)).transform_bounds(left, bottom, right, top)
    return bounds


def _in_degrees(shape: Any, crs: pyproj.CRS) -> Any:
    import shapely

    move = transformer(crs, pyproj.CRS.from_epsg(4326)).transform
    return shapely.transform(shape, lambda places: np.column_stack(move(places[:, 0], places[:, 1])))


def _each(geometries: Any, column: str | None) -> tuple[list[Any], dict[str, list[Any]], bool]:
    """Take a value apart into single geometries, their other columns, and whether they are in degrees for sure."""
    if hasattr(geometries, "to_crs"):
        series = getattr(geometries, "geometry", geometries) if column is None else geometries[column]
        names = [] if series is geometries or not hasattr(geometries, "columns") else list(geometries.columns)
        others = {str(name): geometries[name].tolist() for name in names if geometries[name].dtype.name != "geometry"}
        located = series.crs is not None
        return list(series.to_crs(4326) if located else series), others, located
    if hasattr(geometries, "column_names"):
        name = column or "geometry"
        if name not in geometries.column_names:
            raise QueryError(f"expected a table with a column {name!r}, found {geometries.column_names}")
        others = {other: geometries[other].to_pylist() for other in geometries.column_names if other != name}
        return list(geometries[name].to_pylist()), others, False
    if hasattr(geometries, "to_pylist"):
        return list(geometries.to_pylist()), {}, False
    if isinstance(geometries, list | tuple | np.ndarray) and not _is_bbox(geometries):
        return list(geometries), {}, False
    return [geometries], {}, False
