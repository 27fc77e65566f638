"""Points and geometries as centres of chips, with the columns that came with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError

_PAIRS = (("longitude", "latitude"), ("lon", "lat"), ("x", "y"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Where chips are centred."""

    longitude: npt.NDArray[np.float64]
    """WGS 84 degrees, shape `(points,)`."""
    latitude: npt.NDArray[np.float64]
    columns: Mapping[str, npt.NDArray[Any]]
    """What else the table says of each point: labels, mostly."""


def points_of(given: Any) -> Points:
    """Take over points or geometries.

    Parameters
    ----------
    given
        A GeoDataFrame or GeoSeries (in any CRS; without one: longitude and latitude), Shapely geometries or an array
        of shape `(n, 2)` in longitude and latitude, or a table (Arrow, pandas, mapping of columns) with `longitude`
        and `latitude`, `lon` and `lat`, or `x` and `y`. A geometry stands for the centre of its bounds.

    Raises
    ------
    QueryError
        None of these, or no longitudes and latitudes.
    """
    if hasattr(given, "geometry") and hasattr(given, "crs"):
        frame = given if given.crs is None else given.to_crs("OGC:CRS84")
        names = [name for name in getattr(frame, "columns", ()) if name != frame.geometry.name]
        return _points(frame.geometry.bounds.to_numpy(), {str(name): frame[name].to_numpy() for name in names})
    table = given.to_pydict() if isinstance(given, pa.Table) else given
    if isinstance(table, Mapping) or hasattr(table, "columns"):
        names = list(table.keys())
        for x, y in _PAIRS:
            if x in names and y in names:
                columns = {str(name): np.asarray(table[name]) for name in names}
                return _points(np.stack([columns[x], columns[y]] * 2, axis=1).astype(np.float64), columns)
        raise QueryError(f"expected columns longitude and latitude, lon and lat, or x and y, got {names}")
    if not isinstance(given, Iterable):
        raise QueryError(f"expected points as (longitude, latitude) or geometries, got {given!r}")
    values = list(given)
    if values and hasattr(values[0], "bounds"):
        return _points(np.array([geometry.bounds for geometry in values]), {})
    try:
        pairs = np.asarray(values, np.float64).reshape(-1, 2)
    except ValueError as error:
        raise QueryError(f"expected points as (longitude, latitude) or geometries, got {given!r}") from error
    return _points(np.concatenate([pairs, pairs], axis=1), {})


def _points(bounds: npt.NDArray[np.float64], columns: Mapping[str, npt.NDArray[Any]]) -> Points:
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    wrong = np.flatnonzero(~((np.abs(middle[:, 0]) <= 360) & (np.abs(middle[:, 1]) <= 90)))  # noqa: PLR2004 - degrees
    if len(wrong):
        raise QueryError(
            f"expected points as (longitude, latitude) in degrees, or with their CRS, got {tuple(middle[wrong[0]])}"
        )
    return Points(longitude=middle[:, 0].astype(np.float64), latitude=middle[:, 1].astype(np.float64), columns=columns)
