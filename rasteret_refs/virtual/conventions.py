"""Attributes that other software finds georeferencing by: CF grid mapping, `spatial:`, `proj:`, `multiscales`.

Sources: CF 1.11 section 5.6 with GDAL's `GeoTransform` (what rioxarray, odc-geo and GDAL read), and the Zarr
conventions https://github.com/zarr-conventions/spatial (v1), https://github.com/zarr-conventions/proj (v1) and
https://github.com/zarr-conventions/multiscales (v1).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rasteret_refs.virtual.grids import Grid, Transform, overview_transform

SPATIAL: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial:",
    "description": "Spatial coordinate information",
}
PROJ: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "description": "Coordinate reference system information for geospatial data",
}
MULTISCALES: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}

_CODE: Final = re.compile(r"^[A-Z]+:[0-9]+$")


def declared(*conventions: Mapping[str, str], short: bool = False) -> list[dict[str, str]]:
    """Return the value of `zarr_conventions`.

    Parameters
    ----------
    conventions
        Some of `SPATIAL`, `PROJ`, `MULTISCALES`.
    short
        Only `uuid` and `name`, which identify a convention: on arrays, of which there are many.
    """
    keys = ("uuid", "name") if short else ("schema_url", "spec_url", "uuid", "name", "description")
    return [{key: convention[key] for key in keys} for convention in conventions]


def safe_number(value: float) -> float | str:
    """Return a number as JSON can hold it: `NaN`, `Infinity` and `-Infinity` become text."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def bounding_box(transform: Transform, height: int, width: int) -> list[float]:
    """Return [xmin, ymin, xmax, ymax] of all pixels, for rotated transforms too."""
    a, b, c, d, e, f = transform
    xs = [c, c + a * width, c + b * height, c + a * width + b * height]
    ys = [f, f + d * width, f + e * height, f + d * width + e * height]
    return [min(xs), min(ys), max(xs), max(ys)]


def projection(grid: Grid) -> dict[str, Any]:
    """Return the `proj:` keys: a code where there is one, else WKT2; empty without a CRS of the pixels."""
    if grid.crs is None or not grid.georeferenced:
        return {}
    return {"proj:code": grid.crs} if _CODE.match(grid.crs) else {"proj:wkt2": grid.crs}


def georeferencing_attributes(grid: Grid, transform: Transform | None, height: int, width: int) -> dict[str, Any]:
    """Return what an array at one resolution of a grid says by the `spatial:` and `proj:` conventions.

    Empty for an image without CRS and without transform: it is not georeferenced.
    """
    proj = projection(grid)
    if transform is None:
        return {"zarr_conventions": declared(PROJ, short=True), **proj} if proj else {}
    return {
        "zarr_conventions": declared(SPATIAL, *([PROJ] if proj else []), short=True),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [height, width],
        "spatial:transform": list(transform),
        "spatial:bbox": bounding_box(transform, height, width),
        "spatial:registration": "pixel",
        **proj,
    }


def spatial_ref_attributes(wkt: str | None, transform: Transform | None) -> dict[str, Any]:
    """Return the attributes of the scalar `spatial_ref`: CF's and GDAL's names for the same facts."""
    attributes: dict[str, Any] = {}
    if wkt is not None:
        attributes |= {"crs_wkt": wkt, "spatial_ref": wkt}
    if transform is not None:
        a, b, c, d, e, f = transform
        attributes["GeoTransform"] = " ".join(repr(float(number)) for number in (c, a, b, f, d, e))
    return attributes


def multiscales_attributes(
    grid: Grid | None, levels: Sequence[tuple[str, int, int]], full: tuple[int, int]
) -> dict[str, Any]:
    """Return the attributes of the group above the resolutions.

    Parameters
    ----------
    grid
        Shared by all images below, or None in the `stack` layout.
    levels
        (name of the child group, height, width), finest first; the first is the full resolution.
    full
        Height and width of the full resolution in pixels.
    """
    transform = None if grid is None else grid.transform
    layout: list[dict[str, Any]] = []
    for name, height, width in levels:
        item: dict[str, Any] = {"asset": name}
        if (height, width) != full:
            item["derived_from"] = levels[0][0]
        item["transform"] = {"scale": [full[0] / height, full[1] / width], "translation": [0.0, 0.0]}
        item["spatial:shape"] = [height, width]
        if transform is not None:
            item["spatial:transform"] = list(overview_transform(transform, full, (height, width)))
        layout.append(item)
    proj = {} if grid is None else projection(grid)
    attributes: dict[str, Any] = {
        "zarr_conventions": declared(MULTISCALES, SPATIAL, *([PROJ] if proj else [])),
        "multiscales": {"layout": layout},
        "spatial:dimensions": ["y", "x"],
        **proj,
    }
    if transform is not None:
        attributes["spatial:transform"] = list(transform)
        attributes["spatial:bbox"] = bounding_box(transform, *full)
    return attributes
