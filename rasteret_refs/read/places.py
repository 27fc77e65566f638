"""Points as users have them: coordinates, geometries in any notation, tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.target import common_crs

type Coordinates = npt.NDArray[np.float64]

_X = ("x", "lon", "long", "lng", "longitude", "easting")
_Y = ("y", "lat", "latitude", "northing")
_GEOMETRY = ("geometry", "geom", "wkb")
_PAIR = 2


def coordinates_of(points: Any, crs: Any = None) -> tuple[Coordinates, pyproj.CRS]:
    """Understand points.

    Parameters
    ----------
    points
        Coordinates, shape (n, 2), x (longitude) before y; one pair; a GeoSeries, GeoDataFrame or geometry array, whose
        CRS counts; shapely's, WKB or GeoJSON points, one or a list, a MultiPoint; or a table (Arrow, pandas, Polars,
        DuckDB, a mapping of columns) with a column of WKB or columns of coordinates, found by their names.
    crs
        Of coordinates; None: that of the points, else longitude and latitude.

    Returns
    -------
    (coordinates, crs)
        float64, shape (n, 2), in the order given; NaN where a point is missing.

    Raises
    ------
    QueryError
        They are no points, or a table has no columns that say where they are.
    """
    own = getattr(points, "crs", None)
    chosen = crs if crs is not None else 4326 if own is None else own
    try:
        values = _values(points)
    except QueryError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise QueryError(f"expected points, found {points!r:.100}: {error}") from error
    return values, common_crs(chosen)


def _values(points: Any) -> Coordinates:
    import shapely

    if hasattr(points, "to_crs"):  # geopandas: a series, a frame
        points = np.asarray(getattr(points, "geometry", points), dtype=object)
    elif not isinstance(points, np.ndarray) and (
        hasattr(points, "__arrow_c_stream__") or (isinstance(points, Mapping) and "type" not in points)
    ):
        return _of_table(points)
    if isinstance(points, Mapping):
        return _of_geojson(points)
    if isinstance(points, shapely.Geometry | bytes):
        points = [points]
    if hasattr(points, "to_pylist"):  # an Arrow array
        points = points.to_pylist()
    if not isinstance(points, np.ndarray) or points.dtype == object:
        each = list(points)
        if not each or all(one is None or isinstance(one, shapely.Geometry | bytes | Mapping) for one in each):
            return _of_geometries(each)
        points = each
    values = np.asarray(points, dtype=np.float64)
    if values.shape == (_PAIR,):
        values = values[None]
    if values.ndim != _PAIR or values.shape[1] != _PAIR:
        raise QueryError(f"expected points as (n, 2) coordinates, found shape {values.shape}")
    return values


def _of_geometries(points: list[Any]) -> Coordinates:
    import shapely

    shapes = []
    for one in points:
        if isinstance(one, Mapping):
            shapes.append(shapely.points(*map(float, (one["x"], one["y"]))) if "x" in one else _of_geojson_point(one))
        else:
            shapes.append(shapely.from_wkb(one) if isinstance(one, bytes) else one)
    if len(shapes) == 1 and shapes[0] is not None and shapes[0].geom_type == "MultiPoint":
        shapes = list(shapes[0].geoms)
    other = next((one for one in shapes if one is not None and one.geom_type != "Point"), None)
    if other is not None:
        raise QueryError(f"expected points, found a {other.geom_type}")
    missing = [one is None or one.is_empty for one in shapes]
    values = np.full((len(shapes), _PAIR), np.nan)
    values[~np.array(missing, dtype=bool)] = shapely.get_coordinates(
        [one for one, gone in zip(shapes, missing, strict=True) if not gone]
    )
    return values


def _of_geojson(points: Mapping[str, Any]) -> Coordinates:
    if points["type"] == "FeatureCollection":
        return _of_geometries([feature["geometry"] for feature in points["features"]])
    return _of_geometries([points])


def _of_geojson_point(point: Mapping[str, Any]) -> Any:
    import shapely.geometry

    return shapely.geometry.shape(point["geometry"] if point.get("type") == "Feature" else point)


def _of_table(points: Any) -> Coordinates:
    """Find the columns that say where points are."""
    import pyarrow as pa

    table = pa.table(points) if not isinstance(points, Mapping) else pa.table(dict(points))
    names = {name.lower(): name for name in table.column_names}
    for geometry in _GEOMETRY:
        if geometry in names and table.num_rows:
            return _of_geometries(table[names[geometry]].to_pylist())
    across = [names[name] for name in _X if name in names]
    down = [names[name] for name in _Y if name in names]
    if len(across) != 1 or len(down) != 1:
        raise QueryError(
            "expected a column geometry, or one of each of x, lon, longitude, easting and y, lat, latitude, northing, "
            f"found {table.column_names}"
        )
    columns = [table[name].cast(pa.float64()).to_numpy() for name in (across[0], down[0])]
    return np.column_stack(columns)
